"""Kaldi's two-column lists, such as wav.scp."""

from pathlib import Path

from espnet2.fileio.read_text import read_2columns_text

from espnet2_tisdiss.errors import TisdissError


def read_scp(scp: Path) -> dict[str, str]:
    """Return the paths of a Kaldi list by key.

    Raises:
        TisdissError: the file cannot be read as such a list, is empty, or contains a command
            instead of a path.
    """
    try:
        table = read_2columns_text(scp)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise TisdissError(f"{scp}: not a list of '<key> <path>' lines ({error})") from None
    for key, path in table.items():
        if not path or path.endswith("|"):
            raise TisdissError(
                f"{scp}: {key}: not the path of a file: {path or 'nothing'}; "
                "a line is '<key> <path>'"
            )
    if not table:
        raise TisdissError(f"{scp}: the list is empty")
    return table
