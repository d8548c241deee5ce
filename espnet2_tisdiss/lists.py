"""Kaldi's two-column lists (wav.scp, utt2spk, ...): lines ``<key> <value>``, sorted by key."""

from collections.abc import Mapping
from pathlib import Path

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError


def byte_order(key: str) -> bytes:
    """Sort key for LC_ALL=C order."""
    return key.encode("utf-8", "surrogateescape")


def read_scp(path: str | Path) -> dict[str, str]:
    """Read a list; the value is everything after the first run of white space.

    Returns:
        key -> value, in the order of the file.

    Raises:
        TisdissError: the file is missing, unreadable or empty, a line lacks its value, or a key
            occurs twice. The message names the file and the line.
    """
    path = Path(path)
    mapping: dict[str, str] = {}
    first_line: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        fields = line.strip().split(maxsplit=1)
        if len(fields) != 2:
            raise TisdissError(f"{path}:{number}: expected '<key> <value>', found {line.strip()!r}")
        key, value = fields
        if key in mapping:
            raise TisdissError(
                f"{path}:{number}: key {key!r} was already used in line {first_line[key]}"
            )
        mapping[key] = value
        first_line[key] = number
    if not mapping:
        raise TisdissError(f"{path}: the list is empty")
    return mapping


def _read_lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): it also cuts at characters such as U+2028, which a path may hold.
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TisdissError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TisdissError(f"{path}: cannot be read as a text list: {error}") from None
    return text.removesuffix("\n").split("\n") if text else []


def read_paths(scp: str | Path) -> dict[str, str]:
    """Read a list of files.

    Raises:
        TisdissError: the file is not such a list, or contains a command instead of a path.
    """
    table = read_scp(scp)
    for key, path in table.items():
        if path.endswith("|"):
            raise TisdissError(f"{scp}: {key}: is a command, not the path of a file: {path}")
    return table


def write_scp(path: str | Path, mapping: Mapping[str, str]) -> None:
    """Write a list, sorted in byte order, under a temporary name and rename it."""
    lines = [f"{key} {mapping[key]}\n" for key in sorted(mapping, key=byte_order)]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
