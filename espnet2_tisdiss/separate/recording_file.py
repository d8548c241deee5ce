"""Processing of one audio file: it yields chunks, receives estimates and writes outputs.

Estimates wait in temporary files until the scale of the outputs is known.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.audio.channels import take_channels
from espnet2_tisdiss.audio.notices import Notice
from espnet2_tisdiss.audio.reading import AudioInfo
from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.audio.stretches import OpenSource
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.calibration import ExpectedQuality
from espnet2_tisdiss.separate.chunking import Chunk
from espnet2_tisdiss.separate.doubts import (
    channel_powers,
    doubt_of_channels,
    doubt_of_estimates,
)
from espnet2_tisdiss.separate.file_result import FileResult
from espnet2_tisdiss.separate.input_files import InputFile, exists, is_settled
from espnet2_tisdiss.separate.interface import Model
from espnet2_tisdiss.separate.options import FileOptions
from espnet2_tisdiss.separate.output_files import OutputFiles
from espnet2_tisdiss.separate.provenance import differences
from espnet2_tisdiss.separate.recording_channel import RecordingChannel
from espnet2_tisdiss.separate.recordings import SeparatedChunk, Track


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
        self._outputs = OutputFiles(model, item, options)
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
        self._outputs.write(self._channels, self.result)

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
        outputs = self._outputs.comments(self.result)
        if not is_settled(outputs, self._options.existing):
            return False
        if self._options.existing != "skip":
            existing = next(filter(exists, outputs))
            raise TisdissError(
                f"{existing}: exists already; --overwrite replaces it, --skip-existing leaves it, "
                "--out names another folder"
            )
        self.result.status, self.result.outputs = "skipped", list(outputs)
        if made := differences(outputs):
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

    def _cut(self, channel: RecordingChannel, chunks: Sequence[Chunk]) -> Iterator[Piece]:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():  # resampling can overflow
                raise TisdissError(
                    "the samples are too large to resample; scale the recording down"
                )
            yield Piece(self, channel.track, chunk, channel.advance(chunk))
