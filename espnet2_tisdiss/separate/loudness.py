"""Output scale: how loud the separated signals are.

SI-SNR ignores scale, so the estimates of a model trained with it may be a hundred times too loud,
each by a different factor. The choices of ``scale`` are:

* ``estimate``: unscaled;
* ``peak``: one gain for all speakers and channels of a recording, which brings the largest sample
  to 0.9; the balance between speakers stays;
* ``level``: the gains with which the sum of the estimates comes closest to the mixture, so that
  speakers keep their level in the mixture;
* ``mixture``: as ``level``, then the residual is distributed equally over the speakers (mixture
  consistency, Wisdom et al. 2019, arXiv 1811.08521). The estimates then sum to the mixture,
  including noise.

The gains apply to the entire recording. If it does not fit in memory, it is read twice: once to
collect :class:`ScaleStatistics`, once to apply the :class:`Scaling` computed from them.

Axis letters: j speaker, n sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.choices import SCALES, Scale

PEAK = 0.9
# the largest 16-bit sample: no integer format clips it
FULL_SCALE = 1 - 2**-15
# weight of the pull towards a common gain, relative to the energy of the estimates
BALANCE_PULL = 1e-6


class ScaleStatistics:
    """Statistics of a channel from which its gains are computed, collected block by block.

    Args:
        num_spk: estimates of the channel.

    Attributes:
        peaks: (j,), largest absolute sample of each estimate.
        gram: (j, j), inner products of the estimates.
        cross: (j,), inner products of the estimates with the mixture.
        mixture_peak: largest absolute sample of the mixture.
    """

    def __init__(self, num_spk: int):
        self.peaks = np.zeros(num_spk)
        self.gram = np.zeros((num_spk, num_spk))
        self.cross = np.zeros(num_spk)
        self.mixture_peak = 0.0

    def update(self, mixture: np.ndarray, estimates: np.ndarray) -> Self:
        """Add a block: mixture (n,) and estimates (j, n) of the same samples."""
        signals = estimates.astype(np.float64)
        self.peaks = np.maximum(self.peaks, np.abs(signals).max(axis=1, initial=0.0))
        self.gram += signals @ signals.T
        self.cross += signals @ mixture.astype(np.float64)
        self.mixture_peak = max(self.mixture_peak, float(np.abs(mixture).max(initial=0.0)))
        return self


@dataclass(frozen=True)
class Scaling:
    """Gains of one channel, and whether the residual of the mixture is distributed.

    Attributes:
        gains: (j,), factor of each estimate.
        share_rest: whether to add an equal part of the residual, the mixture minus the sum of the
            scaled estimates, to each of them.
    """

    gains: np.ndarray
    share_rest: bool = False

    @classmethod
    def of(cls, scale: Scale, channels: Sequence[ScaleStatistics]) -> list[Self]:
        """Return the scaling of each channel of a recording, from their statistics.

        Raises:
            ValueError: ``scale`` is not one of the choices.
        """
        check_choice("scale", scale, SCALES)
        if scale in ("level", "mixture"):
            return [cls(_mixture_gains(one), share_rest=scale == "mixture") for one in channels]
        loudest = max(one.peaks.max() for one in channels)
        gain = PEAK / loudest if scale == "peak" and loudest > 0 else 1.0
        return [cls(np.full(len(one.peaks), gain)) for one in channels]

    def __call__(self, mixture: np.ndarray, estimates: np.ndarray) -> np.ndarray:
        """Scale a block: mixture (n,) and estimates (j, n) to (j, n) of the estimates' type."""
        scaled = estimates * self.gains[:, None]
        if self.share_rest:
            scaled += (mixture - scaled.sum(axis=0)) / len(scaled)
        return scaled.astype(estimates.dtype)


def rescale(scale: Scale, mixture: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Scale one channel in memory, as :func:`rescale_channels` does."""
    return rescale_channels(scale, [mixture], [estimates])[0]


def rescale_channels(
    scale: Scale, mixtures: Sequence[np.ndarray], estimates: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Scale the channels of a recording in memory.

    Args:
        scale: the choice.
        mixtures: (n,) of each channel.
        estimates: (j, n) of each channel.

    Returns:
        (j, n) of each channel, of the estimates' type.

    Raises:
        ValueError: ``scale`` is not one of the choices.
    """
    if scale == "estimate":  # needs no statistics
        return list(estimates)
    channels = list(zip(mixtures, estimates, strict=True))
    statistics = [ScaleStatistics(len(found)).update(mix, found) for mix, found in channels]
    scalings = zip(Scaling.of(scale, statistics), channels, strict=True)
    return [scaling(mix, found) for scaling, (mix, found) in scalings]


def headroom_gain(peak: float) -> float:
    """Return the gain, at most 1, with which samples up to ``peak`` fit an integer format.

    One gain serves all speakers, channels and depths of a recording, so ``peak`` is the largest of
    their peaks after scaling. For the scale "mixture" that takes a pass over the scaled blocks.
    """
    return 1.0 if peak <= 1 else FULL_SCALE / peak


def _mixture_gains(statistics: ScaleStatistics) -> np.ndarray:
    """Return gains (j,) of one sign that bring the sum of the estimates closest to the mixture.

    This is least squares with two additions. First, all gains have the same sign, because different
    signs would turn leakage into an inverted copy of the other speaker. The sign is nearly always
    positive, but SI-SNR ignores polarity, so a model trained with it may invert all estimates.
    Second, a small pull towards a common gain decides where the mixture does not (equal or nearly
    silent estimates).
    """
    energies = np.diag(statistics.gram)
    audible = energies > 0
    gains = np.zeros(len(energies))
    if not audible.any():
        return gains
    polarity = -1.0 if statistics.cross.sum() < 0 else 1.0
    cross = polarity * statistics.cross
    # the common gain, kept small where the estimates cancel each other
    resistance = statistics.gram.sum() + BALANCE_PULL * energies.sum()
    common = cross.sum() / resistance
    # in units of each estimate's norm, so that scales do not matter
    norms = np.sqrt(energies[audible])
    correlation = statistics.gram[np.ix_(audible, audible)] / np.outer(norms, norms)
    target = cross[audible] / norms + BALANCE_PULL * common * norms
    # with u = gains * norms, the squared error is |upper u - upper^-T target|^2 + constant
    upper = np.linalg.cholesky(correlation + BALANCE_PULL * np.eye(len(norms))).T
    bounded = np.linalg.solve(upper.T, target)
    solution = np.linalg.solve(upper, bounded)
    if (solution < 0).any():
        from scipy.optimize import nnls  # imported here, because few need it and its import is slow

        solution, _ = nnls(upper, bounded)
    gains[audible] = polarity * solution / norms
    return gains
