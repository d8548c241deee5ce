"""Output scale: how loud the separated signals are.

A model trained with SI-SNR knows no scale: its estimates may be a hundred times too loud, each by
another factor. :data:`SCALES` are the choices:

* ``estimate``: as the model gives them;
* ``peak``: one gain for all speakers and channels of a recording, such that the loudest sample is
  0.9; who was louder stays louder;
* ``level``: each estimate gets the gain with which all together come closest to the mixture, so
  that everybody is about as loud as there;
* ``mixture``: then what is left of the mixture is shared equally (mixture consistency, Wisdom et
  al. 2019, arXiv 1811.08521). They sum to the mixture, with all the noise that is in it.

The gains are those of the whole recording. One that does not fit in memory is passed through twice:
once to gather :class:`ScaleStatistics`, once to apply the :class:`Scaling` that follows from them.

Axis letters: j speaker, n sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from espnet2_tisdiss.checks import check_choice

SCALES = ("estimate", "peak", "level", "mixture")
DEFAULT_SCALE = "level"
PEAK = 0.9
# the largest sample of 16 bits: at it, no integer format cuts anything
FULL_SCALE = 1 - 2**-15
# how strongly gains are pulled towards a common one, against the energy of the estimates
BALANCE_PULL = 1e-6


class ScaleStatistics:
    """What the scales need to know of a channel, gathered block by block.

    Args:
        num_spk: estimates of the channel.

    Attributes:
        peaks: (j,), largest absolute sample of each estimate.
        gram: (j, j), inner products of the estimates.
        cross: (j,), inner products of the estimates with the mixture.
    """

    def __init__(self, num_spk: int):
        self.peaks = np.zeros(num_spk)
        self.gram = np.zeros((num_spk, num_spk))
        self.cross = np.zeros(num_spk)

    def update(self, mixture: np.ndarray, estimates: np.ndarray) -> Self:
        """Add a block: mixture (n,) and estimates (j, n) of the same place."""
        signals = estimates.astype(np.float64)
        self.peaks = np.maximum(self.peaks, np.abs(signals).max(axis=1, initial=0.0))
        self.gram += signals @ signals.T
        self.cross += signals @ mixture.astype(np.float64)
        return self


@dataclass(frozen=True)
class Scaling:
    """A scale for one channel: gains and whether the rest of the mixture is shared out.

    Attributes:
        gains: (j,), factor of each estimate.
        share_rest: whether an equal part of what the mixture has beyond the scaled estimates is
            added to each of them.
    """

    gains: np.ndarray
    share_rest: bool = False

    @classmethod
    def of(cls, scale: str, channels: Sequence[ScaleStatistics]) -> list[Self]:
        """Return the scaling of each channel of a recording, from their statistics.

        Raises:
            ValueError: ``scale`` is none of :data:`SCALES`.
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


def rescale(scale: str, mixture: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Scale a channel that is in memory: one of :func:`rescale_channels`."""
    return rescale_channels(scale, [mixture], [estimates])[0]


def rescale_channels(
    scale: str, mixtures: Sequence[np.ndarray], estimates: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Scale the channels of a recording that is in memory.

    Args:
        scale: one of :data:`SCALES`.
        mixtures: (n,) of each channel.
        estimates: (j, n) of each channel.

    Returns:
        (j, n) of each channel, of the estimates' type.

    Raises:
        ValueError: ``scale`` is none of :data:`SCALES`.
    """
    if scale == "estimate":  # as all chunks come: nothing has to be known of them
        return list(estimates)
    channels = list(zip(mixtures, estimates, strict=True))
    statistics = [ScaleStatistics(len(found)).update(mix, found) for mix, found in channels]
    scalings = zip(Scaling.of(scale, statistics), channels, strict=True)
    return [scaling(mix, found) for scaling, (mix, found) in scalings]


def headroom_gain(peak: float) -> float:
    """Return the gain, at most 1, with which samples up to ``peak`` fit an integer format.

    It is meant for all of a recording alike, its speakers, channels and depths, with the largest of
    their peaks after scaling. That of scale "mixture" does not follow from the estimates' peaks: it
    takes a pass over the scaled blocks.
    """
    return 1.0 if peak <= 1 else FULL_SCALE / peak


def _mixture_gains(statistics: ScaleStatistics) -> np.ndarray:
    """Return gains (j,) of one sign with which the estimates' sum comes closest to the mixture.

    Two things are added to plain least squares. The gains have one sign, since another one would
    turn leakage into an inverted copy of the other speaker. It is nearly always positive, but
    SI-SNR does not see polarity: a model trained with it alone may invert all of its estimates.
    And a very small pull towards one gain for all settles what the mixture leaves open (equal,
    silent or nearly silent estimates) in favour of the estimates' own balance.
    """
    # here, because not every scale needs it
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    energies = np.diag(statistics.gram)
    audible = energies > 0
    gains = np.zeros(len(energies))
    if not audible.any():
        return gains
    polarity = -1.0 if statistics.cross.sum() < 0 else 1.0
    cross = polarity * statistics.cross
    # the one gain for all, held back where the estimates cancel one another
    resistance = statistics.gram.sum() + BALANCE_PULL * energies.sum()
    common = cross.sum() / resistance
    # in units of each estimate's own norm, whatever their scales
    norms = np.sqrt(energies[audible])
    correlation = statistics.gram[np.ix_(audible, audible)] / np.outer(norms, norms)
    target = cross[audible] / norms + BALANCE_PULL * common * norms
    # with u = gains * norms, the squared error is |upper u - upper^-T target|^2 + constant
    upper = cholesky(correlation + BALANCE_PULL * np.eye(len(norms)))
    solution, _ = nnls(upper, solve_triangular(upper, target, trans="T"))
    gains[audible] = polarity * solution / norms
    return gains
