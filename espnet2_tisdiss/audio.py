"""Audio files of any length, rate, channel count and format, in and out, block by block.

Reading checks what it reads; writing goes to a temporary name in the same folder, which becomes
the final one when the file is whole. What cannot be done is an :class:`AudioError` of one line.
Memory is bounded by the block, whatever the length of the file.

Axis letters: c channel, j speaker, n sample. As in libsndfile, one frame is one sample of every
channel.
"""

import errno
import math
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
import soxr

from espnet2_tisdiss.checks import check_choice, check_integer
from espnet2_tisdiss.errors import TisdissError

CHANNELS = ("mean", "left", "right", "each")
CONTAINERS = ("wav", "flac")
BITS = ("16", "24", "float")
BLOCK_SECONDS = 5.0
# a header outside is broken; soxr would compute for hours
RATES = range(1000, 768_001)

# a wav header counts bytes in 32 bits; some are left to the header itself
WAV_LIMIT = 2**32 - 2**12
# libsndfile's number of frames where the header tells none
UNKNOWN_FRAMES = 2**63 - 1


class AudioError(TisdissError):
    """A file that cannot be read or written: ``path: what; what to do``, in one line."""


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
    with _reading(path) as file:
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
    with _reading(path) as file:
        while done < info.frames:
            block = take_channels(file.read(length, dtype="float32", always_2d=True).T, channel)
            if not block.shape[1]:
                raise AudioError(
                    f"{path}: truncated: {done} of {info.frames} samples are there; replace it"
                )
            _check_finite(path, block, done, info.rate)
            done += block.shape[1]
            yield block


def take_channels(block: np.ndarray, channel: str) -> np.ndarray:
    """Return the chosen channel(s) of a block (c, n), in memory of their own."""
    if channel == "mean" and len(block) > 1:
        return block.mean(axis=0, keepdims=True)
    if channel == "left":
        block = block[:1]
    elif channel == "right":
        block = block[1:2] if len(block) > 1 else block
    return np.ascontiguousarray(block)


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
def _reading(path: str | Path) -> Iterator[soundfile.SoundFile]:
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


class Resampler:
    """Change the rate of a stream of blocks, without delay and with an exact length.

    The output does not depend on how the input is cut into blocks. Equal rates pass samples
    through as they are.

    Args:
        from_rate: samples per second that go in.
        to_rate: samples per second that come out.
        rows: signals of a block, e.g. channels or speakers.
        total: samples to give in all: the end is cut or filled with silence; None:
            ceil(n * to_rate / from_rate) for n samples in, so that there and back with the
            original length as ``total`` never has to fill.

    Raises:
        ValueError: a rate or ``rows`` is no integer >= 1, ``total`` no integer >= 0.
    """

    def __init__(self, from_rate: int, to_rate: int, rows: int = 1, total: int | None = None):
        self.from_rate = check_integer("from_rate", from_rate, 1)
        self.to_rate = check_integer("to_rate", to_rate, 1)
        self.rows = check_integer("rows", rows, 1)
        self._total = total if total is None else check_integer("total", total, 0)
        self._taken = self._given = 0
        # soxr's own start and end are symmetric: it removes its filter's delay itself
        self._stream = soxr.ResampleStream(from_rate, to_rate, rows, dtype="float32", quality="HQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block (rows, n) and return the samples finished by it (rows, m), m may be 0."""
        self._taken += block.shape[1]
        return self._limit(self._convert(block), self._total)

    def finish(self) -> np.ndarray:
        """Return the rest (rows, m); nothing may be pushed after it."""
        total = self._total
        if total is None:
            total = _ceil_ratio(self._taken, self.to_rate, self.from_rate)
        # soxr rounds its length; silence behind the end brings it up to `total`
        lacking = max(0, _ceil_ratio(total, self.from_rate, self.to_rate) - self._taken)
        silence = np.zeros((self.rows, lacking), np.float32)
        return self._limit(self._convert(silence, last=True), total)

    def _convert(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        block = np.asarray(block, np.float32)
        if self.from_rate == self.to_rate:
            return block
        frames = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.ascontiguousarray(frames.T)

    def _limit(self, block: np.ndarray, total: int | None) -> np.ndarray:
        if total is not None:
            block = block[:, : total - self._given]
        self._given += block.shape[1]
        return block


def _ceil_ratio(n: int, numerator: int, denominator: int) -> int:
    return -(-n * numerator // denominator)


@dataclass(frozen=True)
class OutputFormat:
    """Format of written files.

    Args:
        container: "wav" or "flac".
        bits: "16", "24" or "float" (32 bits); flac has no float.

    Raises:
        ValueError: none of these.
        TisdissError: float samples in flac.
    """

    container: str = "wav"
    bits: str = "float"

    def __post_init__(self):
        check_choice("container", self.container, CONTAINERS)
        check_choice("bits", self.bits, BITS)
        if (self.container, self.bits) == ("flac", "float"):
            raise TisdissError("flac holds no float samples; choose 16 or 24 bits, or wav")

    @property
    def subtype(self) -> str:
        """Sample format, in libsndfile's name."""
        return "FLOAT" if self.bits == "float" else f"PCM_{self.bits}"

    @property
    def suffix(self) -> str:
        """Suffix of file names, with the dot."""
        return f".{self.container}"

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale cannot be held."""
        return self.bits != "float"

    def container_for(self, frames: int) -> str:
        """Container for that many samples, in libsndfile's name: RF64 for wav over 4 GiB."""
        size = frames * (4 if self.bits == "float" else int(self.bits) // 8)
        return "RF64" if self.container == "wav" and size > WAV_LIMIT else self.container.upper()


class AudioWriter:
    """Write a file of one channel: aside, and under its name when it is whole.

    A context manager. The file appears, or takes the place of one of that name, when the block
    ends without an exception and all ``frames`` are there; otherwise nothing is left of it.

    Args:
        path: the file; its folder is made where it lacks.
        rate: samples per second.
        frames: samples that will be written in all.
        output_format: container and sample format.

    Raises:
        AudioError: on entry, if the file cannot be made there; in the block and at its end, if the
            disk does not take it.

    Example:
        >>> with AudioWriter("out/spk1.wav", 8000, spool.frames, OutputFormat()) as writer:
        ...     for block in blocks:
        ...         writer.write(block)
    """

    def __init__(self, path: str | Path, rate: int, frames: int, output_format: OutputFormat):
        self.path = Path(path)
        self._rate, self._frames, self._format = rate, frames, output_format

    def __enter__(self) -> Self:
        with _folder_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _check_name(self.path)
            self._aside = self.path.with_name(f".aside-{uuid.uuid4().hex}")
            self._aside.touch(exist_ok=False)
        try:
            with self._disk_errors():
                self._file = soundfile.SoundFile(
                    os.fsencode(self._aside),
                    "w",
                    self._rate,
                    channels=1,
                    subtype=self._format.subtype,
                    format=self._format.container_for(self._frames),
                )
        except BaseException:
            self._aside.unlink()
            raise
        return self

    def write(self, block: np.ndarray) -> None:
        """Append samples (n,).

        Raises:
            AudioError: a sample is not finite, or beyond the full scale of an integer format; the
                disk does not take it.
        """
        peak = float(np.max(np.abs(block), initial=0.0))
        if not math.isfinite(peak):
            raise AudioError(f"{self.path}: would hold a sample that is not finite; not written")
        if self._format.clips and peak > 1:
            raise AudioError(
                f"{self.path}: would be clipped (peak {peak:.3g}); turn it down or write float"
            )
        with self._disk_errors():
            self._file.write(block)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is not None:
                with suppress(soundfile.LibsndfileError):
                    self._file.close()
                return
            with self._disk_errors():
                self._file.close()
                there = soundfile.info(os.fsencode(self._aside)).frames
            if there != self._frames:
                raise AudioError(
                    f"{self.path}: {there} of {self._frames} samples were written; not kept"
                )
            with _folder_errors(self.path.parent):
                self._aside.replace(self.path)
        finally:
            self._aside.unlink(missing_ok=True)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except soundfile.LibsndfileError as error:
            # libsndfile does not tell a full disk from other troubles
            reason = error.error_string.rstrip(".")
            raise AudioError(
                f"{self.path}: could not be written ({reason}); is the disk of "
                f"{self.path.parent} full?"
            ) from None


def _check_name(path: Path) -> None:
    """Raise OSError if a file could not get this name: too long, or a folder has it."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's errors into one line that names the folder."""
    try:
        yield
    except OSError as error:
        raise AudioError(
            f"{folder}: cannot be written to ({error.strerror}); choose another output folder"
        ) from None


class Spool:
    """Signals kept on disk as float32 until a second pass, when they do not fit in memory.

    A context manager. The file has no name (or a temporary one, where the system wants one) in a
    folder of the caller's, the one of the output, and is gone when the block ends.

    Args:
        folder: where the file lies; made where it lacks.
        rows: signals, e.g. speakers.

    Raises:
        AudioError: the folder or its disk does not take the file.

    Attributes:
        rows: signals.
        frames: samples of each signal by now.
    """

    def __init__(self, folder: str | Path, rows: int):
        self.rows = check_integer("rows", rows, 1)
        self.frames = 0
        self._folder = Path(folder)
        with _folder_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(prefix=".aside-", dir=self._folder)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # what a full disk did not take is tried once more on closing; nobody wants it now
        with suppress(OSError):
            self._file.close()

    def append(self, block: np.ndarray) -> None:
        """Append samples (rows, n)."""
        if len(block) != self.rows:
            raise ValueError(f"blocks must have {self.rows} rows; got {block.shape}")
        with _folder_errors(self._folder):
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.ascontiguousarray(block.T, np.float32).data)
            self._file.flush()
        self.frames += block.shape[1]

    def blocks(self, length: int = 2**16) -> Iterator[np.ndarray]:
        """Yield all samples from the start, in float32 blocks (rows, n) with n <= ``length``."""
        for start in range(0, self.frames, length):
            yield self._read(start, min(length, self.frames - start))

    def _read(self, start: int, length: int) -> np.ndarray:
        self._file.seek(start * self.rows * np.dtype(np.float32).itemsize)
        frames = np.fromfile(self._file, np.float32, length * self.rows)
        return np.ascontiguousarray(frames.reshape(length, self.rows).T)
