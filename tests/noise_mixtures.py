"""Mixtures of two noises that are shaped like speech, in the layout of wsj0-2mix."""

from collections.abc import Sequence
from pathlib import Path

import soundfile

from espnet2_tisdiss.audio.noise import speech_shaped_noise

RATE = 8000


def write_noise_mixtures(folder: Path, seconds: Sequence[float]) -> Path:
    """Write mix/, s1/ and s2/ with a mixture m0, m1, ... of each length; return the folder."""
    for part in ("mix", "s1", "s2"):
        (folder / part).mkdir(parents=True)
    for index, length in enumerate(seconds):
        sources = [speech_shaped_noise(length, RATE, 2 * index + j) for j in (0, 1)]
        for part, samples in zip(("mix", "s1", "s2"), [sum(sources), *sources], strict=True):
            soundfile.write(folder / part / f"m{index}.wav", samples, RATE, "FLOAT")
    return folder
