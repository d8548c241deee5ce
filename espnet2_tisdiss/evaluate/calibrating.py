"""Fitting a prediction of SI-SNR from a model's estimates, on mixtures with known sources.

Axis letters: m estimate (of a mixture at a depth).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.by_depth import MixtureScores
from espnet2_tisdiss.separate.calibration import Calibration

LEAST_MIXTURES = 50
# SI-SNRi from which a mixture counts as well separated, and the share of these that may be called
# poor
WELL_DB = 5.0
FALSE_ALARMS = 0.05
_STEPS = 50  # of the errors' distribution


@dataclass(frozen=True)
class Fit:
    """A fit, and its accuracy on mixtures that were not used for it.

    Attributes:
        calibration: the fit to all mixtures.
        expected: SI-SNR (m,) in dB that the fit to one half of the mixtures predicts for the other.
        measured: (m,), the measured SI-SNR in dB.
    """

    calibration: Calibration
    expected: np.ndarray
    measured: np.ndarray

    @property
    def error(self) -> float:
        """Mean absolute error in dB."""
        return float(np.abs(self.expected - self.measured).mean())

    @property
    def correlation(self) -> float:
        """Correlation between expected and measured SI-SNR."""
        return float(np.corrcoef(self.expected, self.measured)[0, 1])


def calibrate(model: str, mixtures: Sequence[MixtureScores]) -> Fit:
    """Fit by least squares, with the distribution of the errors from a fit to each half.

    Args:
        model: fingerprint of the model.
        mixtures: all of them "done", at any depths.

    Raises:
        TisdissError: there are fewer than 50 mixtures.
    """
    if len(mixtures) < LEAST_MIXTURES:
        raise TisdissError(
            f"{len(mixtures)} scored mixtures are too few to calibrate with; {LEAST_MIXTURES} are "
            "the least, hundreds are better"
        )
    halves = mixtures[::2], mixtures[1::2]
    expected = np.concatenate(
        [_inputs(seen) @ _weights(other) for seen, other in zip(halves, halves[::-1], strict=True)]
    )
    measured = np.concatenate([_measured(half) for half in halves])
    constant, likeness, overlap = np.round(weights := _weights(mixtures), 4).tolist()
    gains = np.array([score.si_snri for one in mixtures for score in one.scores])
    fitted = _inputs(mixtures) @ weights
    well = fitted[gains >= WELL_DB]
    calibration = Calibration(
        model,
        constant,
        likeness,
        overlap,
        errors=tuple(_quantiles(measured - expected)),
        # if nothing is well separated, everything is poor
        poor=round(float(np.quantile(well, FALSE_ALARMS)), 2) if len(well) else float(fitted.max()),
        mixtures=len(mixtures),
    )
    return Fit(calibration, expected, measured)


def _quantiles(errors: np.ndarray) -> list[float]:
    steps = np.linspace(0, 1, _STEPS + 1)
    return np.round(np.quantile(errors, steps), 3).tolist()


def _measured(mixtures: Sequence[MixtureScores]) -> np.ndarray:
    """Return the SI-SNR (m,) of all estimates in dB."""
    return np.array([score.si_snr for one in mixtures for score in one.scores])


def _inputs(mixtures: Sequence[MixtureScores]) -> np.ndarray:
    """Return a constant and the traits (m, 3) of all estimates."""
    traits = np.array([score.traits for one in mixtures for score in one.scores])
    return np.column_stack([np.ones(len(traits)), traits])


def _weights(mixtures: Sequence[MixtureScores]) -> np.ndarray:
    """Return the coefficients (3,) of a least-squares fit."""
    return np.linalg.lstsq(_inputs(mixtures), _measured(mixtures), rcond=None)[0]
