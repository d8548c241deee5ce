"""Short-time Fourier transforms in NumPy, for code that must run without PyTorch.

Axis letters: n sample, t frame, f frequency bin.
"""

import numpy as np

# the smallest sum of squared windows that may be divided by, as in PyTorch
LEAST_OVERLAP = 1e-11


def hann(length: int) -> np.ndarray:
    """Return the periodic Hann window (n,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def frame_spectra(waves: np.ndarray, window: np.ndarray, hop: int) -> np.ndarray:
    """Return the spectra (..., t, f) of the windowed frames of waves (..., n), in their precision.

    The first frame starts at the first sample, and the last one ends at or before the last.
    """
    frames = np.lib.stride_tricks.sliding_window_view(waves, len(window), axis=-1)[..., ::hop, :]
    return np.fft.rfft(frames * window.astype(waves.dtype), axis=-1)


def overlap_add(spectra: np.ndarray, window: np.ndarray, hop: int) -> np.ndarray:
    """Return the waves (..., n) whose windowed frames are nearest to spectra (..., t, f).

    The inverse of :func:`frame_spectra`: frames are windowed again, added, and divided by the sum
    of the squared windows.
    """
    size, count = len(window), spectra.shape[-2]
    window = window.astype(spectra.real.dtype)
    frames = np.fft.irfft(spectra, size, axis=-1) * window
    waves = np.zeros((*spectra.shape[:-2], hop * (count - 1) + size), frames.dtype)
    power = np.zeros(waves.shape[-1], frames.dtype)
    for index in range(count):
        place = slice(index * hop, index * hop + size)
        waves[..., place] += frames[..., index, :]
        power[place] += window * window
    return waves / np.where(power > LEAST_OVERLAP, power, 1)
