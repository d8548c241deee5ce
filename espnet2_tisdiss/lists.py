"""Kaldi's lists: wav.scp and the like."""

from pathlib import Path

from espnet2_tisdiss.errors import TisdissError


def read_scp(scp: Path) -> dict[str, str]:
    """Return the paths of a Kaldi list by their keys.

    Raises:
        TisdissError: it is no such list, is empty, or holds a command in place of a path.
    """
    from espnet2.fileio.read_text import read_2columns_text  # here because it takes long

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
