"""WSJ0-2mix's files: the formula of a mixture, writing the files, and their tree.

A tree is ``<N>speakers/wav<8k,16k>/<min,max>/<tr,cv,tt>/<mix,s1,s2,...>/<mixture>.wav``.
Axis letter: n sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import (
    Version,
    fit,
    frames_at,
    quantise,
    read_source,
    to_rate,
    write_audio,
)
from espnet2_tisdiss.recipes.signals import frames_of, is_whole
from espnet2_tisdiss.recipes.wsj0_2mix.lists import Mixture, mixture_of_name
from espnet2_tisdiss.recipes.wsj0_2mix.speech import WSJ0_RATE

PEAK = 0.9

Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Kind:
    """A version of the corpus.

    Attributes:
        num_spk: speakers in a mixture.
        rate: sample rate in Hz.
        version: min cuts to the shortest utterance, max pads to the longest.
        precision: precision of the arithmetic before mixing: float64 as in the original scripts, or
            float32 as in pywsj0-mix, whose files are then equal bit for bit.
    """

    num_spk: int
    rate: int
    version: Version
    precision: Precision = "float64"

    @property
    def rate_name(self) -> str:
        """8k or 16k."""
        return f"{self.rate // 1000}k"

    @property
    def folder(self) -> Path:
        """Its folder in a tree."""
        return Path(f"{self.num_spk}speakers", f"wav{self.rate_name}", self.version)

    @property
    def signals(self) -> tuple[str, ...]:
        """Folders of the mixtures and of their sources: mix, s1, s2, ..."""
        return ("mix", *(f"s{number}" for number in range(1, self.num_spk + 1)))

    @property
    def lists(self) -> tuple[str, ...]:
        """The lists of these files in a data directory, in the same order."""
        return ("wav.scp", *(f"spk{number}.scp" for number in range(1, self.num_spk + 1)))

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


def signal_paths(folder: Path, kind: Kind, name: str) -> dict[str, Path]:
    """Return the files of a mixture in a split's folder: mix, s1, s2, ... -> file."""
    return {signal: folder / signal / f"{name}.wav" for signal in kind.signals}


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
    length = min(lengths) if kind.version == "min" else max(lengths)
    paths = signal_paths(job.folder, kind, job.mixture.name).values()
    if all(is_whole(path, kind.rate, length) for path in paths):
        return
    sources = [
        to_rate(read_source(path, WSJ0_RATE).astype(kind.precision), WSJ0_RATE, kind.rate)
        for path in job.sources
    ]
    levels = [float(level) for level in job.mixture.levels]
    for path, samples in zip(paths, mix(sources, job.powers, levels, kind.version), strict=True):
        write_audio(path, samples, kind.rate)


def find_tree(root: Path, kind: Kind) -> Path:
    """Find the folder of a version in a corpus folder, which may be any folder above it."""
    parts = kind.folder.parts
    for start in range(len(parts) + 1):
        folder = root.joinpath(*parts[start:])
        # the folder itself may be given, if its name is right
        if (folder / "tt" / "mix").is_dir() and folder.parts[-1] == kind.version:
            # the folder's name does not show the rate; a header does, before all are read
            if first := next((folder / "tt" / "mix").glob("[!.]*.wav"), None):
                frames_of(first, kind.rate)
            return folder
    raise TisdissError(f"{root}: has no {kind.folder}/tt/mix")


def read_tree(folder: Path, split: str, num_spk: int) -> list[Mixture]:
    """List the mixtures of a split of an existing tree."""
    if not (folder / split / "mix").is_dir():
        raise TisdissError(f"{folder / split / 'mix'}: no such folder")
    # temporary files of an interrupted run begin with a dot
    paths = (folder / split / "mix").glob("[!.]*.wav")
    return [mixture_of_name(path, num_spk) for path in sorted(paths)]
