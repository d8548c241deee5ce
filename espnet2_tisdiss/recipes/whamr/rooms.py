"""Impulse responses of WHAMR!'s rooms, by the image source method of pyroomacoustics.

The rooms are those of the WHAMR! scripts, which gave pyroomacoustics the value of Sabine's formula
as ``absorption``.  In the versions of that time, this argument was one minus the factor by which a
wall scales the reflected *pressure*.  Today's ``energy_absorption`` is the absorbed share of the
energy.  So the factor is set here, image by image.  For a short reverberation in a large room the
value exceeds 1, and the sign of the sound changes at each wall.
Axis letter: n sample.
"""

import math

import numpy as np
from pyroomacoustics import Material, ShoeBox, constants

from espnet2_tisdiss.recipes.whamr.metadata import Room

ROOM_RATE = 16000


def impulse_responses(room: Room, max_order: int) -> list[list[np.ndarray]]:
    """Return the impulse responses of a room, cut to its reverberation time.

    Args:
        room: the room.
        max_order: largest number of reflections; 0 leaves the direct sound, with its delay.

    Returns:
        For each speaker, for left and right: float32 of shape (n,) at 16 kHz.
    """
    # as when the corpus was made: later versions filter the responses
    constants.set("rir_hpf_enable", False)
    constants.set("num_threads", 1)  # the sum's rounding depends on it
    box = ShoeBox(room.size, fs=ROOM_RATE, materials=Material(0.0), max_order=max_order)
    for position in room.speakers:
        box.add_source(position)
    box.add_microphone_array(np.transpose(room.microphones))
    box.image_source_model()
    reflection = np.float32(1 - sabine_absorption(room))
    for source in box.sources:
        source.damping = reflection ** source.orders[np.newaxis]
    box.compute_rir()
    length = math.ceil(room.t60 * ROOM_RATE)
    left, right = ([response[:length] for response in responses] for responses in box.rir)
    return [list(pair) for pair in zip(left, right, strict=True)]


def sabine_absorption(room: Room) -> float:
    """Return the absorption of the walls that Sabine's formula gives for the reverberation time."""
    x, y, z = room.size
    surface = 2 * (x * y + y * z + z * x)
    return 24 * math.log(10) * x * y * z / (constants.get("c") * surface * room.t60)


def full_order(room: Room) -> int:
    """Return the number of reflections within the reverberation time."""
    return math.ceil(room.t60 * constants.get("c") / min(room.size))
