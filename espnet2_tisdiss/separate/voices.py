"""How similar two voices are, by their cepstra.

Axis letters: j speaker (k: in another order), n sample, t frame, q cepstral coefficient.
"""

from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.audio.spectra import frame_spectra, hann

_FRAME_SECONDS = 0.032
_MELS = 24
_CEPSTRA = np.arange(1, 13)  # without c0, the level
# Variances, in dB^2, of a cepstral coefficient: that of its mean over a second of one voice, and
# that between voices. Synthesised voices gave 60 / q and 200 / q. The values here are closer
# together because separated speech contains leakage and real voices are more similar.
_WITHIN, _BETWEEN = 100 / _CEPSTRA, 150 / _CEPSTRA
# Added to durations in seconds to avoid dividing by zero.
_EPSILON = 1e-6
# The voice model is simple, so its evidence is limited to this.
_VOICE_NATS = 10.0


class SpeechLevel:
    """Running level of speech, as power: the mean over frames, each weighted by its own power."""

    def __init__(self) -> None:
        self._sum = self._square_sum = 0.0

    def update(self, power: np.ndarray) -> None:
        """Add the powers (j, t) of a chunk's frames."""
        loudest = power.max(0)
        self._sum += loudest.sum()
        self._square_sum += np.square(loudest).sum()

    @property
    def value(self) -> float:
        """The level; 0 before any sound."""
        return self._square_sum / self._sum if self._sum > 0 else 0.0


class VoiceAnalysis:
    """Powers and mel cepstra of short frames, with bands up to 8 kHz where the rate allows."""

    def __init__(self, sample_rate: int):
        self._hop = max(1, round(_FRAME_SECONDS / 2 * sample_rate))
        window = hann(2 * self._hop)
        self._window = (window / np.sqrt(np.square(window).sum())).astype(np.float32)
        self._filters = _mel_filters(self._hop + 1, sample_rate, min(8000, sample_rate / 2))

    def __call__(self, streams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return powers (j, t) per sample and cepstra (j, t, q), in dB, of streams (j, n)."""
        import scipy.fft  # imported here, because a single chunk does not need it

        padded = np.pad(streams.astype(np.float32), ((0, 0), (self._hop, self._hop)))
        spectra = frame_spectra(padded, self._window, self._hop)
        mel = np.square(np.abs(spectra)).astype(float) @ self._filters  # (j, t, mel band)
        power = mel.sum(2) / self._hop
        # the floor is far below the level, so that an empty band weighs no more than a quiet one
        floor = power.max(initial=0.0) * 1e-7 + np.finfo(np.float32).tiny
        return power, scipy.fft.dct(10 * np.log10(mel + floor), norm="ortho")[..., _CEPSTRA]

    def frames_from(self, sample: int) -> slice:
        """Return the frames whose centres are at ``sample`` or later."""
        return slice(-(-sample // self._hop), None)


@dataclass(frozen=True)
class Voices:
    """Statistics of the voices of some streams.

    Attributes:
        amount: (j,) seconds of speech of each.
        cepstra: (j, q) sums of their cepstra, weighted by seconds.
    """

    amount: np.ndarray
    cepstra: np.ndarray

    @classmethod
    def of(cls, power: np.ndarray, cepstra: np.ndarray, quiet: float) -> "Voices":
        """Sum over the frames in which a stream is the loudest one and above ``quiet``."""
        tiny = np.finfo(float).tiny
        # squared, so that minutes of leakage do not add up to a voice
        share = np.square(power / (power.sum(0) + tiny))
        weight = share * power / (power + quiet + tiny) * _FRAME_SECONDS / 2
        return cls(weight.sum(1), np.einsum("jt,jtq->jq", weight, cepstra))

    def compare(self, other: "Voices") -> np.ndarray:
        """Return log likelihood ratios (j, k), in nats: same voice against another voice.

        The mean cepstra of one voice differ because of what was said, and less so the longer it
        spoke; those of two voices also differ because of the voice. Both differences are modelled
        as Gaussian. The ratio of a silent stream is 0.
        """
        amount, other_amount = self.amount[:, None] + _EPSILON, other.amount[:, None] + _EPSILON
        means, other_means = self.cepstra / amount, other.cepstra / other_amount
        difference = np.square(means[:, None] - other_means)
        same = _WITHIN * (1 / amount[:, None] + 1 / other_amount)
        different = same + 2 * _BETWEEN
        ratio = np.log(different / same) - difference * (1 / same - 1 / different)
        # one half is that of any Gaussian; the other allows for correlated neighbour coefficients
        return _VOICE_NATS * np.tanh(ratio.sum(2) / 4 / _VOICE_NATS)

    def reordered(self, order: tuple[int, ...]) -> "Voices":
        """Return the streams in another order."""
        return Voices(self.amount[list(order)], self.cepstra[list(order)])

    def __add__(self, other: "Voices") -> "Voices":
        return Voices(self.amount + other.amount, self.cepstra + other.cepstra)


def _mel_filters(n_bins: int, sample_rate: int, highest: float) -> np.ndarray:
    """Return triangles (f, mel band), of height 1, at even distances on the mel scale."""
    frequencies = np.linspace(0, sample_rate / 2, n_bins)
    mels = np.linspace(0, 2595 * np.log10(1 + highest / 700), _MELS + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)  # each triangle begins where the previous one peaks
    widths = np.diff(corners)
    distance = frequencies[:, None] - corners
    rising, falling = distance[:, :-2] / widths[:-1], -distance[:, 2:] / widths[1:]
    return np.minimum(rising, falling).clip(0)
