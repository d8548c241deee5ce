"""Check the finished files of a corpus, then write its data directories.

A preparation describes its sets as :class:`DataSet` and calls :func:`make_data_dirs`, which refuses
sets that differ from the published corpus: a wrong number of mixtures, speakers in both training
and test, files of unequal length, mixtures that are not the sum of their references.
Axis letter: n sample.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.corpora.files import CHANNEL_ADVICE, FULL_SCALE, do_all
from espnet2_tisdiss.recipes.data_directories import write_speakers
from espnet2_tisdiss.recipes.signals import frames_of, read_signal

# Each signal is rounded to 16 bits separately, so a mixture differs from the sum of its references.
ROUNDING_LSB = 2


@dataclass(frozen=True)
class Entry:
    """One mixture.

    Attributes:
        key: the utterance's name in the lists.
        speaker: its speaker in ``utt2spk``, with which the key must begin.
        voices: the speakers in it, for the check that test speakers are new.
        files: list name -> file, the mixture first, e.g. ``wav.scp``, ``spk1.scp``, ``spk2.scp``.
    """

    key: str
    speaker: str
    voices: tuple[str, ...]
    files: dict[str, Path]


@dataclass(frozen=True)
class DataSet:
    """One data directory to make.

    Attributes:
        name: its folder below ``data``.
        entries: its mixtures.
        known_count: number of mixtures in this set of the complete corpus; None if unknown.
        lists: further lists: name -> key -> value. The stages keep those named ``utt2...``.
    """

    name: str
    entries: Sequence[Entry]
    known_count: int | None = None
    lists: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class AudioCheck:
    """Requirements on the audio of every mixture.

    Attributes:
        rate: sample rate in Hz.
        addends: the lists whose signals add up to the first list's; empty: no such check. Entries
            with a single file are not checked.
        channel: the channel (from 0) that is compared; None refuses files with several.
        tolerance: largest difference of mixture and sum, in steps of 16 bits.
    """

    rate: int
    addends: tuple[str, ...] = ()
    channel: int | None = None
    tolerance: float = ROUNDING_LSB


def make_data_dirs(
    data: Path,
    sets: Sequence[DataSet],
    audio: AudioCheck,
    nj: int,
    allow_subset: bool,
    test_sets: Collection[str],
) -> str:
    """Check all sets, then write their data directories.

    Args:
        data: folder for the data directories.
        sets: what to make.
        audio: requirements on the files.
        nj: number of processes.
        allow_subset: accept fewer mixtures than the corpus has.
        test_sets: names of the sets whose speakers must not be in training or validation sets.

    Returns:
        A line for each set.

    Raises:
        TisdissError: a check fails; then nothing is written.
    """
    check_plan(sets, test_sets, allow_subset)
    entries = [entry for part in sets for entry in part.entries]
    lengths = iter(do_all(partial(check_entry, audio), entries, nj, "check"))
    lines = []
    for part in sets:
        count = len(part.entries)
        hours = sum(islice(lengths, count)) / audio.rate / 3600
        lines.append(f"{data / part.name}: {count} utterances, {hours:.2f} hours")
        write_data_dir(data / part.name, part)
    return "\n".join(lines)


def check_plan(
    sets: Sequence[DataSet], test_sets: Collection[str], allow_subset: bool = False
) -> None:
    """Check everything that needs no audio: counts, keys, speakers; see :func:`make_data_dirs`."""
    for part in sets:
        check_count(part, allow_subset)
        check_keys(part)
    check_voices(sets, test_sets)


def check_count(part: DataSet, allow_subset: bool) -> None:
    """Refuse no or too many mixtures and, without ``allow_subset``, too few."""
    found, known = len(part.entries), part.known_count
    if found == 0:
        raise TisdissError(f"{part.name}: no mixtures")
    if known is None or found == known or (allow_subset and found < known):
        return
    advice = ""
    if found < known:
        advice = ': if a part of the corpus is meant, give --local_data_opts "--allow_subset"'
    raise TisdissError(f"{part.name}: {found} mixtures, but the corpus has {known} there{advice}")


def check_keys(part: DataSet) -> None:
    """Check that every key is unique, begins with its speaker and holds no space or slash."""
    seen: set[str] = set()
    for entry in part.entries:
        if entry.key in seen:
            raise TisdissError(f"{part.name}: mixture {entry.key} is there twice")
        if not entry.key.startswith(entry.speaker):
            raise TisdissError(f"{part.name}: {entry.key} does not begin with {entry.speaker}")
        if any(character in entry.key for character in " \t/"):
            raise TisdissError(f"{part.name}: name {entry.key!r} holds a space or a slash")
        seen.add(entry.key)


def check_voices(sets: Sequence[DataSet], test_sets: Collection[str]) -> None:
    """Check that only test sets have test speakers, and that no speaker is mixed with itself."""
    elsewhere: dict[str, str] = {}
    for part in sorted(sets, key=lambda part: part.name in test_sets):  # test sets last
        for entry in part.entries:
            if len(set(entry.voices)) < len(entry.voices):
                raise TisdissError(f"{part.name}: {entry.key} mixes a speaker with itself")
            for voice in entry.voices:
                if part.name not in test_sets:
                    elsewhere.setdefault(voice, part.name)
                elif voice in elsewhere:
                    raise TisdissError(
                        f"speaker {voice} is in {elsewhere[voice]} and, with {entry.key}, in the "
                        f"test set {part.name}"
                    )


def check_entry(audio: AudioCheck, entry: Entry) -> int:
    """Check the files of a mixture, the headers first; return its length in samples.

    Raises:
        TisdissError: a file is missing, unreadable, truncated, at another rate or of another
            length, or the mixture is not the sum of its references. The message names the file.
    """
    mixture, *_ = entry.files.values()
    lengths = {path: frames_of(path, audio.rate) for path in entry.files.values()}
    for path, length in lengths.items():
        if length != lengths[mixture]:
            raise TisdissError(f"{path}: {length} samples, but {mixture} has {lengths[mixture]}")
    if audio.addends and len(entry.files) > 1:
        addends = [entry.files[name] for name in audio.addends]
        check_sum(mixture, addends, audio.channel, audio.tolerance)
    return lengths[mixture]


def check_sum(
    mixture: Path, addends: Sequence[Path], channel: int | None, tolerance: float
) -> None:
    """Check that the signals of ``addends`` add up to that of ``mixture``.

    Args:
        mixture: file of n samples.
        addends: files of n samples.
        channel: the channel (from 0) to compare of files with several.
        tolerance: in steps of 16 bits.
    """
    paths = (mixture, *addends)
    signals = [read_signal(str(path), channel, CHANNEL_ADVICE) for path in paths]
    whole, *parts = (signal.samples * FULL_SCALE for signal in signals)
    error = np.abs(whole - sum(parts))
    for signal, samples in zip(signals, (whole, *parts), strict=True):
        if signal.subtype.startswith("PCM"):  # a saturated sample differs from the sum
            error[np.abs(samples) >= FULL_SCALE - 1] = 0
    # written so that a NaN, which read_signal refuses, would not pass
    if not error.max() <= tolerance:
        names = " + ".join(str(path) for path in addends)
        worst = int(error.argmax())
        raise TisdissError(
            f"{mixture}: not the sum of its references {names}: sample {worst} is "
            f"{error[worst]:.0f} steps of 16 bits off"
        )


def write_data_dir(folder: Path, part: DataSet) -> None:
    """Write the lists of a set, sorted in byte order; an older folder is replaced at the end."""
    tables = {
        name: {entry.key: str(entry.files[name]) for entry in part.entries}
        for name in part.entries[0].files
    }
    with replacing_folder(folder) as temporary:
        for name, table in {**tables, **part.lists}.items():
            write_scp(temporary / name, table)
        write_speakers(temporary, {entry.key: entry.speaker for entry in part.entries})
