"""Files that are written whole or not at all, and Kaldi's lists."""

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


def read_scp(scp: Path) -> dict[str, str]:
    """Return the paths of a Kaldi list by their keys.

    Raises:
        TisdissError: it is no such list, is empty, or holds a command in place of a path.
    """
    from espnet2.fileio.read_text import read_2columns_text  # here, because few files are lists

    try:
        table = read_2columns_text(scp)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise TisdissError(f"{scp}: is no list of '<key> <path>' lines ({error})") from None
    for key, path in table.items():
        if not path or path.endswith("|"):
            raise TisdissError(
                f"{scp}: {key}: not the path of a file: {path or 'nothing'}; "
                "a line is '<key> <path>'"
            )
    if not table:
        raise TisdissError(f"{scp}: the list is empty")
    return table
