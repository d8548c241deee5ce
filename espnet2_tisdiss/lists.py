"""Kaldi's lists (wav.scp, utt2spk, segments, ...): lines ``<key> <value>``, sorted by key."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError

BLANKS = " \t\r"  # only these separate columns: a name may contain other white space
# Kaldi's notation for an entry of an archive, optionally with a range
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*", re.DOTALL)
ARCHIVE_ENTRY = re.compile(r"(?P<archive>.+):(?P<offset>\d{1,18})(?P<range>\[[^]]*\])?")


def byte_order(key: str) -> bytes:
    """Return the sort key for LC_ALL=C order."""
    return key.encode("utf-8", "surrogateescape")


def is_address(text: str) -> bool:
    """Return whether a text is an address such as ``https://...``, not the path of a file."""
    return bool(_ADDRESS.fullmatch(text)) and not isfile(text)


@dataclass(frozen=True)
class Source:
    """Where the audio of an entry of a list is.

    Attributes:
        text: the path of a file; ``path:offset``, an entry of an archive; or ``command |``, whose
            output is the file.
        start: start of the stretch to use, in seconds.
        stop: its end; infinity is the end of the audio.
    """

    text: str
    start: float = 0.0
    stop: float = math.inf

    def __str__(self) -> str:
        if not self.is_stretch:
            return self.text
        end = "the end" if self.stop == math.inf else f"{self.stop:g} s"
        return f"{self.text} ({self.start:g} s to {end})"

    @property
    def is_stretch(self) -> bool:
        """Whether this is a part of the audio."""
        return (self.start, self.stop) != (0.0, math.inf)

    @property
    def is_command(self) -> bool:
        """Whether this is the output of a command."""
        return self.text.endswith("|")

    @property
    def archive(self) -> tuple[Path, int] | None:
        """The archive and the offset in it in bytes; None if this is no entry of an archive."""
        match = None if self.is_command else ARCHIVE_ENTRY.fullmatch(self.text)
        if match is None or isfile(self.text):
            return None
        return Path(match["archive"]), int(match["offset"])

    @property
    def is_file(self) -> bool:
        """Whether this is a file from start to end."""
        return not (self.is_stretch or self.is_command or self.archive)

    @property
    def place(self) -> "Path | Source":
        """The path, if this is a file from start to end; otherwise this entry."""
        return Path(self.text) if self.is_file else self


def read_scp(path: str | Path) -> dict[str, str]:
    """Read a list; the value is everything after the first blanks. Empty lines are skipped.

    Returns:
        key -> value, in the order of the file.

    Raises:
        TisdissError: the file is missing, unreadable or empty, a line lacks its value, or a key
            occurs twice. The message names the file and the line.
    """
    path = Path(path)
    mapping: dict[str, str] = {}
    first_line: dict[str, int] = {}
    for number, line in _read_lines(path):
        fields = re.split(f"[{BLANKS}]+", line, maxsplit=1)
        if len(fields) != 2:
            raise TisdissError(f"{path}:{number}: expected '<key> <value>', found {line!r}")
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


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines, stripped of blanks, with their numbers.

    A byte order mark is dropped at the start of any line, because lists may have been joined.
    """
    try:
        # Not splitlines(): it also cuts at characters such as U+2028, which a path may hold.
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise TisdissError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise TisdissError(
            f"{path}: cannot be read as a text list: {error}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise TisdissError(f"{path}: cannot be read as a text list: {error}") from None
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise TisdissError(f"{path}:{number}: contains a NUL byte; write the list again")
        if stripped := line.lstrip("\ufeff").strip(BLANKS):
            yield number, stripped


def read_sources(
    scp: str | Path, run_commands: bool = False, option: str = "--run-commands"
) -> dict[str, Source]:
    """Read a list of audio; a file ``segments`` in its folder cuts recordings into utterances.

    Args:
        scp: the list.
        run_commands: accept commands. They run when the audio is read, with the rights of the
            user, so a list of unknown origin must not hold any.
        option: the option that sets ``run_commands``, for the message.

    Returns:
        key -> where its audio is, in the order of the list, or of ``segments``.

    Raises:
        TisdissError: the list is not valid, contains a command that is not accepted, or has further
            columns; ``segments`` is not valid or names a recording that the list lacks.
    """
    scp = Path(scp)
    table = read_scp(scp)
    for key, text in table.items():
        if Source(text).is_command and not run_commands:
            raise TisdissError(
                f"{scp}: {key}: is a command, not the path of a file: {text}; if you trust the "
                f"list, {option} runs its commands"
            )
        _check_columns(f"{scp}: {key}", text)
    segments = scp.with_name("segments")
    if not segments.is_file():
        return {key: Source(text) for key, text in table.items()}
    return _read_segments(segments, scp, table)


def _check_columns(place: str, text: str) -> None:
    """Refuse an address, a range of an archive's entry, and further columns after a path."""
    if is_address(text) and not text.endswith("|"):
        raise TisdissError(f"{place}: addresses are not downloaded: {text}; save it as a file")
    match = ARCHIVE_ENTRY.fullmatch(text)
    if match and match["range"] and not isfile(text):
        raise TisdissError(f"{place}: a range ({match['range']}) cannot be read; use segments")
    fields = text.split()
    if len(fields) < 2 or text.endswith("|") or isfile(text) or not isfile(fields[0]):
        return
    if all(map(isfile, fields)):
        raise TisdissError(
            f"{place}: has {len(fields)} columns of files; join the channels into one file"
        )
    raise TisdissError(
        f"{place}: no such file: {text}; give only the path, as {fields[0]}, after the key"
    )


def _read_segments(path: Path, scp: Path, table: Mapping[str, str]) -> dict[str, Source]:
    """Return the utterances of ``segments``: lines ``<key> <recording> <start> <end>``."""
    utterances: dict[str, Source] = {}
    for key, text in read_scp(path).items():
        fields = text.split()
        try:
            recording, start, stop = fields[0], *map(float, fields[1:])
        except ValueError:
            start = stop = math.nan
        stop = math.inf if stop == -1 else stop  # Kaldi's end of the recording
        if not 0 <= start < stop:
            raise TisdissError(
                f"{path}: {key}: expected '<key> <recording> <start> <end>' with times in "
                f"seconds, found {text!r}"
            )
        if recording not in table:
            raise TisdissError(f"{path}: {key}: {scp.name} lacks the recording {recording}")
        utterances[key] = Source(table[recording], start, stop)
    return utterances


def write_scp(path: str | Path, mapping: Mapping[str, str]) -> None:
    """Write a list, sorted in byte order, under a temporary name and rename it."""
    lines = [f"{key} {mapping[key]}\n" for key in sorted(mapping, key=byte_order)]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
