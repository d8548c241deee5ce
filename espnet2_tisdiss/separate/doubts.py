"""Signs that a result is doubtful: channels that are unrelated or cancel, or similar outputs.

``benchmarks/doubts.py`` chose the limits WEAK_DB, ALIKE and UNRELATED on half of its mixtures, for
few false alarms rather than many hits, and measured them on the other half. Axis letters: c
channel, j speaker, n sample, t frame.
"""

import math
from itertools import combinations
from typing import Self

import numpy as np

from espnet2_tisdiss.choices import Channel
from espnet2_tisdiss.separate.loudness import ScaleStatistics, Scaling

# two outputs are doubtful if the loudest second of one is weaker by more than this; the mean level
# would not do, because a speaker may speak rarely
WEAK_DB = 8.0
_LOUDEST_S = 1.0
# or if their correlation is above this: they share the sound of one voice
ALIKE = 0.45
# with less sound, the signs are unreliable
LEAST_S = 2.0
# the signs were measured only for this number of speakers
MEASURED_SPEAKERS = 2
# channels are unrelated if the correlation of their levels in short frames is below this
UNRELATED = 0.4
_FRAME_S = 0.032
# frames weaker than the speech of a channel by more than this are pauses
_PAUSE_DB = 30.0
# a channel that is weaker than the loudest by more than this is silent
_SILENT_DB = 40.0
# channels cancel if their mean is weaker than that of unrelated ones by more than this
_CANCELLED_DB = 10.0
# a recording is silent if no sample is larger; 140 dB below full scale is the limit of 24 bits
_SILENCE = 1e-7


class Powers:
    """Powers of signals in frames, without their offset, collected block by block.

    Args:
        rate: of the signals, in Hz.
        seconds: length of a frame.
    """

    def __init__(self, rate: int, seconds: float):
        self._length = max(1, round(seconds * rate))
        self._rest: np.ndarray | None = None
        self._powers: list[np.ndarray] = []

    def push(self, block: np.ndarray) -> Self:
        """Add the next samples (r, n) of r signals."""
        if self._rest is not None:
            block = np.concatenate((self._rest, block), axis=1)
        count = block.shape[1] // self._length
        frames, self._rest = np.split(block, [count * self._length], axis=1)
        frames = frames.reshape(len(block), count, self._length)
        energies = np.einsum("rtn,rtn->rt", frames, frames, dtype=np.float64)
        offsets = np.einsum("rtn->rt", frames, dtype=np.float64) / self._length
        self._powers.append(np.maximum(energies / self._length - np.square(offsets), 0.0))
        return self

    @property
    def value(self) -> np.ndarray:
        """Powers (r, t) of the complete frames."""
        if not self._powers:
            return np.empty((0, 0))
        return np.concatenate(self._powers, axis=1)


class ChannelPowers(Powers):
    """Powers of channels and, in the last row, of their mean."""

    def push(self, block: np.ndarray) -> Self:
        """Add the next samples (c, n)."""
        return super().push(np.concatenate((block, block.mean(axis=0, keepdims=True))))


def estimate_powers(rate: int) -> Powers:
    """Return a collector of the powers that :func:`doubt_of_estimates` needs."""
    return Powers(rate, _LOUDEST_S)


def channel_powers(rate: int) -> ChannelPowers:
    """Return a collector of the powers that :func:`doubt_of_channels` needs."""
    return ChannelPowers(rate, _FRAME_S)


def traits_of_estimates(statistics: ScaleStatistics, powers: Powers) -> tuple[float, float]:
    """Return by how many dB the first of two estimates is louder, and their likeness.

    The levels are those of the loudest seconds, as in the mixture; the likeness is the absolute
    correlation, 0 to 1.
    """
    (scaling,) = Scaling.of("level", [statistics])
    first, second = np.square(scaling.gains) * powers.value.max(axis=1, initial=0.0)
    if not first or not second:
        return (math.inf if first else -math.inf if second else 0.0), 0.0
    energies = np.diag(statistics.gram)
    likeness = abs(statistics.gram[0, 1]) / math.sqrt(energies.prod())
    return 10 * math.log10(first / second), float(likeness)


def doubt_of_estimates(statistics: ScaleStatistics, powers: Powers) -> str:
    """Return why the outputs of a channel may not be two voices; empty if there is no such sign.

    A single voice gives either a weak second output, or two similar ones. Similar outputs may also
    be two voices that were not separated. Three voices give no sign. For silence, the text says so.
    """
    if statistics.mixture_peak < _SILENCE:
        return "all but silent, more than 140 dB below full scale"
    is_long = powers.value.shape[1] * _LOUDEST_S >= LEAST_S
    if len(statistics.gram) != MEASURED_SPEAKERS or not is_long:
        return ""
    difference, likeness = traits_of_estimates(statistics, powers)
    if abs(difference) > WEAK_DB:
        weak = f"output {1 if difference < 0 else 2}"
        how = "silent" if math.isinf(difference) else f"{abs(difference):.0f} dB weaker"
        return f"doubtful: perhaps one voice only, as {weak} is {how}"
    if likeness > ALIKE:
        return (
            "doubtful: perhaps one voice only, or not separated, as the outputs are alike "
            f"(correlation {likeness:.2f})"
        )
    return ""


def doubt_of_channels(powers: ChannelPowers, channel: Channel) -> str:
    """Return a notice that channels cancel in their mean, or that no two are related.

    It is empty if some are related, or if at most one has sound.
    """
    values, mean = powers.value[:-1], powers.value[-1:]
    unrelated = values.sum() / max(1, len(values)) ** 2
    if channel == "mean" and mean.sum() < unrelated * 10 ** (-_CANCELLED_DB / 10):
        return (
            "the channels nearly cancel each other in their mean, as with swapped polarity; "
            "channel left or right separates only one"
        )
    if values.shape[1] * _FRAME_S < LEAST_S or relation_of_channels(powers) >= UNRELATED:
        return ""
    return (
        "the channels are nearly unrelated and may be the speakers already; channel left or "
        "right separates only one"
    )


def relation_of_channels(powers: ChannelPowers) -> float:
    """Return the highest correlation of the levels of two channels; 1 if at most one has sound."""
    values = powers.value[:-1]
    # the level of speech: the mean, each frame weighted by its power
    sums = values.sum(axis=1)
    speech = np.square(values).sum(axis=1) / np.maximum(sums, np.finfo(np.float64).tiny)
    audible = speech > speech.max() * 10 ** (-_SILENT_DB / 10)
    pairs = combinations(values[audible] / speech[audible, None], 2)
    return max((_correlation(*pair) for pair in pairs), default=1.0)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two levels in dB, where there is sound; 1 if one is constant."""
    quiet = 10 ** (-_PAUSE_DB / 10)
    pair = np.stack([first, second])
    levels = np.log10(pair[:, pair.max(axis=0) > quiet] + quiet)
    if levels.shape[1] < 2 or not levels.std(axis=1).all():
        return 1.0
    return float(np.corrcoef(levels)[0, 1])
