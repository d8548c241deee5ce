"""Decoders of audio files: one with libsndfile, and one for several recordings in a file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from espnet2_tisdiss.audio.ffmpeg import FfmpegDecoder
from espnet2_tisdiss.audio.notices import Notice
from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.audio.views import View

# libsndfile's number of frames if the header does not state one
_UNKNOWN_FRAMES = 2**63 - 1
# MPEG audio within WAV: the stated length may include the encoder's delay
_MPEG_SLACK_S = 0.1


class Decoder(Protocol):
    """Samples of a file from start to end.

    Attributes:
        rate, channels, subtype, container: as in :class:`~.reading.AudioInfo`.
        frames: samples of each channel; None: unknown.
        slack: seconds by which ``frames`` may be wrong in a complete file.
        notices: differences between the file and its header that were found so far.
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
    """Decode with libsndfile, and from the first error on with FFmpeg.

    Args:
        path: the file.
        view: opens the part of it to read; None: all of it.
    """

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
        self.slack = _MPEG_SLACK_S if self.subtype.startswith("MPEG") else 0.0
        self.frames = None if self._file.frames == _UNKNOWN_FRAMES else self._file.frames
        self.notices: list[Notice] = []

    def read(self, frames: int, dtype: str = "float32") -> np.ndarray:
        """Return the next samples (n, c), n <= ``frames``; none at the end."""
        if self._other is None:
            if self._done == self.frames:  # faster than asking libsndfile
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
        # FFmpeg's notices are about the file
        self.notices = other.notices
        return other


class Chain:
    """Recordings one after the other, at the first one's rate and number of channels.

    Args:
        openers: functions that open the decoders.
        frames: total samples of each channel; None: unknown.
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
