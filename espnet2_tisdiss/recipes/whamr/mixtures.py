"""Make WHAMR!'s files from WSJ0, wham_noise and the metadata.

Axis letters: n sample, c channel (left, right).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import (
    FULL_SCALE,
    fit,
    frames_at,
    quantise,
    read_source,
    to_rate,
    write_audio,
)
from espnet2_tisdiss.recipes.signals import frames_of, is_whole
from espnet2_tisdiss.recipes.whamr.metadata import Mixture
from espnet2_tisdiss.recipes.whamr.rooms import ROOM_RATE, full_order, impulse_responses
from espnet2_tisdiss.recipes.whamr.tree import LEFT, Task

RATE = 8000  # the rate of the files made here; sources and noise are at ROOM_RATE


@dataclass(frozen=True)
class Job:
    """A mixture to make.

    Attributes:
        mixture: how it is made.
        sources: the utterances' files.
        noise: the noise's file.
        folder: the split's folder in the tree.
    """

    mixture: Mixture
    sources: tuple[Path, ...]
    noise: Path
    folder: Path


def count_frames(job: Job) -> int:
    """Return the mixture's number of samples, from the headers of its source files.

    Raises:
        TisdissError: one is missing, unreadable, at another rate, or the noise is too short.
    """
    frames = min(frames_at(frames_of(path, ROOM_RATE), ROOM_RATE, RATE) for path in job.sources)
    end = _noise_start(job.mixture) + frames
    there = frames_at(frames_of(job.noise, ROOM_RATE), ROOM_RATE, RATE)
    if there < end:
        raise TisdissError(f"{job.noise}: too short: {there} samples at {RATE} Hz, not {end}")
    return frames


def _noise_start(mixture: Mixture) -> int:
    return mixture.speech_start // (ROOM_RATE // RATE)


def make_mixture(task: Task, job: Job) -> None:
    """Make the files of a mixture that the task needs, unless all exist and are complete."""
    frames = count_frames(job)
    paths = set(task.files(job.folder, job.mixture.name).values())
    if all(is_whole(path, frames, RATE) for path in paths):
        return
    sources = [read_source(path, ROOM_RATE) for path in job.sources]
    for path, samples in zip(job.sources, sources, strict=True):
        if not samples.any():
            raise TisdissError(f"{path}: silent (every sample is zero)")
    noise = np.stack([read_source(job.noise, ROOM_RATE, channel) for channel in (0, 1)], axis=1)
    signals = make_signals(job.mixture, sources, noise, frames)
    signals[task.mixture] = signals[f"s1_{task.room}"] + signals[f"s2_{task.room}"]
    if task.noisy:
        signals[task.mixture] += signals["noise"]
    for path in paths:
        write_audio(path, signals[path.parent.name].astype(np.float32), RATE)


def make_signals(
    mixture: Mixture, sources: list[np.ndarray], noise: np.ndarray, frames: int
) -> dict[str, np.ndarray]:
    """Return the signals that a mixture consists of.

    Each utterance is computed with the room's reflections and without. Both are scaled by the same
    factor, which gives the left channel of the latter the energy of the dry utterance at its level.
    Energies are those of the complete signals, before they are cut to the shorter utterance.

    Args:
        mixture: how it is made.
        sources: the two utterances, (n,) each, at 16 kHz.
        noise: (n, c) at 16 kHz.
        frames: length of the signals to make.

    Returns:
        ``s1_anechoic``, ``s1_reverb``, ``s2_anechoic``, ``s2_reverb`` and ``noise``: float64 of
        shape (n, c) at 8 kHz.
    """
    start = _noise_start(mixture)
    noise = mixture.noise_gain * to_rate(noise, ROOM_RATE, RATE)
    signals = {"noise": noise[start : start + frames]}
    anechoic = impulse_responses(mixture.room, 0)
    reverb = impulse_responses(mixture.room, full_order(mixture.room))
    for index, source in enumerate(sources):
        dry = quantise(mixture.source_gains[index] * to_rate(source, ROOM_RATE, RATE)) / FULL_SCALE
        direct = to_rate(_convolve(source, anechoic[index]), ROOM_RATE, RATE)
        echoing = to_rate(_convolve(source, reverb[index]), ROOM_RATE, RATE)
        wanted = np.sum((mixture.speech_gain * dry) ** 2)
        scale = np.sqrt(wanted / np.sum(direct[:, LEFT] ** 2))
        signals[f"s{index + 1}_anechoic"] = scale * direct[:frames]
        signals[f"s{index + 1}_reverb"] = scale * echoing[:frames]
    return signals


def _convolve(source: np.ndarray, responses: list[np.ndarray]) -> np.ndarray:
    """Convolve (n,) with a response for each channel: (n, c), as long as the longest result."""
    return np.stack(fit([fftconvolve(source, response) for response in responses], "max"), axis=1)
