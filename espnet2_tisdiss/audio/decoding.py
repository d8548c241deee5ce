"""Open an audio file with the decoder that reads all of it, whatever its header states.

libsndfile reads most formats, FFmpeg the others and damaged files. The header is compared with the
file first: containers, Ogg streams and MPEG frames each have a module.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from espnet2_tisdiss.audio import flac, mpeg, ogg
from espnet2_tisdiss.audio.containers import Finding, compare, stated_file_size
from espnet2_tisdiss.audio.ffmpeg import FfmpegDecoder
from espnet2_tisdiss.audio.notices import Notice, left_over, missing
from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.audio.views import View
from espnet2_tisdiss.errors import AudioError

# libsndfile reads files of these names as MPEG audio if nothing else fits, and prints complaints
_MPEG_SUFFIXES = (".mp3", ".mp2", ".mp1", ".mpga", ".m2a")
# libsndfile's number of frames if the header does not state one
_UNKNOWN_FRAMES = 2**63 - 1


class Decoder(Protocol):
    """Samples of a file from start to end.

    Attributes:
        rate, channels, subtype, container: as in :class:`~.reading.AudioInfo`.
        frames: samples of each channel; None: unknown.
        slack: seconds by which ``frames`` may be off in a file that is complete.
        notices: differences between the file and its header that were noticed so far.
    """

    rate: int
    channels: int
    frames: int | None
    subtype: str
    container: str
    slack: float
    notices: list[Notice]

    def read(self, frames: int, dtype: str) -> np.ndarray:
        """Return the next samples (n, c), n <= ``frames``; none at the end."""

    def close(self) -> None:
        """Close the file."""


class SndfileDecoder:
    """Decode with libsndfile; with FFmpeg from the first error on.

    Args:
        path: the file.
        view: opens what to read of it; None: all.
    """

    slack = 0.0

    def __init__(self, path: str | Path, view: Callable[[], View] | None = None):
        self._path, self._open_view, self._done = path, view, 0
        self._view = None if view is None else view()
        try:
            self._file = soundfile.SoundFile(self._view or os.fsencode(path))
        except BaseException:
            if self._view is not None:
                self._view.close()
            raise
        self._other: FfmpegDecoder | None = None
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self.subtype, self.container = self._file.subtype, self._file.format
        self.frames = None if self._file.frames == _UNKNOWN_FRAMES else self._file.frames
        self.notices: list[Notice] = []

    def read(self, frames: int, dtype: str = "float32") -> np.ndarray:
        """Return the next samples (n, c), n <= ``frames``; none at the end."""
        if self._other is None:
            if self._done == self.frames:  # quicker than libsndfile's answer
                return np.empty((0, self.channels), dtype)
            try:
                block = self._file.read(frames, dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError:
                self._other = self._continued()
            else:
                self._done += len(block)
                return block
        return self._other.read(frames, dtype)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._view is not None:
            self._view.close()
        if self._other is not None:
            self._other.close()

    def _continued(self) -> FfmpegDecoder:
        """Continue with FFmpeg, which finds the next undamaged samples."""
        view = View(self._path) if self._open_view is None else self._open_view()
        other = FfmpegDecoder(str(self._path), view, skip=self._done)
        other.frames = self.frames
        # FFmpeg's notices are those of the file
        self.notices = other.notices
        return other


class Chain:
    """Recordings one after the other, at the first one's rate and number of channels.

    Args:
        openers: functions that open the decoders.
        frames: samples of each channel of all, where this is known; None: unknown.
    """

    def __init__(self, openers: Sequence[Callable[[], Decoder]], frames: int | None):
        self._openers = list(openers[1:])
        self._decoder = first = openers[0]()
        self.rate, self.channels, self.frames = first.rate, first.channels, frames
        self.subtype, self.container = first.subtype, first.container
        self.slack = first.slack * len(openers)
        self.notices = list(first.notices)
        if self._openers:
            text = f"holds {len(openers)} recordings, which are read one after the other"
            self.notices.append(Notice(text, is_loss=False))
        self._resampler: Resampler | None = None

    def read(self, frames: int, dtype: str = "float32") -> np.ndarray:
        """Return the next samples (n, c); none at the end."""
        while True:
            block = self._decoder.read(frames, dtype)
            if len(block):
                alike = self._alike(block)
                if len(alike):
                    return alike
                continue
            self._note()
            rest = self._finished(dtype)
            if self._openers:
                self._decoder.close()
                self._decoder = self._openers.pop(0)()
                if self._decoder.rate != self.rate:
                    self._resampler = Resampler(self._decoder.rate, self.rate, self.channels)
            elif not len(rest):
                return rest
            if len(rest):
                return rest

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def _note(self) -> None:
        self.notices += [one for one in self._decoder.notices if one not in self.notices]

    def _alike(self, block: np.ndarray) -> np.ndarray:
        if block.shape[1] != self.channels:
            if block.shape[1] > 1:
                block = block.mean(axis=1, keepdims=True)
            block = block.repeat(self.channels, axis=1)
        if self._resampler is not None:
            return self._resampler.push(block.T).T
        return block

    def _finished(self, dtype: str) -> np.ndarray:
        """Return the samples that the resampler still holds."""
        resampler, self._resampler = self._resampler, None
        if resampler is None:
            return np.empty((0, self.channels), dtype)
        return resampler.finish().T.astype(dtype)


def open_decoder(path: str | Path, file: BinaryIO) -> Decoder:
    """Open an audio file.

    Args:
        path: the file.
        file: the same file, opened to look at its content, which is not empty.

    Raises:
        AudioError: it is not audio, or cannot be decoded.
    """
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if data[:4] == b"OggS":
            return _open_ogg(path, ogg.links(data))
        # MPEG frames begin with 11 bits that are set
        is_mpeg = data[0] == 0xFF and data[1:2] >= b"\xe0"
        is_named = Path(path).suffix.lower() in _MPEG_SUFFIXES
        if is_mpeg or is_named or data[:3] == b"ID3":
            parts = mpeg.parts(data, may_begin_late=not is_mpeg)
            if parts:
                return _open_mpeg(path, parts)
            if is_mpeg:  # such as AAC, to which libsndfile prints complaints
                return FfmpegDecoder(str(path), View(path))
        if data[:4] == b"fLaC":
            return _open_flac(path, flac.parts(data))
        finding, actual = compare(data), len(data)
        size = stated_file_size(data) if finding is None else None
    if finding is not None and finding.stop is not None:
        decoder = _open_any(path, _view(path, 0, finding.stop, finding.replaced))
        decoder.notices.append(_difference(finding, decoder))
        return decoder
    cut = None if size is None or size <= actual + 1 else _bytes(actual, size)
    try:
        # libsndfile looks at the suffix of a path only
        decoder = _open_any(path, _view(path, 0, actual) if is_named else None)
    except AudioError:
        if cut:
            raise AudioError(f"{path}: {cut}; replace it") from None
        raise
    if cut:
        decoder.notices.append(Notice(cut, is_loss=True))
    return decoder


def _bytes(found: int, stated: int) -> str:
    return f"truncated: only {found} of {stated} bytes found"


def _view(
    path: str | Path, start: int, stop: int, replaced: Mapping[int, bytes] | None = None
) -> Callable[[], View]:
    return lambda: View(path, start, stop, replaced)


def _open_any(path: str | Path, view: Callable[[], View] | None = None) -> Decoder:
    """Open a file with libsndfile, or with FFmpeg if that cannot."""
    try:
        return SndfileDecoder(path, view)
    except soundfile.LibsndfileError:
        return FfmpegDecoder(str(path), View(path) if view is None else view())
    except TypeError:  # soundfile's error for a suffix of headerless formats
        raise AudioError(f"{path}: has no header with its sample rate; convert it to wav") from None


def _difference(finding: Finding, decoder: Decoder) -> Notice:
    """Return the notice of a file whose header is wrong about its content."""
    seconds = (decoder.frames or 0) / decoder.rate
    if not finding.stated:
        text = f"the header does not state the length; all {seconds:.3f} s were read"
        return Notice(text, is_loss=False)
    stated = seconds * finding.stated / max(1, finding.found)
    if stated <= seconds:
        return left_over(seconds, stated)
    if not finding.start:
        return missing(seconds, stated)
    text = _bytes(finding.start + finding.found, finding.start + finding.stated)
    return Notice(f"{text}, {seconds:.3f} of {stated:.3f} s", is_loss=True)


def _open_ogg(path: str | Path, links: list[ogg.Link]) -> Decoder:
    decoder = _open_any(path)
    if len(links) > 1 and isinstance(decoder, SndfileDecoder):
        decoder.close()
        views = [_view(path, link.start, link.stop) for link in links]
        decoder = _chain(path, views)
    if any(link.ends_inside for link in links):
        decoder.notices.append(Notice("truncated: pages are missing or incomplete", is_loss=True))
    elif not all(link.has_end for link in links):
        decoder.notices.append(Notice("has no end mark; it may be truncated", is_loss=False))
    return decoder


def _chain(path: str | Path, views: list[Callable[[], View]]) -> Chain:
    """Open joined files that libsndfile reads."""
    openers = [partial(SndfileDecoder, path, view) for view in views]
    total, rate = 0.0, 0
    for opener in openers:
        decoder = opener()
        decoder.close()
        if decoder.frames is None:
            return Chain(openers, None)
        rate = rate or decoder.rate
        total += decoder.frames * rate / decoder.rate
    return Chain(openers, round(total))


def _open_flac(path: str | Path, parts: list[flac.Part]) -> Decoder:
    if len(parts) == 1 and parts[0].found in (parts[0].stated, None):
        return _open_any(path)
    if not any(part.found is None or part.found for part in parts):
        raise AudioError(f"{path}: truncated: holds no complete frame; replace it")
    views = [_view(path, part.start, part.stop, part.corrected()) for part in parts]
    decoder = _open_any(path, views[0]) if len(parts) == 1 else _chain(path, views)
    decoder.notices += [
        _difference(Finding(part.stated or None, part.found), decoder)
        for part in parts
        if part.found is not None and part.found != part.stated
    ]
    return decoder


def _open_mpeg(path: str | Path, parts: list[mpeg.Part]) -> Decoder:
    def opener(part: mpeg.Part) -> Callable[[], Decoder]:
        return lambda: FfmpegDecoder(
            str(path), View(path, part.start, part.stop), part.delay, part.frames, "mp3"
        )

    openers = [opener(part) for part in parts]
    rate = parts[0].rate
    decoder = Chain(openers, round(sum(part.frames * rate / part.rate for part in parts)))
    decoder.notices += [notice for part in parts if (notice := _mpeg_notice(part))]
    return decoder


def _mpeg_notice(part: mpeg.Part) -> Notice | None:
    """Return the notice of MPEG frames whose number is not the one stated."""
    if part.stated is not None and abs(part.stated - part.samples) > part.step:
        difference = missing if part.is_short else left_over
        silence = part.samples - part.frames
        return difference(part.frames / part.rate, max(0, part.stated - silence) / part.rate)
    return Notice("truncated: ends within a frame", is_loss=True) if part.ends_inside else None
