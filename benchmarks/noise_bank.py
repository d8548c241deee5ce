"""A bank of noise recordings, as input of timed trainings."""

from itertools import count as numbers
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.mixing.bank import Noise, Utterance, write_bank


def write_noises(folder: Path, rate: int) -> None:
    """Write a bank with noise instead of speech, noises and rooms.

    It has ten training and four validation speakers.
    """
    seeds = numbers()

    def sound(seconds: float) -> np.ndarray:
        return (32767 * speech_shaped_noise(seconds, rate, next(seeds))).astype(np.int16)

    speech = [
        (Utterance(f"{j}_{n}", str(j), "FM"[j % 2], "", split, 40.0, 0.0), sound(3 + n % 4))
        for split, speakers in (("train", range(10)), ("valid", range(10, 14)))
        for j in speakers
        for n in range(8)
    ]
    noises = [(Noise(str(n)), sound(60)) for n in range(3)]
    decay = 10 ** (-3 * np.arange(rate // 2) / (rate // 2))
    rooms = np.random.default_rng(0).standard_normal((10, 2, len(decay))) * decay
    write_bank(folder, rate, speech, noises, rooms)
