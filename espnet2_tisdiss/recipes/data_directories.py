"""Kaldi-style data directories: read, check and write their two-column lists.

A data directory holds ``wav.scp spk1.scp ... utt2spk spk2utt``; every line of such a list is
``<key> <value>`` and the lines are sorted by key in byte order (LC_ALL=C).  Nothing is ever
written under its final name before it is whole: see :func:`write_aside` and :func:`build_aside`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from espnet2_tisdiss.errors import TisdissError


class DataError(ValueError):
    """A list or a file of a data directory is not usable; the text is the one-line message."""


def byte_order(key: str) -> bytes:
    """Sort key for LC_ALL=C order."""
    return key.encode("utf-8", "surrogateescape")


def read_scp(path: str | Path) -> dict[str, str]:
    """Read a two-column list (``wav.scp``, ``utt2spk``, a shape or score file).

    Args:
        path: the list; the value is everything after the first run of white space.

    Returns:
        key -> value, in the order of the file.

    Raises:
        DataError: the file is missing, unreadable or empty, a line lacks its value, or a key
            comes twice.  The message names the file and the line.
    """
    path = Path(path)
    mapping: dict[str, str] = {}
    first_line: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        fields = line.strip().split(maxsplit=1)
        if len(fields) != 2:
            raise DataError(f"{path}:{number}: expected '<key> <value>', found {line.strip()!r}")
        key, value = fields
        if key in mapping:
            raise DataError(
                f"{path}:{number}: key {key!r} was already used in line {first_line[key]}"
            )
        mapping[key] = value
        first_line[key] = number
    if not mapping:
        raise DataError(f"{path}: the list is empty")
    return mapping


def _read_lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): it also cuts at characters such as U+2028, which a path may hold.
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a text list: {error}") from None
    return text.removesuffix("\n").split("\n") if text else []


def write_scp(path: str | Path, mapping: Mapping[str, str]) -> None:
    """Write a two-column list, sorted in byte order, in one step (written aside, then renamed)."""
    lines = [f"{key} {mapping[key]}\n" for key in sorted(mapping, key=byte_order)]
    with write_aside(path) as aside:
        aside.write_text("".join(lines), encoding="utf-8")


def write_speakers(folder: str | Path, utt2spk: Mapping[str, str]) -> None:
    """Write ``utt2spk`` and the ``spk2utt`` that belongs to it into ``folder``."""
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk, key=byte_order):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    write_scp(Path(folder) / "utt2spk", utt2spk)
    write_scp(Path(folder) / "spk2utt", {spk: " ".join(utts) for spk, utts in spk2utt.items()})


def copy_lists(paths: Iterable[Path], out_dir: Path, keys: Collection[str]) -> None:
    """Copy the entries for ``keys`` of several lists; ``utt2spk`` brings its ``spk2utt`` along.

    Raises:
        DataError: a list is unusable or lacks one of the keys.
    """
    for path in paths:
        table = read_scp(path)
        if missing := set(keys) - table.keys():
            raise DataError(f"{path}: lacks {_some(missing)}, which wav.scp has")
        kept = {key: table[key] for key in keys}
        if path.name == "utt2spk":
            write_speakers(out_dir, kept)
        else:
            write_scp(out_dir / path.name, kept)


def read_data_dir(folder: str | Path, lists: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read several lists of one data directory and check that they have the same keys.

    Args:
        folder: the data directory.
        lists: file names, e.g. ``["wav.scp", "spk1.scp", "utt2spk"]``; the first one is the norm.

    Returns:
        file name -> (key -> value).

    Raises:
        DataError: the folder or a list is unusable, or the keys of two lists differ.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such data directory")
    tables = {name: read_scp(folder / name) for name in lists}
    norm = tables[lists[0]]
    for name, table in tables.items():
        missing = norm.keys() - table.keys()
        if missing:
            raise DataError(f"{folder / name}: lacks {_some(missing)}, which {lists[0]} has")
        extra = table.keys() - norm.keys()
        if extra:
            raise DataError(f"{folder / name}: has {_some(extra)}, which {lists[0]} lacks")
    return tables


def _some(keys: Iterable[str]) -> str:
    ordered = sorted(keys, key=byte_order)
    more = f" and {len(ordered) - 1} more" if len(ordered) > 1 else ""
    return f"utterance {ordered[0]!r}{more}"


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The temporary name keeps the suffix, so that writers which look at it (soundfile,
    matplotlib) choose the right format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".aside-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # mkstemp makes private files
        aside.replace(path)
    except OSError as error:
        _name_file(error, aside, path)
        raise
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def build_aside(folder: str | Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder``; it takes its place if the block succeeds.

    A folder that was there before is kept until the new one is whole and in its place.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".aside-{folder.name}-", dir=folder.parent))
    old = aside.with_name(aside.name + "-old")
    try:
        aside.chmod(0o777 & ~_umask())  # mkdtemp makes private folders
        yield aside
        if folder.exists():
            folder.rename(old)
        aside.rename(folder)
    except OSError as error:
        _name_file(error, aside, folder)
        raise
    finally:
        if old.exists() and not folder.exists():  # failed or interrupted between the two
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _name_file(error: OSError, aside: Path, path: Path) -> None:
    """Make a system error name ``path`` where it names nothing or, for a while only, ``aside``.

    A disk that is full is such an error: it is found when the file is already open.
    """
    if error.errno is None:  # raised by a program, with a text of its own
        return
    named = path if error.filename is None else Path(os.fsdecode(error.filename))
    if named.is_relative_to(aside):
        named = path / named.relative_to(aside)
    error.filename = str(named)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def run_main(program: str, main: Callable[[], None]) -> int:
    """Run a command-line program so that an expected failure is text, not a traceback.

    A :class:`DataError`, an error of the package or a refused file is told on stderr, each line
    after the program's name.
    SIGTERM is handled like Ctrl-C, so that what was written aside is removed.

    Returns:
        The exit code: 0, 1 after an error, 130 after an interrupt.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main()
    except (DataError, TisdissError, OSError) as error:
        for line in str(error).splitlines():
            print(f"{program}: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # the clean-up itself is not to be interrupted
    raise KeyboardInterrupt
