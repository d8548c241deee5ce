"""A bank of rooms: impulse responses from several places of a room to its microphone.

The rooms are boxes of small and middle size, by the image source method of pyroomacoustics.  Each
is made once per corpus and used by many mixtures; the splits have rooms of their own.
Axis letter: n sample.
"""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
from corpus_files import require_package
from datadir import write_aside
from speech_files import SAMPLE_RATE, unusable

ROOMS = MappingProxyType({"train": 240, "valid": 24, "test": 40})
# Places to speak from in each room.
POSITIONS = 4

RT60_SECONDS = (0.15, 0.5)  # by Sabine's formula; flat rooms reverberate somewhat longer
LENGTH_METRES, WIDTH_METRES, HEIGHT_METRES = (3.0, 7.0), (2.5, 5.5), (2.4, 3.2)
HEAD_METRES = (1.0, 1.8)  # height of mouths and of the microphone
WALL_METRES = 0.4  # distance of everything from the walls
DISTANCE_METRES = (0.4, 2.5)  # of speaker and microphone
# Kept before the direct sound: its band-limited pulse begins somewhat earlier.
ONSET_SAMPLES = 8


def require_rooms() -> None:
    """Check that pyroomacoustics is installed; raise DataError if it is not."""
    require_package("pyroomacoustics", "the rooms", "pyroomacoustics", "pyroomacoustics")


def room_names(split: str) -> list[str]:
    """Return the names of the rooms of a split."""
    return [f"{split}{number:03d}" for number in range(1, ROOMS[split] + 1)]


def _room_path(corpus: Path, name: str) -> Path:
    return corpus / "rooms" / f"{name}.npy"


def make_room(corpus: Path, name: str, seed: int) -> None:
    """Make the impulse responses of a room, unless they are there already."""
    path = _room_path(corpus, name)
    if path.exists():
        return
    responses = _impulse_responses(Random(f"{seed}/rooms/{name}"))
    with write_aside(path) as aside:
        np.save(aside, responses)


def read_responses(corpus: Path, name: str) -> np.ndarray:
    """Read the impulse responses of a room, shape (POSITIONS, n), float32.

    Each begins with its direct sound, so that what it is applied to is not delayed.

    Raises:
        DataError: the file is missing or not whole.
    """
    path = _room_path(corpus, name)
    try:
        responses = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise unusable(path, f"not readable ({error})") from None
    if responses.ndim != 2 or len(responses) != POSITIONS or not np.isfinite(responses).all():
        raise unusable(path, f"not the impulse responses of {POSITIONS} positions")
    return responses


def _impulse_responses(rng: Random) -> np.ndarray:
    """Draw a room and compute its responses, float32 of shape (POSITIONS, n)."""
    from pyroomacoustics import Material, ShoeBox, constants, inverse_sabine

    constants.set("rir_hpf_enable", False)  # speech has little where it would filter
    constants.set("num_threads", 1)  # the sum's rounding depends on it
    size = [rng.uniform(*LENGTH_METRES), rng.uniform(*WIDTH_METRES), rng.uniform(*HEIGHT_METRES)]
    absorption, order = inverse_sabine(rng.uniform(*RT60_SECONDS), size)
    box = ShoeBox(size, fs=SAMPLE_RATE, materials=Material(absorption), max_order=order)
    microphone = _point(size, rng)
    distances = []
    while len(distances) < POSITIONS:
        mouth = _point(size, rng)
        distance = math.dist(mouth, microphone)
        if DISTANCE_METRES[0] <= distance <= DISTANCE_METRES[1]:
            box.add_source(mouth)
            distances.append(distance)
    box.add_microphone(microphone)
    box.compute_rir()
    filter_delay = constants.get("frac_delay_length") // 2
    responses = []
    for response, distance in zip(box.rir[0], distances, strict=True):
        arrival = distance / constants.get("c") * SAMPLE_RATE + filter_delay
        responses.append(response[max(0, int(arrival) - ONSET_SAMPLES) :])
    length = max(map(len, responses))
    return np.stack([np.pad(r, (0, length - len(r))) for r in responses]).astype(np.float32)


def _point(size: list[float], rng: Random) -> list[float]:
    across = [rng.uniform(WALL_METRES, side - WALL_METRES) for side in size[:2]]
    return [*across, rng.uniform(*HEAD_METRES)]
