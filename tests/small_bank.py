"""A bank of known recordings: tones, white noise and rooms with one echo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet2_tisdiss.mixing.bank import Bank, Noise, Utterance, write_bank

RATE = 8000
# speaker: sex, and the frequencies of two recordings in Hz, with full periods in frames of 20 ms
VOICES = {
    "anna": ("F", (400, 450)),
    "berta": ("F", (500, 550)),
    "carl": ("M", (150, 200)),
    "dirk": ("M", (250, 300)),
}
ECHO, ECHO_AFTER = 0.5, 40


def tone(hertz: float, seconds: float = 2.0, amplitude: float = 8000.0) -> np.ndarray:
    """A tone, int16 (n,)."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def said(
    speaker: str,
    number: int = 0,
    sex: str = "F",
    source: str = "read",
    snr_db: float = float("nan"),
) -> Utterance:
    """An utterance of the training's split."""
    level = start = 0  # `write_bank` fills them in
    name = f"{speaker}_{number}"
    return Utterance(name, speaker, sex, source, "train", snr_db, level, start)


def everybody() -> list[tuple[Utterance, np.ndarray]]:
    """Two recordings of each of ``VOICES``, each louder than the one before."""
    recordings = []
    for speaker, (sex, tones) in VOICES.items():
        for number, hertz in enumerate(tones):
            loud = tone(hertz, amplitude=2000.0 * (1 + len(recordings)))
            recordings.append((said(speaker, number, sex), loud))
    return recordings


def echoing_rooms(rooms: int = 4, places: int = 2) -> np.ndarray:
    """Responses (room, place, n): the sound, and an echo, later from each place."""
    responses = np.zeros((rooms, places, 400), np.float32)
    responses[:, :, 0] = 1
    for place in range(places):
        responses[:, place, ECHO_AFTER * (1 + place)] = ECHO
    return responses


def write_small_bank(
    folder: Path,
    speech: Sequence[tuple[Utterance, np.ndarray]] | None = None,
    noises: int = 1,
    rooms: np.ndarray | None = None,
) -> Path:
    """Write a bank, by default of ``everybody``, four rooms and four seconds of white noise."""
    rng = np.random.default_rng(0)
    hisses = [
        (Noise(f"hiss{number}"), (1000 * rng.standard_normal(4 * RATE)).astype(np.int16))
        for number in range(noises)
    ]
    rooms = echoing_rooms() if rooms is None else rooms
    write_bank(folder, RATE, everybody() if speech is None else speech, hisses, rooms)
    return folder


def training_split(folder: Path) -> Bank:
    """The training's split of a bank."""
    return Bank(folder, "train")
