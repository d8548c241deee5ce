"""Single utterances at one level, from which dynamic mixing makes new mixtures in every epoch.

Axis letter: n sample.
"""

from collections.abc import Mapping, Sequence
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
from espnet2_tisdiss.recipes.wsj0_2mix.mixtures import Kind

# Usual for speech in 16 bits: almost all peaks stay below full scale; higher ones saturate.
LEVEL_DB = -26.0


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
        _, *paths = kind.files(folder, mixture.name).values()
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
    write = partial(_write_level, out / "singles" / name, kind.rate, rate)
    pairs = [(utterance, path, powers.get(utterance)) for utterance, path in files.items()]
    return DataSet(name, do_all(write, pairs, nj, "single utterances"))


def _write_level(
    folder: Path, rate: int, source_rate: int, job: tuple[str, Path, float | None]
) -> Entry:
    """Write an utterance at the common level and at ``rate`` Hz, unless the file is complete.

    Padding zeros, as in the version max of a tree, are left out, because training would take
    segments of silence.

    Args:
        folder: for the file.
        rate: its sample rate in Hz.
        source_rate: that of the utterance's file.
        job: the utterance, its file and, where known, its active level as a linear power.
    """
    utterance, source, power = job
    spoken, target = read_unpadded(source, source_rate), folder / f"{utterance}.wav"
    if not is_whole(target, frames_at(len(spoken), source_rate, rate), rate):
        samples = to_rate(spoken, source_rate, rate)
        if power is None:
            power = active_level(to_rate(samples, rate, LEVEL_RATE), LEVEL_RATE).power
        write_audio(target, quantise(samples / np.sqrt(power) * 10 ** (LEVEL_DB / 20)), rate)
    speaker = utterance[:SPEAKER_LENGTH]
    return Entry(f"{speaker}_{utterance}", speaker, (speaker,), {"wav.scp": target})
