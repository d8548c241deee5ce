"""Checks that weights files are intact: by the checksums in their folder, or their archive's CRCs.

PyTorch writes CRCs into its files but does not check them when it loads one.
"""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import first_line

CHECKSUMS = "SHA256SUMS"
ARCHIVE_BEGIN = b"PK\3\4"


def checksum_line(path: Path) -> str:
    """Return a file's line in ``CHECKSUMS``, which ``sha256sum -c`` reads."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


def damage(path: Path, may_be_old: bool = False) -> str:
    """Return why a file written by ``torch.save`` is not intact; empty if it is intact.

    A file listed in ``CHECKSUMS`` in its folder must have that checksum; any other must be an
    archive whose parts match the CRCs stored in it.

    Args:
        path: the file.
        may_be_old: accept the format of PyTorch before 1.6, which is not an archive and has no
            CRCs.
    """
    path = path.resolve()  # the best weights are a link to those of an epoch
    if _lines(path.parent, path.name):
        return f"is not the file that was written (see {CHECKSUMS})" if differs(path) else ""
    if may_be_old and not _is_archive(path):
        return ""
    return "is damaged or incomplete" if damaged_part(path) else ""


def differs(path: Path) -> bool:
    """Return whether ``CHECKSUMS`` in a file's folder lists it, but not with its checksum."""
    recorded = _lines(path.parent, path.name)
    return bool(recorded) and checksum_line(path) not in recorded


def damaged_part(archive: Path) -> str:
    """Return the first part of a zip archive that differs from its CRC; empty if none does."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.testzip() or ""
    except OSError:
        raise
    except Exception as error:  # which exceptions a damaged archive raises is not documented
        return first_line(error)


def _is_archive(path: Path) -> bool:
    """Return whether PyTorch would read a file as an archive; zipfile.is_zipfile may raise."""
    with path.open("rb") as file:
        return file.read(len(ARCHIVE_BEGIN)) == ARCHIVE_BEGIN


def record_checksums(folder: Path, new: Iterable[Path]) -> None:
    """Add the checksums of files that are about to get their names in the folder.

    A file that replaces another has two lines until :func:`settle_checksums`, because a stop in
    between may leave either content.
    """
    _write(folder, [*_lines(folder), *(checksum_line(path) for path in new)])


def record_first(path: Path) -> None:
    """Add the checksum of a file that has none yet, such as a download."""
    if not _lines(path.parent, path.name):
        record_checksums(path.parent, [path])


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
