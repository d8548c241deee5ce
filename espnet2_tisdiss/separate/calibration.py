"""The expected quality of a separation, predicted from its estimates alone.

Two traits of the estimates indicate how well the speakers are separated: how similar the waveforms
are, and how much the spectra overlap. A :class:`Calibration` predicts the SI-SNR in dB from them,
with the distribution of the errors; ``evaluate/calibrating.py`` fits it to mixtures with known
sources, at all depths together. The depth and the change by the last repetition would not improve
the prediction (docs/confidence.md). Axis letters: j speaker, f frequency, t frame, n sample.
"""

import logging
import math
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import yaml

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.audio.spectra import frame_spectra, hann
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.loudness import ScaleStatistics, Scaling
from espnet2_tisdiss.user_files import read_yaml

_FRAME_S = 0.032
_LEAST_OVERLAP = 1e-3  # -30 dB, where spectra do not overlap at all


class Traits(NamedTuple):
    """Traits of estimates.

    Attributes:
        likeness: the largest absolute correlation of two estimates, 0 to 1.
        overlap: mean overlap of the estimates' power spectra, weighted by their power, in dB: 0
            where all speakers are equally loud in every bin, -30 where each bin is one speaker's.
    """

    likeness: float
    overlap: float


def traits_of(mixture: np.ndarray, estimates: np.ndarray, rate: int) -> Traits:
    """Return the traits of estimates.

    Args:
        mixture: (n,), at the rate of the model.
        estimates: (j, n), in any scale.
        rate: in Hz.
    """
    statistics = ScaleStatistics(len(estimates)).update(mixture, estimates)
    (scaling,) = Scaling.of("level", [statistics])
    energies = np.diag(statistics.gram)
    products = np.sqrt(np.outer(energies, energies)) + np.finfo(float).tiny
    likeness = np.abs(statistics.gram / products)
    pairs = list(combinations(range(len(estimates)), 2))
    return Traits(
        max((float(likeness[pair]) for pair in pairs), default=0.0),
        _overlap_db(estimates * scaling.gains[:, None], rate),
    )


def _overlap_db(signals: np.ndarray, rate: int) -> float:
    """Return the overlap of the power spectra of signals (j, n) at their level in the mixture."""
    length = round(_FRAME_S * rate)
    if len(signals) == 1 or signals.shape[1] < length:  # the signals are too short for a spectrum
        return 10 * math.log10(_LEAST_OVERLAP)
    hop, samples = length // 2, signals.shape[1]
    frames = 1 - (1 - samples) // hop  # the first has its middle at the first sample
    after = (frames - 2) * hop + length - samples
    padded = np.pad(signals, ((0, 0), (hop, after)))
    powers = np.square(np.abs(frame_spectra(padded, hann(length), hop)))  # (j, t, f)
    totals = powers.sum(axis=0)
    squares = np.divide(
        np.square(powers).sum(axis=0), totals, out=np.zeros_like(totals), where=totals > 0
    )
    total = totals.sum()
    # of the shares p_j of a bin: 1 - sum of p_j^2, which is 1 - 1/j if they are equal
    mean = (total - squares.sum()) / total / (1 - 1 / len(signals)) if total else 0.0
    return 10 * math.log10(max(mean, _LEAST_OVERLAP))


@dataclass(frozen=True)
class Calibration:
    """A linear prediction of the SI-SNR of a model's estimates from their traits.

    Attributes:
        model: fingerprint of the model that it was fitted for.
        constant: constant term in dB.
        likeness: coefficient of the likeness, in dB.
        overlap: coefficient of the overlap, in dB per dB.
        errors: quantiles of the SI-SNR minus the expected one in dB, at equal steps of probability
            from 0 to 1, on mixtures that were not used for the fit.
        poor: expected SI-SNR in dB below which a separation is called poor; it holds for at most
            5 % of the estimates with an SI-SNRi of 5 dB or more.
        mixtures: number of mixtures of the fit.
    """

    model: str
    constant: float
    likeness: float
    overlap: float
    errors: tuple[float, ...]
    poor: float
    mixtures: int

    def expected(self, traits: Traits) -> float:
        """Return the expected SI-SNR in dB."""
        likeness, overlap = traits
        return self.constant + self.likeness * likeness + self.overlap * overlap

    def probability(self, traits: Traits, si_snr: float) -> float:
        """Return the probability that the SI-SNR is at least ``si_snr`` dB."""
        steps = np.linspace(0, 1, len(self.errors))
        return 1 - float(np.interp(si_snr - self.expected(traits), self.errors, steps))

    def interval_of_errors(self, probability: float) -> tuple[float, float]:
        """Return the interval in dB around the expected SI-SNR that has a given probability."""
        steps = np.linspace(0, 1, len(self.errors))
        low, high = np.interp(
            [(1 - probability) / 2, (1 + probability) / 2], steps, self.errors
        ).tolist()
        return low, high

    def save(self, path: Path) -> None:
        """Write it to a file."""
        facts = asdict(self) | {"errors": list(self.errors)}
        write_atomically(path, yaml.safe_dump(facts, sort_keys=False))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it from a file.

        Raises:
            TisdissError: the file cannot be read, or is not a calibration.
        """
        facts: dict[str, Any] = read_yaml(path)
        try:
            found = cls(**facts | {"errors": tuple(map(float, facts["errors"]))})
            numbers = (found.constant, found.likeness, found.overlap, found.poor, *found.errors)
            is_ascending = len(found.errors) > 1 and list(found.errors) == sorted(found.errors)
            if not is_ascending or not all(map(math.isfinite, numbers)):
                raise ValueError
        except (TypeError, ValueError, KeyError) as error:
            raise TisdissError(
                f"{path}: is not a file of tisdiss calibrate; write it again, or delete it"
            ) from error
        return found


def calibration_of(model: str, path: Path) -> Calibration | None:
    """Return the calibration of a model with a fingerprint; None: the file is missing.

    A calibration for other weights is not used; a warning says so.

    Raises:
        TisdissError: the file is damaged.
    """
    if not path.is_file():
        return None
    calibration = Calibration.load(path)
    if calibration.model != model:
        logging.warning(
            "%s: was made for other weights and is not used; run tisdiss calibrate again", path
        )
        return None
    return calibration


class ExpectedQuality:
    """Expected SI-SNR of a recording: the mean over its chunks, by their length.

    Args:
        calibration: that of the model; None: the expected SI-SNR is unknown.
    """

    def __init__(self, calibration: Calibration | None):
        self._calibration = calibration
        self._sum, self._samples = 0.0, 0

    def add(self, expected: float | None, samples: int) -> None:
        """Add a chunk, with its expected SI-SNR in dB and its length."""
        if expected is not None:
            self._samples += samples
            self._sum += samples * expected

    @property
    def si_snr(self) -> float | None:
        """The expected SI-SNR in dB; None: unknown."""
        return self._sum / self._samples if self._samples else None

    @property
    def doubt(self) -> str:
        """Notice that the separation is probably poor; empty if it is not, or unknown."""
        if (
            self._calibration is None
            or self.si_snr is None
            or self.si_snr >= self._calibration.poor
        ):
            return ""
        return "doubtful: probably separated poorly"
