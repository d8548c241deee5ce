"""Files and folders that get their names only when they are complete.

Each is made in a temporary folder beside its place, which is removed whatever happens.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError

PREFIX = ".aside-"


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Give a path to write a file at; it is renamed to ``path`` if the block succeeds.

    Both have the same last part, so writers that go by the suffix choose the right format. The
    folder of ``path`` is made where it lacks.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    with _beside(Path(path)) as aside:
        yield aside
        aside.replace(path)


@contextmanager
def build_aside(folder: str | Path) -> Iterator[Path]:
    """Give an empty folder, which is renamed to ``folder`` if the block succeeds.

    A folder that was there before is kept until the new one is complete.

    Raises:
        OSError: the folder cannot be made; the error names ``folder``.
    """
    folder = Path(folder)
    with _beside(folder) as aside:
        aside.mkdir()
        yield aside
        old = aside.with_name(".replaced")
        try:
            if folder.exists():
                folder.rename(old)
            aside.rename(folder)
        finally:
            if old.exists() and not folder.exists():  # failed or interrupted between the two
                old.rename(folder)


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8; it gets its name when it is complete.

    Raises:
        TisdissError: it cannot be written.
    """
    try:
        with write_aside(path) as aside:
            aside.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise TisdissError(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a path of the same last part in a temporary folder beside ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=path.parent) as folder:
            yield Path(folder, path.name)
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: Path) -> None:
    """Make a system error name ``path`` where it names nothing or what is aside.

    A full disk is such an error: it is found when the file is already open.
    """
    if error.errno is None:  # raised by a program, with its own text
        return
    named = Path() if error.filename is None else Path(os.fsdecode(error.filename))
    below = [place for place in (named, *named.parents) if place.name.startswith(PREFIX)]
    if error.filename is None:
        error.filename = str(path)
    elif below:
        error.filename = str(path.joinpath(*named.relative_to(below[0]).parts[1:]))
