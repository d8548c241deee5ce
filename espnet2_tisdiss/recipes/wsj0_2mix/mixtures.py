"""WSJ0-2mix's files: their tree, the formula of a mixture, and writing the files.

A tree is ``<N>speakers/wav<8k,16k>/<min,max>/<tr,cv,tt>/<mix,s1,s2,...>/<mixture>.wav``.
Axis letter: n sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from espnet2_tisdiss.recipes.corpora.files import (
    Version,
    common_length,
    fit,
    frames_at,
    quantise,
    read_source,
    to_rate,
    write_audio,
)
from espnet2_tisdiss.recipes.corpora.tree import Tree
from espnet2_tisdiss.recipes.signals import is_whole
from espnet2_tisdiss.recipes.wsj0_2mix.lists import Mixture
from espnet2_tisdiss.recipes.wsj0_2mix.speech import WSJ0_RATE

PEAK = 0.9

Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Kind(Tree):
    """A version of the corpus.

    Attributes:
        num_spk: speakers in a mixture.
        precision: precision of the arithmetic before mixing: float64 as in the original scripts, or
            float32 as in pywsj0-mix, whose files are then equal bit for bit.
    """

    num_spk: int
    precision: Precision

    @property
    def folder(self) -> Path:
        """Its folder in a tree."""
        return Path(f"{self.num_spk}speakers", f"wav{self.rate_name}", self.version)

    @property
    def lists(self) -> dict[str, str]:
        """The lists of a data directory and the folder of each, the mixture first."""
        sources = {f"spk{number}.scp": f"s{number}" for number in range(1, self.num_spk + 1)}
        return {"wav.scp": "mix", **sources}

    def set_name(self, split: str) -> str:
        """Name of a split's data directory: tt_min_8k, with three speakers tt_3spk_min_8k."""
        speakers = "" if self.num_spk == 2 else f"_{self.num_spk}spk"
        return f"{split}{speakers}_{self.version}_{self.rate_name}"


@dataclass(frozen=True)
class Job:
    """A mixture to make.

    Attributes:
        mixture: the utterances and their levels.
        sources: the utterances' files.
        frames: their numbers of samples.
        powers: their active levels, as linear powers.
        folder: the split's folder in the tree.
    """

    mixture: Mixture
    sources: tuple[Path, ...]
    frames: tuple[int, ...]
    powers: tuple[float, ...]
    folder: Path


def mix(
    sources: Sequence[np.ndarray],
    powers: Sequence[float],
    levels_db: Sequence[float],
    version: Version,
) -> list[np.ndarray]:
    """Mix utterances.

    All utterances are scaled to equal active level, then each to its level in the mixture. They are
    brought to the same length, and scaled by the same factor, so that the largest sample of mixture
    and sources is 0.9.

    Args:
        sources: the utterances, (n,) each, at the mixture's rate.
        powers: their active levels, as linear powers.
        levels_db: their levels in the mixture.
        version: min cuts to the shortest, max pads to the longest.

    Returns:
        The mixture and the sources, int16 of shape (n,).
    """
    scaled = [
        source.astype(np.float64) / np.sqrt(power) * 10 ** (level / 20)
        for source, power, level in zip(sources, powers, levels_db, strict=True)
    ]
    fitted = fit(scaled, version)
    signals = [np.sum(fitted, axis=0), *fitted]
    scale = PEAK / max(np.abs(signal).max() for signal in signals)
    return [quantise(scale * signal) for signal in signals]


def make_mixture(kind: Kind, job: Job) -> None:
    """Make the files of a mixture, unless all of them exist and are complete."""
    lengths = [frames_at(frames, WSJ0_RATE, kind.rate) for frames in job.frames]
    length = common_length(lengths, kind.version)
    paths = kind.files(job.folder, job.mixture.name).values()
    if all(is_whole(path, length, kind.rate) for path in paths):
        return
    sources = [
        to_rate(read_source(path, WSJ0_RATE).astype(kind.precision), WSJ0_RATE, kind.rate)
        for path in job.sources
    ]
    levels = [float(level) for level in job.mixture.levels]
    for path, samples in zip(paths, mix(sources, job.powers, levels, kind.version), strict=True):
        write_audio(path, samples, kind.rate)
