"""A bank of rooms: impulse responses from several places of a room to its microphone.

Each is made once per corpus and used by many mixtures; the splits share no rooms.
Axis letter: n sample.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.mixing.rooms import POSITIONS, impulse_responses
from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE, unusable

ROOMS = {"train": 240, "valid": 24, "test": 40}


def room_names(split: str) -> list[str]:
    """Return the names of the rooms of a split."""
    return [f"{split}{number:03d}" for number in range(1, ROOMS[split] + 1)]


def _room_path(corpus: Path, name: str) -> Path:
    return corpus / "rooms" / f"{name}.npy"


def make_room(corpus: Path, name: str, seed: int) -> None:
    """Make the impulse responses of a room, unless they exist."""
    path = _room_path(corpus, name)
    if path.exists():
        return
    responses = impulse_responses(Random(f"{seed}/rooms/{name}"), SAMPLE_RATE)
    with replacing(path) as temporary:
        np.save(temporary, responses)


def read_responses(corpus: Path, name: str) -> np.ndarray:
    """Read the impulse responses of a room, shape (POSITIONS, n), float32.

    Each begins with its direct sound, so that it does not delay the speech.
    """
    path = _room_path(corpus, name)
    try:
        responses = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise unusable(path, f"not readable ({error})") from None
    if responses.ndim != 2 or len(responses) != POSITIONS or not np.isfinite(responses).all():
        raise unusable(path, f"not the impulse responses of {POSITIONS} positions")
    return responses
