"""Read audio files for the bank: one channel, 16 kHz, without silence at the ends.

Axis letter: n sample.
"""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import numpy as np

from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import quantise
from espnet2_tisdiss.recipes.voices_2mix.listing import Part, Recording

RATE = 16000
PEAK = 0.9  # the bank stores the level of each utterance, so a gain changes nothing

# Leading and trailing frames this far below the louder ones are silence, except for a margin.
FRAME_SECONDS = 0.025
LOUD_PERCENTILE = 95
SILENCE_DB = 30.0
MARGIN_SECONDS = 0.1
MIN_SECONDS = 0.1
# pause between joined words
PAUSE_SECONDS = (0.02, 0.25)

# A training reads all of an utterance or noise to mix a few seconds of it, so longer ones are cut
# into several.
MAX_SECONDS, PIECE_SECONDS = 32.0, 30.0
CUT_SECONDS = 5.0  # the cut is made at a pause within this range before a piece's end
# A piece whose peak is this far below the recording's is a long pause.
PAUSE_DB = 30.0


def decode_speech(recording: Recording, allow_narrow_band: bool) -> np.ndarray:
    """Read a recording.

    Args:
        recording: what to read.
        allow_narrow_band: take files below 16 kHz.

    Returns:
        int16 (n,) at 16 kHz, with a peak of 0.9.

    Raises:
        TisdissError: a file cannot be used; the message names it and the cause.
        AudioError: a file cannot be read; likewise.
    """
    pauses = Random(recording.name)
    joined: list[np.ndarray] = []
    for part in recording.parts:
        if joined:
            joined.append(np.zeros(round(pauses.uniform(*PAUSE_SECONDS) * RATE), np.float32))
        joined.append(trim(_read(part, allow_narrow_band), part.path))
    return _to_peak(np.concatenate(joined))


def decode_noise(path: Path, allow_narrow_band: bool) -> np.ndarray:
    """Read a noise; see :func:`decode_speech`. Nothing is cut from it."""
    samples = _read(Part(path), allow_narrow_band)
    if len(samples) < RATE:  # each split gets a share of it
        raise TisdissError(f"{path}: lasts {len(samples) / RATE:.2f} s; a noise needs 1 s or more")
    if not samples.any():
        raise TisdissError(f"{path}: is silent; leave it out")
    return _to_peak(samples)


def _read(part: Part, allow_narrow_band: bool) -> np.ndarray:
    """Read a part of a file, float32 (n,) at 16 kHz, the mean of its channels."""
    rate = probe(part.path).rate
    if rate < RATE and not allow_narrow_band:
        raise TisdissError(
            f"{part.path}: is at {rate} Hz, so that it lacks the upper band of 16-kHz speech; "
            "leave it out, or accept such files with --allow_narrow_band"
        )
    resampler = Resampler(rate, RATE)
    blocks = [resampler.push(block)[0] for block in read_blocks(part.path)]
    samples = np.concatenate([*blocks, resampler.finish()[0]])
    start = round(part.start * RATE)
    stop = len(samples) if math.isinf(part.stop) else round(part.stop * RATE)
    if start >= len(samples):
        raise TisdissError(f"{part.path}: ends before {part.start:g} s; replace it")
    return samples[start:stop]


def trim(samples: np.ndarray, path: Path) -> np.ndarray:
    """Return samples (n,) at 16 kHz without the silence at their ends, except for 0.1 s."""
    frame = round(FRAME_SECONDS * RATE)
    if len(samples) < MIN_SECONDS * RATE:
        raise TisdissError(f"{path}: lasts {len(samples) / RATE:.3f} s; at least 0.1 s is needed")
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.mean(np.square(whole, dtype=np.float64), axis=1)
    # relative to the loudest frame if less than one in twenty is loud
    loud = np.percentile(power, LOUD_PERCENTILE) or power.max()
    if loud == 0:
        raise TisdissError(f"{path}: is silent; leave it out")
    active = np.flatnonzero(power > loud * 10 ** (-SILENCE_DB / 10))
    margin = round(MARGIN_SECONDS * RATE)
    return samples[max(0, active[0] * frame - margin) : (active[-1] + 1) * frame + margin]


def _to_peak(samples: np.ndarray) -> np.ndarray:
    return quantise(samples * np.float32(PEAK / np.abs(samples).max()))


def cut_noise(samples: np.ndarray) -> list[np.ndarray]:
    """Cut a long noise into equal pieces of up to 32 s: each split gets a share of every one."""
    return np.array_split(samples, math.ceil(len(samples) / (MAX_SECONDS * RATE)))


def cut(samples: np.ndarray) -> list[np.ndarray]:
    """Cut a long recording into pieces at its pauses; drop those without speech.

    Args:
        samples: int16 (n,) at 16 kHz.

    Returns:
        One piece if the recording lasts up to 32 s, otherwise pieces of 25 to 32 s; the last one
        may be shorter.
    """
    frame = round(FRAME_SECONDS * RATE)
    pieces, rest = [], samples
    while len(rest) > MAX_SECONDS * RATE:
        stop = round(PIECE_SECONDS * RATE)
        start = stop - round(CUT_SECONDS * RATE)
        frames = rest[start:stop].astype(np.float64).reshape(-1, frame)
        end = start + int(np.argmin(np.square(frames).sum(axis=1))) * frame + frame // 2
        pieces.append(rest[:end])
        rest = rest[end:]
    peaks = [np.abs(piece.astype(np.int32)).max() for piece in (*pieces, rest)]
    least = max(peaks) * 10 ** (-PAUSE_DB / 20)
    return [piece for piece, peak in zip((*pieces, rest), peaks, strict=True) if peak > least]
