"""Read single-channel audio for a data directory and refuse files unusable for training.

Every error is a ``TisdissError`` with one line that names the file and the cause.
"""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.audio.reading import probe
from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.errors import AudioError, TisdissError
from espnet2_tisdiss.lists import Source

MIN_DURATION_S = 0.02
FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
PCM_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")
CONTAINERS = {"wav": ("WAV", "WAVEX"), "flac": ("FLAC",)}


@dataclass(frozen=True)
class Signal:
    """One channel of one audio file.

    Attributes:
        samples: float64 of shape (n,); full scale of integer formats is 1.
        rate: samples per second.
        subtype: libsndfile's name of the sample format, e.g. PCM_16 or FLOAT.
        container: libsndfile's name of the file format, e.g. WAV or FLAC.
        channels: number of channels of the file.
    """

    samples: np.ndarray
    rate: int
    subtype: str
    container: str
    channels: int


def read_signal(
    path: str | Source,
    ref_channel: int | None = None,
    advice: str = "choose one with --ref_channel N",
    reader: SourceReader | None = None,
) -> Signal:
    """Read one channel of a file and check it.

    Args:
        path: the audio file, or an entry of a list.
        ref_channel: channel to take (from 0) of a file with several; None refuses such a file.
        advice: for messages, what to do about a file with other channels.
        reader: opens the entry; None: a new one, only for this entry.

    Raises:
        TisdissError: no such file, not audio, truncated, shorter than 20 ms, several channels
            without ``ref_channel``, or a NaN or infinite sample.
    """
    source = path if isinstance(path, Source) else Source(path)
    with nullcontext(reader) if reader else SourceReader() as one:
        audio = one.open(source)
        info, samples = audio.info, audio.samples()
    path = str(source)
    signal = Signal(
        _one_channel(path, samples, ref_channel, advice),
        info.rate,
        info.subtype,
        info.container,
        info.channels,
    )
    _check_samples(path, signal)
    return signal


def frames_of(path: Path, rate: int) -> int:
    """Return the number of samples of an audio file, from its header.

    Raises:
        TisdissError: it cannot be read, or is not at ``rate`` Hz.
    """
    info = probe(path)
    check_rate(path, info.rate, rate)
    return info.frames


def check_rate(path: Path, found: int, rate: int) -> None:
    """Refuse a file at another rate than ``rate`` Hz."""
    if found != rate:
        raise TisdissError(f"{path}: is at {found} Hz, not {rate} Hz")


def is_whole(path: Path, frames: int, rate: int | None = None) -> bool:
    """Return whether an audio file exists with this number of samples, at this rate (Hz) if any."""
    try:
        info = probe(path)
    except AudioError:
        return False
    return info.frames == frames and rate in (None, info.rate)


def _one_channel(
    path: str, samples: np.ndarray, ref_channel: int | None, advice: str
) -> np.ndarray:
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    if ref_channel is None:
        raise TisdissError(f"{path}: has {channels} channels; {advice}")
    if ref_channel >= channels:
        raise TisdissError(
            f"{path}: has channels 0 to {channels - 1}, but not channel {ref_channel}; {advice}"
        )
    return np.ascontiguousarray(samples[:, ref_channel])


def _check_samples(path: str, signal: Signal) -> None:
    if len(signal.samples) < MIN_DURATION_S * signal.rate:
        raise TisdissError(
            f"{path}: too short: {len(signal.samples)} samples, at least "
            f"{MIN_DURATION_S * 1000:.0f} ms are needed"
        )
    finite = np.isfinite(signal.samples)
    if not finite.all():
        first = int(np.argmin(finite))
        raise TisdissError(
            f"{path}: sample {first} is {signal.samples[first]}, not a finite number"
        )


def write_signal(path: Path, samples: np.ndarray, rate: int, subtype: str) -> None:
    """Write samples (n,) in the format of the suffix, under a temporary name, and rename the file.

    Raises:
        TisdissError: the file format cannot hold the sample format, or samples would be clipped.
        OSError: the file cannot be written.
    """
    container = path.suffix.removeprefix(".").upper()
    if not soundfile.check_format(container, subtype):
        raise TisdissError(f"{path}: {container} cannot hold {subtype} samples")
    peak = np.max(np.abs(samples), initial=0.0)
    if subtype not in FLOAT_SUBTYPES and peak > 1:
        raise TisdissError(f"{path}: {subtype} would clip its samples, whose peak is {peak:.3g}")
    write_encoded(path, samples, rate, subtype, container)


def write_encoded(path: Path, samples: np.ndarray, rate: int, subtype: str, container: str) -> None:
    """Write samples (n,) or (n, channels) under a temporary name and rename the file.

    Raises:
        OSError: the file cannot be written; it names the file.
    """
    whole = io.BytesIO()  # encoded in memory, so that a failing write raises the system's own error
    soundfile.write(whole, samples, rate, subtype=subtype, format=container)
    with replacing(path) as temporary:
        temporary.write_bytes(whole.getbuffer())
