"""Reading audio files of any length, rate, channel count and format, block by block.

Memory is bounded by the block. What cannot be read is an :class:`AudioError` of one line. As in
libsndfile, one frame is one sample of every channel. Axis letters: c channel, n sample.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet2_tisdiss.audio.channels import CHANNELS, take_channels
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.errors import AudioError

BLOCK_SECONDS = 5.0
# rates outside this range mean a broken header; soxr would compute for hours
RATES = range(1000, 768_001)
# libsndfile's number of frames where the header does not state one
UNKNOWN_FRAMES = 2**63 - 1


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

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
    """Return what a file's header says, and refuse a file that cannot be read.

    A sample that is broken or missing inside is found by :func:`read_blocks` only.

    Raises:
        AudioError: no such file, no file, unreadable, empty, no audio, no samples, a rate outside
            :data:`RATES`, or shorter than the header says.
    """
    _check_whole(path)
    with open_audio(path) as file:
        info = AudioInfo(file.samplerate, file.channels, file.frames, file.subtype, file.format)
    if info.frames == 0:
        raise AudioError(f"{path}: holds no samples; leave it out")
    if info.frames == UNKNOWN_FRAMES:
        raise AudioError(f"{path}: does not say how long it is; convert it to wav")
    if info.rate not in RATES:
        raise AudioError(
            f"{path}: has a sample rate of {info.rate} Hz, not of {RATES[0]} to {RATES[-1]}; "
            "mend its header"
        )
    return info


def read_blocks(
    path: str | Path, channel: str = "mean", block_seconds: float = BLOCK_SECONDS
) -> Iterator[np.ndarray]:
    """Yield a file's samples from start to end.

    Args:
        path: the audio file.
        channel: "mean" of all channels, "left" (the first), "right" (the second), or "each" by
            itself; a file of one channel gives that one.
        block_seconds: length of a block.

    Yields:
        float32 (c, n), c = 1 or, with "each", the file's channels; full scale of integer formats
        is 1.

    Raises:
        AudioError: as :func:`probe`; a NaN or infinite sample; fewer samples than the header says.
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
                    f"{path}: truncated: {done} of {info.frames} samples are there; replace it"
                )
            _check_finite(path, block, done, info.rate)
            done += block.shape[1]
            yield block


def _check_finite(path: str | Path, block: np.ndarray, start: int, rate: int) -> None:
    finite = np.isfinite(block).all(axis=0)
    if not finite.all():
        second = (start + int(np.argmin(finite))) / rate
        raise AudioError(
            f"{path}: the sample at {second:.3f} s is not a finite number; repair the file"
        )


def _check_whole(path: str | Path) -> None:
    """Refuse what is no file, and a file that is shorter than its header says."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise AudioError(f"{path}: is not a file; give an audio file")
        with open(path, "rb") as file:
            header = file.read(28)
            there = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check its name") from None
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be opened ({error.strerror}); check its name and permissions"
        ) from None
    if not there:
        raise AudioError(f"{path}: is empty (0 bytes); replace it")
    size = declared_size(header)
    # a pad byte at the end may be counted and lacking
    if size is not None and size > there + 1:
        raise AudioError(f"{path}: truncated: {there} of {size} bytes are there; replace it")


def declared_size(header: bytes) -> int | None:
    """Return the file size in bytes that the first 28 of a RIFF, AIFF or RF64 file tell, or None.

    libsndfile reads shorter files of these formats as if they were meant to be short.
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
    # Programs that write into a pipe leave 0, the largest number, or (sox, arecord) one near 2 GiB.
    in_a_pipe = size in (0, 0xFFFFFFFF) or 0x7FFFF000 <= size <= 0x80000100
    return None if in_a_pipe else size + 8


@contextmanager
def open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file; what goes wrong with it in the block becomes an AudioError."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioError(
            f"{path}: not a readable audio file ({reason}); replace or convert it"
        ) from None
    except TypeError:  # soundfile's, of a suffix that stands for samples without a header
        raise AudioError(f"{path}: has no header that tells its rate; convert it to wav") from None
