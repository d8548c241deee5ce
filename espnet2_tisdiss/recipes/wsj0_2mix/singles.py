"""Single utterances at one level, from which dynamic mixing makes new mixtures in every epoch.

Axis letter: n sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from espnet2_tisdiss.recipes.corpora.active_level import active_level
from espnet2_tisdiss.recipes.corpora.data_sets import DataSet, Entry
from espnet2_tisdiss.recipes.corpora.files import (
    do_all,
    frames_at,
    quantise,
    read_unpadded,
    to_rate,
    write_audio,
)
from espnet2_tisdiss.recipes.signals import frames_of, is_whole
from espnet2_tisdiss.recipes.wsj0_2mix.levels import LEVEL_RATE
from espnet2_tisdiss.recipes.wsj0_2mix.lists import SPEAKER_LENGTH, Mixture
from espnet2_tisdiss.recipes.wsj0_2mix.mixtures import Kind, signal_paths

# Usual for speech in 16 bits: almost all peaks stay below full scale; higher ones saturate.
LEVEL_DB = -26.0


@dataclass(frozen=True)
class Single:
    """An utterance to write.

    Attributes:
        source: the file that contains it.
        rate: that file's sample rate in Hz.
        target: the file to write.
        power: its active level, as a linear power, if known.
    """

    source: Path
    rate: int
    target: Path
    power: float | None = None


def longest_sources(
    folder: Path, kind: Kind, mixtures: Sequence[Mixture], nj: int
) -> dict[str, Path]:
    """Find the longest source made from each utterance of a tree.

    Args:
        folder: the split's folder in the tree.
        kind: the tree's version.
        mixtures: the split's mixtures.
        nj: number of processes.

    Returns:
        Utterance -> file, in the order of their names.
    """
    pieces: list[tuple[str, Path]] = []
    for mixture in mixtures:
        _, *paths = signal_paths(folder, kind, mixture.name).values()
        pieces += zip(mixture.utterances, paths, strict=True)
    counts = do_all(partial(frames_of, rate=kind.rate), [path for _, path in pieces], nj, "lengths")
    found: dict[str, tuple[int, Path]] = {}
    for (utterance, path), frames in zip(pieces, counts, strict=True):
        if utterance not in found or frames > found[utterance][0]:
            found[utterance] = (frames, path)
    return {utterance: path for utterance, (_, path) in sorted(found.items())}


def levelled_set(
    kind: Kind,
    files: Mapping[str, Path],
    rate: int,
    powers: Mapping[str, float],
    out: Path,
    nj: int,
) -> DataSet:
    """Write the training utterances at the common level, and describe their data directory.

    Args:
        kind: version of the corpus.
        files: utterance -> the file that contains it.
        rate: these files' sample rate in Hz.
        powers: utterance -> its active level, as a linear power, if known.
        out: folder of the files made here.
        nj: number of processes.
    """
    name = kind.set_name("tr_single")
    folder = out / "singles" / name
    jobs = [
        Single(path, rate, folder / f"{utterance}.wav", powers.get(utterance))
        for utterance, path in files.items()
    ]
    do_all(partial(make_single, kind.rate), jobs, nj, "single utterances")
    entries = []
    for utterance, job in zip(files, jobs, strict=True):
        speaker = utterance[:SPEAKER_LENGTH]
        entries.append(
            Entry(f"{speaker}_{utterance}", speaker, (speaker,), {"wav.scp": job.target})
        )
    return DataSet(name, entries)


def make_single(rate: int, single: Single) -> None:
    """Write an utterance at the common level and at ``rate`` Hz, unless the file is complete.

    Padding zeros, as in the version max of a tree, are left out, because training would take
    segments of silence.
    """
    spoken = read_unpadded(single.source, single.rate)
    if is_whole(single.target, rate, frames_at(len(spoken), single.rate, rate)):
        return
    samples = to_rate(spoken, single.rate, rate)
    power = single.power
    if power is None:
        power = active_level(to_rate(samples, rate, LEVEL_RATE), LEVEL_RATE).power
    write_audio(single.target, quantise(samples / np.sqrt(power) * 10 ** (LEVEL_DB / 20)), rate)
