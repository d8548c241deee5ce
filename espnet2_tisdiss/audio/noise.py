"""Noise shaped like speech, for measuring speed and for tests."""

import numpy as np

from espnet2_tisdiss.checks import check_number

SPEECH_CORNER_HZ = 500.0  # above it, the spectrum of speech falls by about 6 dB per octave
SYLLABLES_HZ = 4.0


def speech_shaped_noise(seconds: float, sample_rate: int, seed: int = 0) -> np.ndarray:
    """Return noise with the long-term spectrum of speech, modulated at the rate of syllables.

    Args:
        seconds: length of the noise.
        sample_rate: sample rate in Hz.
        seed: seed of the random numbers.

    Returns:
        Samples (n,), float32, with a peak of 0.5.

    Raises:
        ValueError: the length is less than one sample.
    """
    check_number("seconds", seconds, 1 / sample_rate, float("inf"))
    n_samples = int(seconds * sample_rate)
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    noise = np.fft.irfft(white / np.maximum(1, frequency / SPEECH_CORNER_HZ), n_samples)
    time_s = np.arange(n_samples) / sample_rate
    noise *= 1.1 - np.cos(2 * np.pi * SYLLABLES_HZ * time_s)
    return (0.5 * noise / np.abs(noise).max()).astype(np.float32)
