"""The voices of the flite command: four people, and versions that sound like other people.

They are used only for training, so that the speakers of validation and test do not depend on
whether flite is installed.  (At the full size, rooms and noises do depend on it: babble consists of
training voices, and the random numbers drawn for it shift later ones.)  Each version has its own
mean pitch, rate and length of the vocal tract. The length is changed by playing the samples faster
or slower, with pitch and rate chosen to compensate for this.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np

from espnet2_tisdiss.recipes.mini_2mix.voices import Speak, Voice, run_engine

VOICES = ("awb", "kal", "rms", "slt")

# Mean pitch of the versions, in hertz; rms ignores the option, so its pitch follows from the tract.
PITCHES = {"awb": (90.0, 190.0), "kal": (80.0, 180.0), "slt": (125.0, 260.0)}
# In percent of the original voice: long for low versions and short for high ones, with variation.
TRACT_BY_PITCH, TRACT_SPREAD = 6.0, 6.0
TRACT_ALONE = 16.0
DURATIONS = (85, 120)


def installed() -> list[str]:
    """Ask the ``flite`` command, if there is one, which of ``VOICES`` it has."""
    if shutil.which("flite") is None:
        return []
    listing = subprocess.run(["flite", "-lv"], capture_output=True, text=True).stdout
    return [name for name in VOICES if name in listing.split()]


def plan_voices(names: Sequence[str], versions: int, seed: int) -> list[Voice]:
    """Describe the speakers made from these voices of flite, all for training.

    A single version is the original voice. Several versions are spread over the range of pitch,
    each in a different part of it.
    """
    rng = Random(f"{seed}/flite")
    cast = []
    for name in names:
        plain = Voice(
            speaker=f"f{name}",
            engine="flite",
            accent="en-gb-scotland" if name == "awb" else "en-us",
            variant=name,
            split="train",
        )
        if versions == 1:
            cast.append(plain)
        else:
            cast += [_version(plain, number, versions, rng) for number in range(1, versions + 1)]
    return cast


def _version(plain: Voice, number: int, versions: int, rng: Random) -> Voice:
    height = (number - rng.uniform(0.25, 0.75)) / versions  # 0: the lowest, 1: the highest
    if plain.variant in PITCHES:
        low, high = PITCHES[plain.variant]
        pitch = round(low * (high / low) ** height)
        tract = TRACT_BY_PITCH * (1 - 2 * height) + rng.uniform(-TRACT_SPREAD, TRACT_SPREAD)
    else:
        pitch = 0
        tract = TRACT_ALONE * (1 - 2 * height)
    return replace(
        plain,
        speaker=f"{plain.speaker}{number:02d}",
        pitch=pitch,
        rate=rng.randint(*DURATIONS),
        tract=round(100 + tract),
    )


@contextmanager
def engine(voice: Voice) -> Iterator[Speak]:
    """Run the flite command once for each text."""
    options = []
    tract = voice.tract / 100
    if voice.pitch:
        options += ["--setf", f"int_f0_target_mean={voice.pitch * tract:.2f}"]
    if voice.rate:
        options += ["--setf", f"duration_stretch={voice.rate / 100 / tract:.4f}"]
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"

        def speak(text: str) -> tuple[np.ndarray, float]:
            command = ["flite", "-voice", voice.variant, *options, "-t", text, "-o", str(spoken)]
            samples, sample_rate = run_engine(voice, command, spoken, text)
            return samples, sample_rate / tract

        yield speak
