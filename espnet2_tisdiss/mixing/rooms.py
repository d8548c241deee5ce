"""Rooms: impulse responses from several places to a microphone.

The rooms are small and medium-sized boxes, simulated by pyroomacoustics' image source method. No
other module needs pyroomacoustics.
"""

import math
from random import Random

import numpy as np

# Places of speakers in each room.
POSITIONS = 4

RT60_SECONDS = (0.15, 0.5)  # by Sabine's formula; flat rooms reverberate slightly longer
LENGTH_METRES, WIDTH_METRES, HEIGHT_METRES = (3.0, 7.0), (2.5, 5.5), (2.4, 3.2)
HEAD_METRES = (1.0, 1.8)  # height of mouths and microphone
WALL_METRES = 0.4  # smallest distance of mouths and microphone from the walls
DISTANCE_METRES = (0.4, 2.5)  # distance between speaker and microphone
# Samples kept before the direct sound, whose band-limited pulse starts slightly earlier.
ONSET_SAMPLES = 8


def impulse_responses(rng: Random, rate: int) -> np.ndarray:
    """Draw a room and compute its impulse responses.

    Each response starts with the direct sound, so that it does not delay the speech.

    Args:
        rng: source of randomness.
        rate: samples per second.

    Returns:
        float32 (place, n), with :data:`POSITIONS` places.
    """
    from pyroomacoustics import Material, ShoeBox, constants, inverse_sabine

    # the high-pass filter matters only below the speech band
    constants.set("rir_hpf_enable", False)
    constants.set("num_threads", 1)  # the rounding of the sum depends on the number of threads
    size = [rng.uniform(*LENGTH_METRES), rng.uniform(*WIDTH_METRES), rng.uniform(*HEIGHT_METRES)]
    absorption, order = inverse_sabine(rng.uniform(*RT60_SECONDS), size)
    box = ShoeBox(size, fs=rate, materials=Material(absorption), max_order=order)
    microphone = _point(size, rng)
    distances: list[float] = []
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
        arrival = distance / constants.get("c") * rate + filter_delay
        responses.append(response[max(0, int(arrival) - ONSET_SAMPLES) :])
    length = max(map(len, responses))
    return np.stack([np.pad(r, (0, length - len(r))) for r in responses]).astype(np.float32)


def _point(size: list[float], rng: Random) -> list[float]:
    """Draw the position, in metres, of a mouth or the microphone in a room of that size."""
    across = [rng.uniform(WALL_METRES, side - WALL_METRES) for side in size[:2]]
    return [*across, rng.uniform(*HEAD_METRES)]
