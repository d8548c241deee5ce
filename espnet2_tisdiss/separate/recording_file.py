"""Processing of one audio file: it yields chunks, receives estimates and writes outputs.

Estimates wait in temporary files until the scale of the outputs is known. Axis letters: j speaker,
n sample.
"""

import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.channels import take_channels
from espnet2_tisdiss.audio.notices import Notice
from espnet2_tisdiss.audio.reading import AudioInfo
from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.audio.stretches import OpenSource
from espnet2_tisdiss.audio.writing import AudioWriter
from espnet2_tisdiss.choices import FileStatus
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import Source
from espnet2_tisdiss.separate.calibration import ExpectedQuality
from espnet2_tisdiss.separate.chunking import Chunk
from espnet2_tisdiss.separate.doubts import (
    channel_powers,
    doubt_of_channels,
    doubt_of_estimates,
)
from espnet2_tisdiss.separate.input_files import InputFile, exists, is_settled, output_paths
from espnet2_tisdiss.separate.interface import Model
from espnet2_tisdiss.separate.loudness import Scaling, headroom_gain
from espnet2_tisdiss.separate.options import FileOptions
from espnet2_tisdiss.separate.provenance import comment_of, differences
from espnet2_tisdiss.separate.recording_channel import RecordingChannel
from espnet2_tisdiss.separate.recordings import SeparatedChunk, Track


@dataclass
class FileResult:
    """The result of an input file.

    Attributes:
        source: the recording.
        status: "done", "skipped" (its outputs existed) or "failed".
        reason: why it failed, in one line.
        outputs: the separated files.
        seconds: length of the recording.
        rate: its sample rate in Hz.
        out_rate: sample rate of the outputs.
        notices: phrases about what is unusual in the recording.
        channels: number of its channels.
        separated_channels: number of separated channels; 1 for one channel or the mean.
        n_re: number of repetitions of each of its chunks.
        gain: factor, at most 1, with which the outputs fit an integer format.
        peak: largest absolute sample before this gain.
        expected_si_snr: predicted SI-SNR of the deepest estimates in dB, the mean over speakers,
            chunks and channels; None if the model is not calibrated.
    """

    source: Path | Source
    status: FileStatus
    reason: str = ""
    outputs: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    rate: int = 0
    out_rate: int = 0
    notices: list[str] = field(default_factory=list)
    channels: int = 1
    separated_channels: int = 1
    n_re: list[int] = field(default_factory=list)
    gain: float = 1.0
    peak: float = 0.0
    expected_si_snr: float | None = None


@dataclass(frozen=True)
class Piece:
    """A chunk of a recording.

    Attributes:
        recording: the recording.
        track: the channel that the chunk is from.
        chunk: the chunk.
        seconds: the time that it adds to the previous chunks.
    """

    recording: "RecordingFile"
    track: Track
    chunk: Chunk
    seconds: float


class RecordingFile:
    """A file in progress.

    Args:
        model: the model.
        item: the file.
        options: options of the separation, with the depths for this model.

    Attributes:
        result: the result so far.
    """

    def __init__(self, model: Model, item: InputFile, options: FileOptions):
        self._model, self._item, self._options = model, item, options
        self.result = FileResult(item.source, "done")
        self._stack = ExitStack()
        self._channels: list[RecordingChannel] = []
        self._audio: OpenSource | None = None
        self._reported = 0.0
        self._expected = ExpectedQuality(model.calibration)

    def pieces(self, reader: SourceReader) -> Generator[Piece, None, None]:
        """Yield the chunks of all channels; none if the file is skipped.

        Args:
            reader: opens the file.

        Raises:
            TisdissError: the file cannot be read, or its outputs cannot be written.
        """
        if self._item.refusal:
            raise TisdissError(self._item.refusal)
        audio = self._audio = reader.open(self._item.path, self._note, self._item.folder)
        self._describe(audio.info)
        if self._is_settled():
            return
        for _ in range(self.result.separated_channels):
            channel = RecordingChannel(self._model, self._item.folder, audio.info, self._options)
            self._channels.append(channel)
            self._stack.enter_context(channel.spool)
        frames, choice = 0, self._options.channel
        powers = None
        if audio.info.channels > 1 and choice in ("mean", "each"):
            powers = channel_powers(self.result.rate)
        with closing(audio.blocks("each" if powers else choice, self._note)) as blocks:
            for block in blocks:
                frames += block.shape[1]
                if powers is not None:
                    powers.push(block)
                    block = take_channels(block, choice)
                for channel, samples in zip(self._channels, block, strict=True):
                    yield from self._cut(channel, channel.track.read(samples))
                if self.result.status == "failed":
                    return
        self.result.seconds = frames / self.result.rate
        if powers is not None and (doubt := doubt_of_channels(powers, choice)):
            self.result.notices.append(doubt)
        for channel in self._channels:
            yield from self._cut(channel, channel.track.end())

    def join(self, piece: Piece, separated: SeparatedChunk) -> None:
        """Join the estimates of a chunk."""
        if self.result.status == "failed":
            return
        if not all(np.isfinite(estimate).all() for estimate in separated.estimates):
            raise TisdissError("the model's estimate is not finite; is the recording far too loud?")
        piece.track.join(piece.chunk, separated.estimates)
        self._expected.add(separated.expected, len(piece.chunk.samples))
        self.result.n_re.append(separated.n_re)

    def advance(self, seconds: float) -> float:
        """Return the part of ``seconds`` to report, capped at what remains of the recording."""
        total = self.result.seconds * self.result.separated_channels
        reported = max(0.0, min(seconds, total - self._reported))
        self._reported += reported
        return reported

    def write(self) -> None:
        """Write the outputs after all chunks are joined."""
        if self.result.status != "done":
            return
        for channel in self._channels:
            channel.track.close()
        self._doubt()
        takes = list(self._takes())
        # the peak of the scaled samples is known only after one pass over them
        self.result.peak = max(
            float(np.abs(block).max()) for _, _, scaled in takes for block in scaled()
        )
        if self._options.output.clips:
            self.result.gain = headroom_gain(self.result.peak)
        for paths, comment, scaled in takes:
            blocks = (self.result.gain * block for block in scaled())
            self._write_speakers(paths, comment, blocks)

    def close(self) -> None:
        """Delete the spools."""
        self._stack.close()

    def fail(self, reason: str) -> None:
        """Mark this file as failed; reading and writing stop."""
        source = f"{self._item.source}: "
        reason = reason.removeprefix(f"{self._item.path}: ")
        if self._audio is not None:  # the path may be that of a temporary file
            reason = reason.removeprefix(f"{self._audio.path}: ")
        self.result.status = "failed"
        self.result.reason = reason if reason.startswith(source) else source + reason

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Turn an error in the block into the failure of this file only."""
        try:
            yield
        except TisdissError as error:
            self.fail(str(error))
        except MemoryError:
            self.fail("out of memory; shorter chunks need less")

    def _describe(self, info: AudioInfo) -> None:
        """Enter a file's length, rate and channels into its result."""
        result, options = self.result, self._options
        result.seconds, result.rate = info.duration, info.rate
        result.out_rate = options.out_rate(info.rate, self._model.sample_rate)
        result.channels = info.channels
        result.separated_channels = info.channels if options.channel == "each" else 1

    def _is_settled(self) -> bool:
        """Return whether the file is skipped because its outputs exist.

        Raises:
            TisdissError: some exist and must not be replaced.
        """
        channels = range(self.result.separated_channels)
        paths = [path for channel in channels for path in self._paths(channel)]
        if not is_settled(paths, self._options.existing):
            return False
        if self._options.existing != "skip":
            existing = next(filter(exists, paths))
            raise TisdissError(
                f"{existing}: exists already; --overwrite replaces it, --skip-existing leaves it, "
                "--out names another folder"
            )
        self.result.status, self.result.outputs = "skipped", paths
        comments = itertools.cycle(self._comments())
        if made := differences(dict(zip(paths, comments, strict=False))):
            self.result.notices.append(f"made {made}; --overwrite makes it again")
        return True

    def _note(self, notice: Notice) -> None:
        if notice.text not in self.result.notices:
            self.result.notices.append(notice.text)

    def _doubt(self) -> None:
        """Note the deepest estimates' expected SI-SNR, and signs that they are not two voices."""
        self.result.expected_si_snr = self._expected.si_snr
        doubts = [doubt_of_estimates(one.statistics[-1], one.powers) for one in self._channels]
        for number, doubt in enumerate(doubts, start=1):
            if doubt:
                place = f"channel {number}: " if len(doubts) > 1 else ""
                self.result.notices.append(place + doubt)
        if not any(doubts) and self._expected.doubt:
            self.result.notices.append(self._expected.doubt)

    def _comments(self) -> list[str]:
        """Return the comments of a channel's files, in the order of their paths."""
        return [
            comment_of(self._model, self._options, n_re, self.result.channels)
            for n_re in self._options.depths
            for _ in range(self._model.num_spk)
        ]

    def _paths(self, channel: int) -> list[Path]:
        """Return the files of a channel (from 0), speaker by speaker, depth by depth."""
        return output_paths(self._item, self._options, channel + 1, self._model.num_spk)

    def _cut(self, channel: RecordingChannel, chunks: Sequence[Chunk]) -> Iterator[Piece]:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():  # resampling can overflow
                raise TisdissError(
                    "the samples are too large to resample; scale the recording down"
                )
            yield Piece(self, channel.track, chunk, channel.advance(chunk))

    def _takes(
        self,
    ) -> Iterator[tuple[tuple[Path, ...], str, Callable[[], Iterator[np.ndarray]]]]:
        """Yield the speakers' files, their comment and a function that yields blocks (j, n)."""
        depths, num_spk = range(len(self._options.depths)), self._model.num_spk
        scalings = [
            Scaling.of(self._options.scale, [one.statistics[depth] for one in self._channels])
            for depth in depths
        ]
        comments = self._comments()[::num_spk]
        for number, channel in enumerate(self._channels):
            paths = itertools.batched(self._paths(number), num_spk)
            for depth, speakers in zip(depths, paths, strict=True):
                scaled = functools.partial(channel.scaled, depth, scalings[depth][number])
                yield speakers, comments[depth], scaled

    def _write_speakers(
        self, paths: Sequence[Path], comment: str, blocks: Iterable[np.ndarray]
    ) -> None:
        """Write each row of the blocks (j, n) to its file, which gets the comment."""
        with ExitStack() as stack:
            rate, output = self.result.out_rate, self._options.output
            frames = self._channels[0].spool.frames
            writers = [
                stack.enter_context(AudioWriter(path, rate, frames, output, comment))
                for path in paths
            ]
            for block in blocks:
                for writer, samples in zip(writers, block, strict=True):
                    writer.write(samples)
        self.result.outputs += paths
