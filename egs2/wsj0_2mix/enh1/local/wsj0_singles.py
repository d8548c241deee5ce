"""Single utterances at one level, from which dynamic mixing makes new mixtures in every epoch.

Axis letter: n sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from active_level import active_level
from corpus_files import (
    frames_at,
    frames_of,
    is_whole,
    quantise,
    read_source,
    to_rate,
    write_audio,
)
from corpus_sets import Entry
from datadir import DataError
from wsj0_lists import SPEAKER_LENGTH, Mixture
from wsj0_mixtures import Kind, signal_paths
from wsj0_speech import LEVEL_RATE

# Usual for speech in 16 bits: its peaks stay below full scale; the rare ones above saturate.
LEVEL_DB = -26.0


@dataclass(frozen=True)
class Single:
    """An utterance to write: from which file, to which, and its level if that is known."""

    source: Path
    target: Path
    power: float | None = None


def longest_sources(folder: Path, kind: Kind, mixtures: Sequence[Mixture]) -> dict[str, Path]:
    """Find for every utterance of a tree the longest of the sources that were cut from it.

    Args:
        folder: the split's folder in the tree.
        kind: the tree's version.
        mixtures: the split's mixtures.

    Returns:
        Utterance -> file, in the order of their names.
    """
    found: dict[str, tuple[int, Path]] = {}
    for mixture in mixtures:
        _, *paths = signal_paths(folder, kind, mixture.name).values()
        for utterance, path in zip(mixture.utterances, paths, strict=True):
            frames = frames_of(path, kind.rate)
            if utterance not in found or frames > found[utterance][0]:
                found[utterance] = (frames, path)
    return {utterance: path for utterance, (_, path) in sorted(found.items())}


def make_single(rate: int, single: Single) -> None:
    """Write an utterance at the level that all of them have, unless it is there and whole.

    Args:
        rate: sample rate of the file in Hz.
        single: what to write.

    Raises:
        DataError: the source cannot be used or is silent, or the file cannot be written.
    """
    info = soundfile.info(single.source)
    if is_whole(single.target, rate, frames_at(info.frames, info.samplerate, rate)):
        return
    samples = to_rate(read_source(single.source, info.samplerate), info.samplerate, rate)
    power = single.power
    if power is None:
        try:
            power = active_level(to_rate(samples, rate, LEVEL_RATE), LEVEL_RATE).power
        except ValueError as error:
            raise DataError(f"{single.source}: {error}") from None
    write_audio(single.target, quantise(samples / np.sqrt(power) * 10 ** (LEVEL_DB / 20)), rate)


def single_entries(files: Mapping[str, Path]) -> list[Entry]:
    """Describe a data directory of single utterances, with their speakers as they are."""
    described = []
    for utterance, path in files.items():
        speaker = utterance[:SPEAKER_LENGTH]
        described.append(Entry(f"{speaker}_{utterance}", speaker, (speaker,), {"wav.scp": path}))
    return described
