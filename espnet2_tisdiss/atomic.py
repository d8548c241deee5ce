"""Files and folders that get their final names only when they are complete and on the disk.

Each is made in a temporary folder next to its target, which is removed in any case. Only a killed
process leaves it behind; :func:`clean_up` removes it then.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError

PREFIX = ".aside-"
REPLACED = ".replaced"


@contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Provide a temporary path, which replaces ``path`` if the block succeeds.

    Both have the same file name, so that writers that look at the suffix choose the right format.
    Missing parent folders are created.

    Args:
        path: the file.
        durable: whether the file must survive a power failure once the block has ended. That
            takes milliseconds, too long for each of a hundred thousand small files.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
        TisdissError: the path names a device or a pipe.
    """
    with _beside(Path(path)) as temporary:
        yield temporary
        if durable:
            to_disk(temporary)
        temporary.replace(path)
        if durable:
            to_disk(temporary.parent.parent)


@contextmanager
def replacing_folder(folder: str | Path) -> Iterator[Path]:
    """Provide an empty temporary folder, which replaces ``folder`` if the block succeeds.

    An existing folder stays until the new one is complete.

    Raises:
        OSError: the folder cannot be created; the error names ``folder``.
        TisdissError: the path names a device or a pipe.
    """
    folder = Path(folder)
    with _beside(folder) as temporary:
        temporary.mkdir()
        yield temporary
        os.sync()
        old = temporary.with_name(REPLACED)
        try:
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
        finally:
            if old.exists() and not folder.exists():  # failed or interrupted between the two
                old.rename(folder)
        to_disk(folder.parent)


def check_place(path: Path) -> None:
    """Check that a path may be replaced: renaming would replace even a device.

    Raises:
        TisdissError: it is a device or a pipe, or a link to a standard stream.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # it does not exist, or is inaccessible, which writing reports
        return
    is_stream = path.is_symlink() and os.readlink(path).startswith("/proc/")
    if is_stream or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise TisdissError(f"{path}: is a device, a pipe or a stream; give another name to write")


def to_disk(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    if path.is_symlink():
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def clean_up(folder: Path) -> None:
    """Remove what killed processes left while they replaced a folder or anything in it.

    A replacement that was complete and only lacked its final name gets it. No other process may be
    writing there.
    """
    for temporary in list(folder.parent.glob(f"{PREFIX}*/{folder.name}")):
        _clean_up(temporary.parent)
    for temporary in list(folder.rglob(f"{PREFIX}*")):
        _clean_up(temporary)


def _clean_up(temporary: Path) -> None:
    """Remove a temporary file or folder, after renaming what is complete in it."""
    if not temporary.is_dir():
        temporary.unlink(missing_ok=True)
        return
    # the old folder stays next to the new one until that has its name
    complete = [path for path in temporary.iterdir() if (temporary / REPLACED).exists()]
    for path in complete:
        if path.name != REPLACED and not temporary.with_name(path.name).exists():
            path.rename(temporary.with_name(path.name))
    shutil.rmtree(temporary)


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, under a temporary name and rename it.

    Raises:
        TisdissError: the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise TisdissError(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Provide a path of the same name in a temporary folder next to ``path``."""
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=path.parent) as folder:
            yield Path(folder, path.name)
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: Path) -> None:
    """Make a system error name ``path`` if it names no file or a temporary one.

    An example is a full disk, which is detected only after the file has been opened.
    """
    if error.errno is None:  # raised by a program, with its own text
        return
    named = Path() if error.filename is None else Path(os.fsdecode(error.filename))
    below = [place for place in (named, *named.parents) if place.name.startswith(PREFIX)]
    if error.filename is None:
        error.filename = str(path)
    elif below:
        error.filename = str(path.joinpath(*named.relative_to(below[0]).parts[1:]))
