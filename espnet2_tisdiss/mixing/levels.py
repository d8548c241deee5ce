"""Where speech is, and how loud: trimming silence and measuring the level of what is left."""

from __future__ import annotations

import numpy as np

# Frames this far below the loudest one (in dB) count as silence.
SILENCE_DB = 40.0
FRAME_SECONDS = 0.02
# Kept before and after the active frames, so that soft onsets and final consonants stay whole.
MARGIN_SECONDS = 0.03


def _active_frames(signal: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the mean power of each whole frame, which of them are active, and their length."""
    frame = round(FRAME_SECONDS * sample_rate)
    usable = len(signal) // frame * frame
    power = np.mean(np.square(signal[:usable].reshape(-1, frame), dtype=np.float64), axis=1)
    if not power.any():
        raise ValueError("the signal is silent")
    return power, power > power.max() * 10 ** (-SILENCE_DB / 10), frame


def frame_level(signal: np.ndarray, sample_rate: int) -> float:
    """Measure the mean power of the active frames of ``signal``.

    Not the active speech level of ITU-T P.56 (``active_level`` of the repository's ``local/``),
    which counts short pauses as speech and places its threshold by the level that it finds.

    Args:
        signal: samples, shape (n,).
        sample_rate: in hertz.

    Returns:
        A linear power, in the signal's unit squared.

    Raises:
        ValueError: the signal is silent.
    """
    power, active, _ = _active_frames(signal, sample_rate)
    return float(power[active].mean())


def trim_silence(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return ``signal``, shape (n,), without the silence at its ends but for a short margin.

    Raises:
        ValueError: the signal is silent.
    """
    _, active, frame = _active_frames(signal, sample_rate)
    margin = round(MARGIN_SECONDS * sample_rate)
    frames = np.flatnonzero(active)
    start = frames[0] * frame - margin
    end = (frames[-1] + 1) * frame + margin
    return signal[max(start, 0) : end]
