"""Files written under a temporary name and renamed when complete."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a temporary path, which replaces ``path`` if the block succeeds.

    Raises:
        OSError: the folder of ``path`` does not exist or cannot be written to.
    """
    with tempfile.TemporaryDirectory(prefix=".aside-", dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        yield temporary
        temporary.replace(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it; create its folder if needed.

    Raises:
        TisdissError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise TisdissError(f"{path}: cannot be written: {error.strerror}") from None
