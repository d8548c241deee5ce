"""Remove DC offset and low-frequency rumble, which are below the frequencies of speech.

Models are not trained with them, and both can ruin a separation: see benchmarks/offset.py. Axis
letter: n sample.
"""

import functools

import numpy as np

STOP_HZ, PASS_HZ = 10.0, 30.0  # the gain in the middle between them is -6 dB
# at STOP_HZ; from PASS_HZ on, the gain is within 0.02 dB of 1
_ATTENUATION_DB = 60.0
_FFT_LENGTH = 2**14


class RumbleFilter:
    """Remove content below 20 Hz from a stream of samples; from 30 Hz on it stays unchanged.

    The filter has linear phase and its delay is compensated, so the signal stays aligned with the
    recording. The recording is mirrored at both ends, so an offset is gone from the first sample
    on. The division into blocks does not change a bit of the output.

    Args:
        rate: of the samples, in Hz.
    """

    def __init__(self, rate: int):
        self._half, self._response, self._fft_length = _lowpass(rate)
        self._step = self._fft_length - 2 * self._half  # samples that one transform finishes
        self._held = np.empty(0, np.float32)  # begins `half` samples before the next output
        self._started = False

    def push(self, block: np.ndarray) -> np.ndarray:
        """Add the next samples (n,), and return those that are finished."""
        self._held = np.concatenate((self._held, np.asarray(block, np.float32)))
        if not self._started:
            if len(self._held) < self._half:
                return self._held[:0]
            self._held = np.pad(self._held, (self._half, 0), mode="symmetric")
            self._started = True
        finished = [self._held[:0]]
        while len(self._held) >= self._fft_length:
            finished.append(self._filtered(self._held[: self._fft_length]))
            self._held = self._held[self._step :]
        return np.concatenate(finished)

    def finish(self) -> np.ndarray:
        """Return the remaining samples (n,); no ``push`` may follow."""
        before = 0 if self._started else self._half
        if not len(self._held):
            return self._held
        # symmetric padding of a signal shorter than the filter repeats it, forwards and backwards
        self._held = np.pad(self._held, (before, self._half), mode="symmetric")
        self._started = True
        finished = self.push(self._held[:0])
        rest = len(self._held) - 2 * self._half
        last = np.pad(self._held, (0, self._fft_length - len(self._held)))
        return np.concatenate((finished, self._filtered(last)[:rest]))

    def _filtered(self, samples: np.ndarray) -> np.ndarray:
        """Return the filtered samples; the first and last ``half`` of the input are context."""
        # as float64, so that a large offset leaves no rounding error behind
        low = np.fft.irfft(np.fft.rfft(samples.astype(np.float64)) * self._response)
        inner = samples[self._half : self._fft_length - self._half]
        return (inner - low[2 * self._half :]).astype(np.float32)


def without_rumble(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return samples (n,) as :class:`RumbleFilter` passes them."""
    rumble = RumbleFilter(rate)
    return np.concatenate((rumble.push(samples), rumble.finish()))


@functools.cache
def _lowpass(rate: int) -> tuple[int, np.ndarray, int]:
    """Return a low-pass filter: half its length, its response, and the length of the FFT."""
    # Kaiser's formulas for the length and the shape of the window
    width = (PASS_HZ - STOP_HZ) / rate
    half = int(np.ceil((_ATTENUATION_DB - 7.95) / (2 * 14.36 * width)))
    window = np.kaiser(2 * half + 1, 0.1102 * (_ATTENUATION_DB - 8.7))
    taps = window * np.sinc((STOP_HZ + PASS_HZ) / rate * np.arange(-half, half + 1))
    length = _FFT_LENGTH
    while length < 8 * half:
        length *= 2
    return half, np.fft.rfft(taps / taps.sum(), length), length
