"""Reading audio files of any length, rate, channel count and format, block by block.

Memory use is bounded by the block. A file that cannot be read raises an :class:`AudioError` with
one line. As in libsndfile, a frame is one sample of every channel. Axis letters: c channel,
n sample.

Close a generator of blocks that you leave before its end. The garbage collector also closes the
file, but drops exceptions raised in the meantime, such as KeyboardInterrupt after Ctrl-C.
"""

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from espnet2_tisdiss.audio.channels import take_channels
from espnet2_tisdiss.audio.decoders import Decoder
from espnet2_tisdiss.audio.decoding import open_decoder
from espnet2_tisdiss.audio.ffmpeg import FfmpegDecoder
from espnet2_tisdiss.audio.notices import Notice, OnNotice, left_over, missing
from espnet2_tisdiss.audio.views import View
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.choices import CHANNELS, RATES, Channel
from espnet2_tisdiss.errors import AudioError

BLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class AudioInfo:
    """Format and length of an audio file.

    Attributes:
        rate: samples per second.
        channels: number of channels.
        frames: samples of each channel, counted or as stated in the header; in formats that FFmpeg
            reads it may be wrong by some packets.
        subtype: libsndfile's name of the sample format, e.g. PCM_16 or FLOAT, or FFmpeg's.
        container: libsndfile's name of the file format, e.g. WAV or FLAC, or FFmpeg's.
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


def probe(path: str | Path, on_notice: OnNotice | None = None) -> AudioInfo:
    """Return a file's format and length, and refuse a file that cannot be read.

    Only :func:`read_blocks` finds damaged samples.

    Args:
        path: the audio file.
        on_notice: as for :func:`read_blocks`.

    Raises:
        AudioError: the file does not exist, is not a regular file, cannot be opened, is empty,
            contains no audio or no samples, has a rate outside :data:`RATES`, or, without
            ``on_notice``, is shorter than its header says.
    """
    with _opened(path) as decoder:
        pass_on(path, decoder.notices, 0, on_notice)
        frames = decoder.frames
        if frames is None:
            with closing(FfmpegDecoder(str(path), View(path))) as other:
                frames = other.measure()
        return AudioInfo(decoder.rate, decoder.channels, frames, decoder.subtype, decoder.container)


def read_blocks(
    path: str | Path,
    channel: Channel = "mean",
    block_seconds: float = BLOCK_SECONDS,
    on_notice: OnNotice | None = None,
) -> Generator[np.ndarray, None, None]:
    """Yield all samples of a file, even if its header is wrong.

    Args:
        path: the audio file.
        channel: "mean" of all channels, "left" (the first), "right" (the second), or "each",
            separately; for a mono file, each of these is its one channel.
        block_seconds: length of a block.
        on_notice: called with each difference between the file and its header; None: a file with
            missing or damaged samples is refused.

    Yields:
        float32 (c, n), where c is 1 or, with "each", the file's channels. Integer formats are
        scaled to a full scale of 1.

    Raises:
        AudioError: as for :func:`probe`; a sample is NaN or infinite.
        ValueError: ``channel`` is not one of the above.
    """
    check_choice("channel", channel, CHANNELS)
    done = 0
    with closing(decoded(path, "float32", on_notice, block_seconds)) as blocks:
        for rate, frames in blocks:
            yield checked_channels(path, frames, done, rate, channel)
            done += len(frames)


def read_samples(path: str | Path, first: int = 0, last: int | None = None) -> np.ndarray:
    """Return the samples of a file, float64 (n, c).

    Args:
        path: the audio file.
        first: the first sample.
        last: the sample after the last one; None: to the end.

    Raises:
        AudioError: as for :func:`read_blocks`, except that samples may be NaN or infinite.
    """
    blocks, start = [], 0
    with closing(decoded(path, "float64", None)) as found:
        for _, block in found:
            blocks.append(block[max(0, first - start) : None if last is None else last - start])
            start += len(block)
            if last is not None and start >= last:
                break
    return np.concatenate(blocks)


def decoded(
    path: str | Path, dtype: str, on_notice: OnNotice | None, block_seconds: float = BLOCK_SECONDS
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield the rate and the samples (n, c) of each block of a file, unchanged.

    Args:
        path: the audio file.
        dtype: of the samples, float32 or float64.
        on_notice: as for :func:`read_blocks`.
        block_seconds: length of a block.

    Raises:
        AudioError: as for :func:`read_blocks`, except that samples may be NaN or infinite.
    """
    with _opened(path) as decoder:
        passed = pass_on(path, decoder.notices, 0, on_notice)
        length, done = max(1, round(block_seconds * decoder.rate)), 0
        while len(block := decoder.read(length, dtype)):
            done += len(block)
            yield decoder.rate, block
        if not done:
            raise AudioError(f"{path}: holds no samples; remove it from the inputs")
        _compare(decoder, done)
        pass_on(path, decoder.notices, passed, on_notice)


def _compare(decoder: Decoder, done: int) -> None:
    """Note a difference between the samples found and those expected."""
    if decoder.frames is None:
        return
    found, stated = done / decoder.rate, decoder.frames / decoder.rate
    if abs(done - decoder.frames) > decoder.slack * decoder.rate:
        decoder.notices.append((missing if found < stated else left_over)(found, stated))


def pass_on(
    path: str | Path, notices: Sequence[Notice], first: int, on_notice: OnNotice | None
) -> int:
    """Pass on a file's notices from the ``first`` on, or refuse losses; return their number.

    Raises:
        AudioError: there is a loss, and ``on_notice`` is None.
    """
    for notice in notices[first:]:
        if on_notice is not None:
            on_notice(notice)
        elif notice.is_loss:
            raise AudioError(f"{path}: {notice.text}; replace it")
    return len(notices)


@contextmanager
def _opened(path: str | Path) -> Iterator[Decoder]:
    """Open an audio file and check its format."""
    with _open_file(path) as file:
        decoder = open_decoder(path, file)
    with closing(decoder):
        if decoder.frames == 0:
            raise AudioError(f"{path}: holds no samples; remove it from the inputs")
        if decoder.rate not in RATES:
            raise AudioError(
                f"{path}: has a sample rate of {decoder.rate} Hz, outside {RATES[0]} to "
                f"{RATES[-1]} Hz; repair its header"
            )
        yield decoder


def checked_channels(
    path: str | Path, frames: np.ndarray, start: int, rate: int, channel: Channel
) -> np.ndarray:
    """Return channels (c, n) of samples (n, c), which begin at sample ``start`` of a file.

    Raises:
        AudioError: one is NaN or infinite.
    """
    block = take_channels(frames.T, channel)
    finite = np.isfinite(block).all(axis=0)
    if not finite.all():
        second = (start + int(np.argmin(finite))) / rate
        raise AudioError(
            f"{path}: the sample at {second:.3f} s is not a finite number; repair the file"
        )
    return block


def _open_file(path: str | Path) -> BinaryIO:
    """Open a regular file with content, and refuse other paths."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path}: is not a file; give an audio file")
        if not status.st_size:
            raise AudioError(f"{path}: is empty (0 bytes); replace it")
        return open(path, "rb")
    except ValueError as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"{str(path)!r}: holds a NUL character; correct the name") from None
    except FileNotFoundError:
        if os.path.islink(path):
            raise AudioError(f"{path}: links to a file that is missing; leave it out") from None
        raise AudioError(f"{path}: no such file; check its name") from None
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be opened ({error.strerror}); check its name and permissions"
        ) from None
