"""Random noises of a room or of a telephone line; each kind is a function in ``KINDS``.

All noises have a mean power of 1.  Axis letter: n sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from espnet2_tisdiss.mixing.levels import frame_level
from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE

# Two kinds together differ by up to this much, in dB.
BALANCE_DB = 6.0


def make_noise(
    kinds: Sequence[str], length: int, seed: str, babble: Sequence[np.ndarray]
) -> np.ndarray:
    """Make a noise of one or more kinds.

    Args:
        kinds: keys of ``KINDS``.
        length: samples.
        seed: the same seed gives the same noise.
        babble: the utterances that babble is made of, shape (n,) each.

    Returns:
        A signal of mean power 1, shape (n,).
    """
    rng = np.random.default_rng(list(seed.encode("utf-8")))
    total = np.zeros(length)
    for kind in kinds:
        level = 10 ** (rng.uniform(-BALANCE_DB / 2, BALANCE_DB / 2) / 20)
        total += level * _unit_power(KINDS[kind](length, rng, babble))
    return _unit_power(total)


def _unit_power(signal: np.ndarray) -> np.ndarray:
    return signal / np.sqrt(np.mean(np.square(signal)))


def _coloured(length: int, rng: np.random.Generator, _babble: Sequence[np.ndarray]) -> np.ndarray:
    """Steady noise whose spectrum falls with frequency, from white to brown."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    bins = np.arange(len(spectrum))
    corner = 50 * length / SAMPLE_RATE  # 50 Hz: level below
    spectrum *= np.maximum(bins, corner) ** -rng.uniform(0.0, 1.0)
    return np.fft.irfft(spectrum, length)


def _hum(length: int, rng: np.random.Generator, _babble: Sequence[np.ndarray]) -> np.ndarray:
    """Harmonics of the mains or of a fan, slowly rising and falling."""
    time = np.arange(length) / SAMPLE_RATE
    base = rng.choice([50.0, 60.0, rng.uniform(40.0, 150.0)])
    hum = np.zeros(length)
    for number in range(1, int(rng.integers(8, 24))):
        level = rng.uniform(0.2, 1.0) * number ** -rng.uniform(0.3, 1.2)
        hum += level * np.sin(2 * np.pi * (base * number * time + rng.uniform()))
    swell = 1 + rng.uniform(0.0, 0.5) * np.sin(2 * np.pi * (rng.uniform(0.2, 3) * time))
    return hum * swell + 0.02 * rng.standard_normal(length)


def _crackle(length: int, rng: np.random.Generator, _babble: Sequence[np.ndarray]) -> np.ndarray:
    """Short bursts at random moments, on a quiet hiss."""
    crackle = 0.02 * rng.standard_normal(length)
    count = 1 + rng.poisson(rng.uniform(5, 50) * length / SAMPLE_RATE)
    for start in rng.integers(0, length, count):
        decay = rng.uniform(0.001, 0.008) * SAMPLE_RATE
        burst = rng.standard_normal(int(5 * decay)) * np.exp(-np.arange(int(5 * decay)) / decay)
        part = crackle[start : start + len(burst)]
        part += rng.lognormal(0.0, 0.6) * burst[: len(part)]
    return crackle


def _babble(length: int, rng: np.random.Generator, babble: Sequence[np.ndarray]) -> np.ndarray:
    """Many voices at once, equally loud, each starting at a random position."""
    total = np.zeros(length)
    for speech in babble:
        started = np.roll(speech, rng.integers(len(speech)))
        total += np.resize(started, length) / np.sqrt(frame_level(speech, SAMPLE_RATE))
    return total


KINDS: dict[str, Callable[[int, np.random.Generator, Sequence[np.ndarray]], np.ndarray]] = {
    "coloured": _coloured,
    "hum": _hum,
    "crackle": _crackle,
    "babble": _babble,
}
