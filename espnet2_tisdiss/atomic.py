"""Files written under a temporary name and renamed when complete."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write at; what is there takes the place of ``path`` if the block succeeds."""
    with tempfile.TemporaryDirectory(prefix=".aside-", dir=path.parent) as folder:
        aside = Path(folder, path.name)
        yield aside
        aside.replace(path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it when it is whole; its folder is made where it lacks.

    Raises:
        TisdissError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise TisdissError(f"{path}: cannot be written: {error.strerror}") from None
