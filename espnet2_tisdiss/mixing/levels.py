"""Trim silence, and measure the level of active frames."""

import numpy as np

# Frames this much softer than the loudest one, in dB, are silent.
SILENCE_DB = 40.0
FRAME_SECONDS = 0.02
# Margin around the active frames, so that soft onsets and final consonants are not cut off.
MARGIN_SECONDS = 0.03


def _active_frames(signal: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the mean power of each complete frame, whether it is active, and the frame length.

    Raises:
        ValueError: the signal is silent.
    """
    frame = round(FRAME_SECONDS * sample_rate)
    usable = len(signal) // frame * frame
    power = np.mean(np.square(signal[:usable].reshape(-1, frame), dtype=np.float64), axis=1)
    if not power.any():
        raise ValueError("the signal is silent")
    return power, power > power.max() * 10 ** (-SILENCE_DB / 10), frame


def frame_level(signal: np.ndarray, sample_rate: int) -> float:
    """Return the mean power of the active frames of ``signal``.

    This is not the active speech level of ITU-T P.56 (``recipes/corpora/active_level.py``), which
    counts short pauses as speech and whose threshold depends on the level.

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
    """Return ``signal`` (n,) without the silence at its ends, except for a short margin.

    Raises:
        ValueError: the signal is silent.
    """
    _, active, frame = _active_frames(signal, sample_rate)
    margin = round(MARGIN_SECONDS * sample_rate)
    frames = np.flatnonzero(active)
    start = frames[0] * frame - margin
    end = (frames[-1] + 1) * frame + margin
    return signal[max(start, 0) : end]
