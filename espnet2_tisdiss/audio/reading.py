"""Reading audio files of any length, rate, channel count and format, block by block.

Memory use is bounded by the block. A file that cannot be read raises an :class:`AudioError` of one
line. As in libsndfile, a frame is one sample of every channel. Axis letters: c channel, n sample.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet2_tisdiss.audio.channels import CHANNELS, Channel, take_channels
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.errors import AudioError

BLOCK_SECONDS = 5.0
# rates in Hz; others mean a broken header, and resampling from them would take hours
RATES = range(1000, 768_001)
# libsndfile's number of frames if the header does not state one
UNKNOWN_FRAMES = 2**63 - 1


@dataclass(frozen=True)
class AudioInfo:
    """Contents of an audio file's header.

    Attributes:
        rate: samples per second.
        channels: number of channels.
        frames: samples of each channel.
        subtype: libsndfile's name of the sample format, e.g. PCM_16 or FLOAT.
        container: libsndfile's name of the file format, e.g. WAV or FLAC.
    """

    rate: int
    channels: int
    frames: int
    subtype: str
    container: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate


def probe(path: str | Path) -> AudioInfo:
    """Return the contents of a file's header, and refuse a file that cannot be read.

    Only :func:`read_blocks` finds damaged or missing samples.

    Raises:
        AudioError: the file does not exist, is not a regular file, cannot be opened, is empty,
            contains no audio or no samples, has a rate outside :data:`RATES`, or is shorter than
            its header says.
    """
    _check_complete(path)
    with open_audio(path) as file:
        info = AudioInfo(file.samplerate, file.channels, file.frames, file.subtype, file.format)
    if info.frames == 0:
        raise AudioError(f"{path}: holds no samples; remove it from the inputs")
    if info.frames == UNKNOWN_FRAMES:
        raise AudioError(f"{path}: the header does not state the length; convert it to wav")
    if info.rate not in RATES:
        raise AudioError(
            f"{path}: has a sample rate of {info.rate} Hz, outside {RATES[0]} to {RATES[-1]} Hz; "
            "repair its header"
        )
    return info


def read_blocks(
    path: str | Path, channel: Channel = "mean", block_seconds: float = BLOCK_SECONDS
) -> Iterator[np.ndarray]:
    """Yield a file's samples from start to end.

    Args:
        path: the audio file.
        channel: "mean" of all channels, "left" (the first), "right" (the second), or "each",
            separately; for a mono file all mean its one channel.
        block_seconds: length of a block.

    Yields:
        float32 (c, n), where c is 1 or, with "each", the file's channels. Integer formats are
        scaled to a full scale of 1.

    Raises:
        AudioError: as for :func:`probe`; a sample is NaN or infinite; the file has fewer samples
            than its header says.
        ValueError: ``channel`` is none of the above.
    """
    check_choice("channel", channel, CHANNELS)
    info = probe(path)
    length = max(1, round(block_seconds * info.rate))
    done = 0
    with open_audio(path) as file:
        while done < info.frames:
            block = take_channels(file.read(length, dtype="float32", always_2d=True).T, channel)
            if not block.shape[1]:
                raise AudioError(
                    f"{path}: truncated: only {done} of {info.frames} samples found; replace it"
                )
            _check_finite(path, block, done, info.rate)
            done += block.shape[1]
            yield block


def _check_finite(path: str | Path, block: np.ndarray, start: int, rate: int) -> None:
    """Refuse a block (c, n), from sample ``start`` of the file on, with NaN or infinite samples."""
    finite = np.isfinite(block).all(axis=0)
    if not finite.all():
        second = (start + int(np.argmin(finite))) / rate
        raise AudioError(
            f"{path}: the sample at {second:.3f} s is not a finite number; repair the file"
        )


def _check_complete(path: str | Path) -> None:
    """Refuse a path that is not a regular file, and a file shorter than its header says."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise AudioError(f"{path}: is not a file; give an audio file")
        with open(path, "rb") as file:
            header = file.read(28)
            actual = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check its name") from None
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be opened ({error.strerror}); check its name and permissions"
        ) from None
    if not actual:
        raise AudioError(f"{path}: is empty (0 bytes); replace it")
    size = declared_size(header)
    # some programs count a pad byte at the end without writing it
    if size is not None and size > actual + 1:
        raise AudioError(f"{path}: truncated: only {actual} of {size} bytes found; replace it")


def declared_size(header: bytes) -> int | None:
    """Return the file size in bytes stated in the header of a RIFF, AIFF or RF64 file, or None.

    libsndfile reads truncated files of these formats without an error.

    Args:
        header: the first 28 bytes of the file.
    """
    match header[:4]:
        case b"RIFF":
            size = int.from_bytes(header[4:8], "little")
        case b"FORM":
            size = int.from_bytes(header[4:8], "big")
        case b"RF64":
            size = int.from_bytes(header[20:28], "little")
        case _:
            return None
    # Programs that write to a pipe put 0, the largest number, or (sox, arecord) about 2 GiB here.
    is_from_pipe = size in (0, 0xFFFFFFFF) or 0x7FFFF000 <= size <= 0x80000100
    return None if is_from_pipe else size + 8


@contextmanager
def open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file; turn libsndfile's errors in the block into AudioErrors."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioError(
            f"{path}: not a readable audio file ({reason}); replace or convert it"
        ) from None
    except TypeError:  # soundfile's error for a suffix of headerless formats
        raise AudioError(f"{path}: has no header with its sample rate; convert it to wav") from None
