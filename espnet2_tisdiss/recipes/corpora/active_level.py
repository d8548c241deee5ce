"""Active speech level after ITU-T P.56, method B: the level during speech.

The envelope of the signal (rectified, then two first-order low-pass filters) is compared with many
thresholds.  A sample is active at a threshold if the envelope reaches the threshold there or has
done so within the hangover time.  The active level is the signal's energy divided by its active
time, at the threshold that is below this level by the margin.

The signal first passes the 200 Hz high-pass filter of the VOICEBOX toolbox, whose ``activlev``
measured WSJ0-2mix's published levels, so rumble and hum do not count as speech.  Published levels
are linear powers, as are those of this module.  VOICEBOX interpolates between thresholds that are
3 dB apart, so the two agree within 0.1 dB, not exactly.
Axis letter: n sample.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import cheby2, lfilter, sosfilt

TIME_CONSTANT_S = 0.03
HANGOVER_S = 0.2
MARGIN_DB = 15.9
# The standard interpolates between thresholds 6 dB apart.  Closer ones depend less on
# interpolation; because they are placed relative to the largest envelope, they follow the signal.
THRESHOLD_STEP_DB = 0.5
THRESHOLD_RANGE_DB = 100
# The high-pass filter: a Chebyshev filter of type 2, whose edge is slightly below its pass band.
HIGH_PASS_HZ = 200
HIGH_PASS_ORDER = 5
EDGE_DB = 0.25
STOP_DB = 50


@dataclass(frozen=True)
class ActiveLevel:
    """A measured level.

    Attributes:
        power: mean square of the filtered signal while it is active, in the signal's unit squared.
        activity: the active fraction of the time, 0 to 1.
    """

    power: float
    activity: float


def active_level(samples: np.ndarray, rate: int) -> ActiveLevel:
    """Measure the active speech level.

    Args:
        samples: (n,), of any scale.
        rate: sample rate in Hz.

    Raises:
        ValueError: the signal is silent.
    """
    samples = high_pass(np.asarray(samples, dtype=np.float64), rate)
    energy = float(np.square(samples).sum())
    if energy == 0:
        raise ValueError("the signal is silent")
    held = np.sort(_held_envelope(samples, rate))
    steps_db = -np.arange(0, THRESHOLD_RANGE_DB, THRESHOLD_STEP_DB)
    thresholds_db = 20 * np.log10(held[-1]) + steps_db
    active = len(held) - np.searchsorted(held, 10 ** (thresholds_db / 20) * (1 - 1e-12))
    levels_db = 10 * np.log10(energy / active)
    level_db = _level_at_margin(levels_db, levels_db - thresholds_db)
    power = 10 ** (level_db / 10)
    return ActiveLevel(power, energy / (power * len(samples)))


def high_pass(samples: np.ndarray, rate: int) -> np.ndarray:
    """Filter samples (n,) at a rate in Hz: 0.25 dB less at 200 Hz, 50 dB less far below."""
    # scipy needs the edge of the stop band. Beyond it, a filter of type 2 follows the Chebyshev
    # polynomial, in frequencies warped by the bilinear transform.
    polynomial = math.sqrt((10 ** (STOP_DB / 10) - 1) / (10 ** (EDGE_DB / 10) - 1))
    ratio = math.cosh(math.acosh(polynomial) / HIGH_PASS_ORDER)
    stop_hz = math.atan(math.tan(math.pi * HIGH_PASS_HZ / rate) / ratio) * rate / math.pi
    sections = cheby2(HIGH_PASS_ORDER, STOP_DB, stop_hz, "highpass", output="sos", fs=rate)
    return sosfilt(sections, samples)


def _held_envelope(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return the largest envelope within the hangover time up to each sample, shape (n,)."""
    keep = np.exp(-1 / (rate * TIME_CONSTANT_S))
    envelope = np.abs(samples)
    for _ in range(2):
        envelope = lfilter([1 - keep], [1, -keep], envelope)
    hangover = round(HANGOVER_S * rate)
    # the window of hangover + 1 samples ends at, rather than surrounds, each sample
    return maximum_filter1d(envelope, hangover + 1, mode="constant", origin=hangover // 2)


def _level_at_margin(levels_db: np.ndarray, margins_db: np.ndarray) -> float:
    """Interpolate the level where the margin over the threshold passes ``MARGIN_DB``.

    Both arrays are ordered by falling thresholds, for which the margin grows.
    """
    above = int(np.argmax(margins_db >= MARGIN_DB))
    if above == 0:  # a click: even the highest threshold is further below the level than the margin
        return float(levels_db[0])
    pair = slice(above - 1, above + 1)
    return float(np.interp(MARGIN_DB, margins_db[pair], levels_db[pair]))
