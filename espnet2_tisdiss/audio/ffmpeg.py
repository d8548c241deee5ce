"""Decode files that libsndfile cannot read, with FFmpeg's libraries (PyAV), block by block."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_tisdiss.audio.notices import Notice
from espnet2_tisdiss.errors import AudioError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

# containers of recordings; not those that name other files or addresses: FFmpeg would open them
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,amr,amrnb,amrwb,mp3,ogg,flac,wav,w64,aiff,au,caf,"
    "avi,flv,mpegts,mpeg,ac3,eac3,dts,dtshd,wv,ape,mpc,mpc8,tta,tak,shn,rm,voc,nistsphere,gsm,iff,"
    "latm,loas,truehd,spdif,mxf,ircam,avr,pvf,wve,xwma,dsf,oma"
)
_SCALES = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63}


class FfmpegDecoder:
    """Samples of the first audio track of a file.

    Args:
        path: the file's name, for errors.
        file: its content; closed with the decoder.
        skip: samples to drop at the start.
        total: maximum number of samples to yield; None: all.
        container: FFmpeg's name of the container; None: determined from the content.

    Raises:
        AudioError: there is no audio, it cannot be decoded, or PyAV is missing.

    Attributes:
        rate, channels, subtype, container: as in :class:`~.reading.AudioInfo`.
        frames: samples of each channel according to the header; None: not stated.
        notices: notices so far.
    """

    # seconds by which a stated length may be wrong, which is the length of packets
    slack = 0.5

    def __init__(
        self,
        path: str,
        file: io.RawIOBase,
        skip: int = 0,
        total: int | None = None,
        container: str | None = None,
    ):
        try:
            import av  # the import takes a second
        except ImportError:
            file.close()
            raise AudioError(
                f"{path}: cannot be read without PyAV: pip install av, or convert it to wav"
            ) from None
        self._path, self._file, self._skip, self._left = path, file, skip, total
        self.notices: list[Notice] = []
        try:
            self._input = av.open(
                file, format=container, options={"format_whitelist": _CONTAINERS}, mode="r"
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            file.close()
            raise AudioError(
                f"{path}: not a readable audio file ({_reason(error)}); replace or convert it"
            ) from None
        if not self._input.streams.audio:
            what = "video, but no sound" if self._input.streams.video else "no sound"
            raise AudioError(f"{path}: holds {what}; remove it from the inputs")
        self._stream = self._input.streams.audio[0]
        if len(self._input.streams.audio) > 1:
            tracks = len(self._input.streams.audio)
            self.notices.append(Notice(f"has {tracks} audio tracks; the first is read", False))
        self._damaged, self._is_cut = 0, False
        self._resampler: Any = None
        self._blocks = self._decoded()
        self._rest = next(self._blocks, None)
        if self._rest is None:
            raise AudioError(f"{path}: no sample can be decoded; replace or convert it")
        context = self._stream.codec_context
        self.subtype = context.codec.canonical_name.upper()
        self.container = self._input.format.name.split(",")[0].upper()
        self.frames = self._stated_frames() if total is None else total

    def read(self, frames: int, dtype: str = "float32") -> np.ndarray:
        """Return the next samples (n, c), n <= ``frames``; none at the end."""
        parts: list[np.ndarray] = []
        wanted = frames if self._left is None else min(frames, self._left)
        while wanted > 0 and self._rest is not None:
            part, self._rest = self._rest[:wanted], self._rest[wanted:]
            parts.append(part)
            wanted -= len(part)
            if not len(self._rest):
                self._rest = next(self._blocks, None)
        block = np.concatenate(parts) if parts else np.empty((0, self.channels))
        if self._left is not None:
            self._left -= len(block)
        return np.ascontiguousarray(block, dtype)

    def close(self) -> None:
        """Close the file."""
        self._input.close()
        self._file.close()

    def measure(self) -> int:
        """Return the samples of each channel by the time stamps, without decoding; then close."""
        end = 0.0
        for packet in self._packets():
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        return round(end * self.rate)

    def _stated_frames(self) -> int | None:
        if self._stream.duration and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * self.rate)
        # the container's time may be that of the video
        if self._input.duration and not self._input.streams.video:
            return round(self._input.duration * self.rate / 1_000_000)
        return None

    def _decoded(self) -> Iterator[np.ndarray]:
        """Yield the decoded samples (n, c); n > 0."""
        import av

        for packet in self._packets():
            self._is_cut = packet.is_corrupt
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError):  # ValueError: the codec is unknown
                self._damaged += 1
                continue
            for frame in decoded:
                for same in self._uniform(frame):
                    block = self._skipped(_samples(same))
                    if len(block):
                        yield block
        if self._is_cut:
            self.notices.append(Notice("truncated: ends within a packet", True))
        elif self._damaged:
            plural = "s" * (self._damaged > 1)
            text = f"left out {self._damaged} damaged packet{plural}"
            self.notices.append(Notice(text, is_loss=True))

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of the track up to the end, or up to data that is no packet."""
        import av

        try:
            yield from self._input.demux(self._stream)
        except av.FFmpegError:
            self.notices.append(Notice("what follows is damaged and was not read", is_loss=True))

    def _uniform(self, frame: "AudioFrame") -> list["AudioFrame"]:
        """Return a frame at the first one's rate and channels, because some streams change them."""
        form = (frame.sample_rate, frame.layout.nb_channels)
        if not hasattr(self, "rate"):
            self.rate, self.channels = form
            self._layout = frame.layout.name
        if form == (self.rate, self.channels) and self._resampler is None:
            return [frame]
        if self._resampler is None:
            from av.audio.resampler import AudioResampler

            self._resampler = AudioResampler("fltp", self._layout, self.rate)
        frame.pts = None
        return self._resampler.resample(frame)

    def _skipped(self, block: np.ndarray) -> np.ndarray:
        dropped = min(self._skip, len(block))
        self._skip -= dropped
        return block[dropped:]


def _samples(frame: "AudioFrame") -> np.ndarray:
    """Return a frame's samples (n, c); integer formats are scaled to a full scale of 1."""
    kind = frame.format.name.removesuffix("p")
    samples = frame.to_ndarray()
    planar = samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T
    if kind == "u8":
        return (planar.T.astype(np.float64) - 128) * _SCALES[kind]
    return planar.T * _SCALES[kind] if kind in _SCALES else planar.T


def _reason(error: Exception) -> str:
    import av

    if isinstance(error, av.InvalidDataError):
        return "its format is unknown, or its index is missing, as after a crash"
    return getattr(error, "strerror", None) or str(error)
