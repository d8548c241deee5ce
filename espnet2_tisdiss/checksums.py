"""Whether files of weights are intact: by checksums beside them, or by the CRCs of their archives.

PyTorch writes CRCs into its files but does not check them when it loads one.
"""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically

CHECKSUMS = "SHA256SUMS"


def checksum_line(path: Path) -> str:
    """Return a file's line in ``CHECKSUMS``, which ``sha256sum -c`` reads."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


def damage(path: Path) -> str:
    """Return why a file that ``torch.save`` wrote is not intact; empty if it is.

    A file that ``CHECKSUMS`` in its folder lists must have that checksum; any other must be an
    archive whose parts have the CRCs that are written in it.
    """
    path = path.resolve()  # the best weights are a link to an epoch's
    if recorded := _lines(path.parent, path.name):
        if checksum_line(path) not in recorded:
            return f"is not the file that was written ({CHECKSUMS} beside it)"
        return ""
    return "" if zipfile.is_zipfile(path) and not damaged_part(path) else "is damaged or incomplete"


def damaged_part(archive: Path) -> str:
    """Return the first part of a zip archive that differs from its CRC; empty if none does."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.testzip() or ""
    except OSError:
        raise
    except Exception as error:  # what the reader of a damaged archive raises is not documented
        return str(error)


def record_checksums(folder: Path, new: Iterable[Path]) -> None:
    """Add the checksums of files that get their names in the folder next.

    A file that replaces another has two lines until :func:`settle_checksums`: a stop in between
    leaves either content.
    """
    _write(folder, [*_lines(folder), *(checksum_line(path) for path in new)])


def settle_checksums(folder: Path) -> None:
    """Keep one line for each file, and none for files that are gone."""
    kept = []
    lines = list(dict.fromkeys(_lines(folder)))
    names = [_name(line) for line in lines]
    for line, name in zip(lines, names, strict=True):
        path = folder / name
        if path.is_file() and (names.count(name) == 1 or line == checksum_line(path)):
            kept.append(line)
    _write(folder, sorted(kept, key=_name))


def _lines(folder: Path, name: str | None = None) -> list[str]:
    """Return the lines of a folder's ``CHECKSUMS``, or those of one file; none if there is none."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return []
    return [line for line in lines if name in (None, _name(line))]


def _name(line: str) -> str:
    return line.rstrip("\n").partition("  ")[2]


def _write(folder: Path, lines: list[str]) -> None:
    if lines != _lines(folder):
        write_atomically(folder / CHECKSUMS, "".join(lines))
