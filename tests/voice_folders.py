"""Helpers for the tests of voices_2mix: folders of recordings of synthesised voices."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import soundfile

from espnet2_tisdiss.recipes.mini_2mix.sentences import sentence
from espnet2_tisdiss.recipes.mini_2mix.synthesis import _engine
from espnet2_tisdiss.recipes.mini_2mix.voices import HIGH_VARIANTS, Voice, plan_voices

# format that soundfile writes for each suffix
SUFFIXES = ("wav", "flac", "ogg", "mp3")


def sex_of(voice: Voice) -> str:
    """Answers that a listener would give."""
    return "F" if voice.variant in HIGH_VARIANTS else "M"


def speak(count: int, sentences: int) -> dict[Voice, list[tuple[np.ndarray, int]]]:
    """Speech of voices, half of them high: float32 samples of shape (n,) and their rate."""
    said = {}
    for voice in plan_voices(count, 0):
        rng = Random(voice.speaker)
        with _engine(voice) as speaking:
            said[voice] = [speaking(sentence(rng)) for _ in range(sentences)]
    return said


def write_folders(folder: Path, said: dict[Voice, list[tuple[np.ndarray, int]]]) -> None:
    """Write ``<speaker>/a/<number>.<suffix>`` and ``speakers.tsv``."""
    rows = ["speaker\tsex"]
    for voice, utterances in said.items():
        rows.append(f"{voice.speaker}\t{sex_of(voice)}")
        (folder / voice.speaker / "a").mkdir(parents=True)
        for number, (samples, rate) in enumerate(utterances):
            suffix = SUFFIXES[number % len(SUFFIXES)]
            soundfile.write(folder / voice.speaker / "a" / f"{number}.{suffix}", samples, rate)
    (folder / "speakers.tsv").write_text("\n".join(rows) + "\n")


def write_table(folder: Path, columns: str, rows: list[str]) -> None:
    """Write ``utterances.tsv`` from lines whose columns are separated by spaces."""
    lines = ["\t".join(line.split(" ")) for line in (columns, *rows)]
    (folder / "utterances.tsv").write_text("\n".join(lines) + "\n")


def write_noise(path: Path, seconds: float = 8.0, rate: int = 44100) -> None:
    """Write a stereo file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), 2))
    soundfile.write(path, samples, rate)
