"""Finding audio in folders, with one rule for suffixes, hidden files and links.

Hidden files and folders are left out. Links are followed. Each real folder is visited once, even
if several links, or a link to a parent folder, lead to it. Each real file is listed once, under its
own name if that is also found.
"""

import itertools
import logging
import mimetypes
import os
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_tisdiss.audio.suffixes import READABLE_SUFFIXES
from espnet2_tisdiss.errors import TisdissError

logger = logging.getLogger(__name__)

# suffixes of audio and video that Python's table of MIME types lacks
_MORE_MEDIA = frozenset(
    (".3ga", ".aa", ".aax", ".dct", ".dff", ".ds2", ".dsf", ".dss", ".dvf", ".lpcm", ".m4p", ".mid")
    + (".msv", ".nmf", ".pcm", ".qcp", ".ra", ".raw", ".rm", ".rmvb", ".shn", ".trm", ".vox")
)


@dataclass
class Found:
    """Audio files, and how many files look like audio or video but cannot be read.

    Attributes:
        files: the files.
        left_out: suffix -> number of files left out.
    """

    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def notice(self) -> str:
        """Return a phrase such as ``3 files left out (2 .m4p, 1 .dss)``; empty if none are."""
        if not self.left_out:
            return ""
        count = self.left_out.total()
        named = ", ".join(f"{number} {suffix}" for suffix, number in self.left_out.most_common())
        return f"{count} file{'s' * (count != 1)} left out ({named})"


def audio_files(folder: str | Path, subfolders: bool = True, without: Iterable[Path] = ()) -> Found:
    """Return the audio files in a folder, sorted within each folder.

    Args:
        folder: the folder.
        subfolders: search its subfolders, too.
        without: folders to leave out.

    Raises:
        TisdissError: the folder cannot be read.
    """
    found = Found()
    places = walk(folder, without)
    for place, names in places if subfolders else itertools.islice(places, 1):
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix in READABLE_SUFFIXES:
                found.files.append(place / name)
            elif _is_media(suffix):
                found.left_out[suffix] += 1
    found.files = each_once(found.files)
    return found


def walk(folder: str | Path, without: Iterable[Path] = ()) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and its subfolders with their files, each real one once, links last.

    A subfolder that cannot be read is left out, with a warning.

    Raises:
        TisdissError: the folder itself cannot be read.
    """
    folder = Path(folder)
    try:
        start = _identity(folder)
        # a link to a parent folder leads back here
        seen = {_identity(place) for place in Path(os.path.realpath(folder)).parents}
        seen |= {_identity(place) for place in without if place.is_dir()} - {start}
        os.scandir(folder).close()
    except OSError as error:
        raise TisdissError(f"{folder}: cannot be read ({error.strerror}); leave it out") from None
    waiting, links = [folder], deque[Path]()
    while waiting or links:
        place = waiting.pop() if waiting else links.popleft()
        try:
            if (identity := _identity(place)) in seen:
                continue
            seen.add(identity)
            entries = _entries(place)
        except OSError as error:
            logger.warning("%s: cannot be read (%s); left out", place, error.strerror)
            continue
        yield place, [entry.name for entry in entries if not _is_folder(entry)]
        inner = [entry for entry in entries if _is_folder(entry)]
        links += [place / entry.name for entry in inner if entry.is_symlink()]
        waiting += [place / entry.name for entry in reversed(inner) if not entry.is_symlink()]


def each_once(paths: Iterable[Path], without: Container[str] = ()) -> list[Path]:
    """Return the paths, each real file once, preferably under a name that is not a link.

    Args:
        paths: files.
        without: real paths (as of ``os.path.realpath``) of files to leave out.
    """
    paths = list(dict.fromkeys(paths))
    real = real_paths(paths)
    chosen: dict[str, Path] = {}
    # links last; a path through a linked folder is not itself a link
    by_links = sorted(paths, key=lambda p: (real[p] != os.path.abspath(p), os.path.islink(p)))
    for path in by_links:
        if real[path] not in without:
            chosen.setdefault(real[path], path)
    kept = set(chosen.values())
    return [path for path in paths if path in kept]


def real_paths(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the real path of each path; the folders are resolved once."""
    folders: dict[Path, str] = {}
    real = {}
    for path in paths:
        if os.path.islink(path):  # False if a path cannot be accessed
            real[path] = os.path.realpath(path)
            continue
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        real[path] = os.path.join(folders[path.parent], path.name)
    return real


def _is_media(suffix: str) -> bool:
    """Return whether a suffix is that of audio or video."""
    kind = mimetypes.types_map.get(suffix, "")
    return suffix in _MORE_MEDIA or kind.startswith(("audio/", "video/"))


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, by name."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; False if a link leads nowhere."""
    try:
        return entry.is_dir()
    except OSError:
        return False
