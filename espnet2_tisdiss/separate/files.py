"""Separating lists of audio files of any length: read, separate, scale, write.

An error in one file ends that file alone and becomes its reason. Outputs have temporary names until
they are complete. Axis letters: j speaker, n sample.
"""

import functools
import itertools
import logging
import math
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.channels import take_channels
from espnet2_tisdiss.audio.notices import Notice
from espnet2_tisdiss.audio.reading import AudioInfo
from espnet2_tisdiss.audio.sources import OpenSource, SourceReader
from espnet2_tisdiss.audio.spool import Spool
from espnet2_tisdiss.audio.writing import AudioWriter
from espnet2_tisdiss.choices import Channel, Existing
from espnet2_tisdiss.errors import AudioError, TisdissError, first_line
from espnet2_tisdiss.lists import Source
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.chunking import Chunk
from espnet2_tisdiss.separate.doubts import (
    channel_powers,
    doubt_of_channels,
    doubt_of_estimates,
    estimate_powers,
)
from espnet2_tisdiss.separate.loudness import ScaleStatistics, Scaling, headroom_gain
from espnet2_tisdiss.separate.options import FileOptions
from espnet2_tisdiss.separate.protocol import Model
from espnet2_tisdiss.separate.provenance import comment_of, differences
from espnet2_tisdiss.separate.recordings import Track, separate_chunks


@dataclass(frozen=True)
class InputFile:
    """One file to separate.

    Attributes:
        source: the recording: a file, or an entry of a list that is something else.
        folder: where the separated files go.
        name: value of ``{name}`` in the pattern of the file names.
        refusal: why it is not separated; empty if it is.
        copy: a file with the content of a source that can be read only once.
    """

    source: Path | Source
    folder: Path
    name: str
    refusal: str = ""
    copy: Path | None = None

    @property
    def path(self) -> Path | Source:
        """The file to read, or the entry of a list."""
        return self.copy or self.source

    @property
    def ext(self) -> str:
        """Value of ``{ext}``: the suffix of the file without its dot."""
        return self.source.suffix[1:] if isinstance(self.source, Path) else ""


def name_of(path: Path) -> str:
    """Return the value of ``{name}`` for a file: without suffix, unless only dots are left."""
    return path.stem if path.stem.strip(".") else path.name


def output_paths(item: InputFile, options: FileOptions, channel: int, num_spk: int) -> list[Path]:
    """Return the files of a channel (from 1), speaker by speaker, depth by depth."""
    return [
        item.folder / (name + options.output.suffix)
        for n_re in options.depths
        for speaker in range(1, num_spk + 1)
        for name in [
            options.file_names.format(
                name=item.name, ext=item.ext, n_re=n_re, channel=channel, speaker=speaker
            )
        ]
    ]


def is_settled(paths: Iterable[Path], existing: Existing) -> bool:
    """Return whether the outputs that exist leave nothing to do.

    Raises:
        TisdissError: one of the paths cannot be written.
    """
    exist = [_exists(path) for path in paths]
    return existing != "overwrite" and (all if existing == "skip" else any)(exist)


def durations_of(inputs: Iterable[InputFile], channel: Channel) -> dict[InputFile, list[float]]:
    """Return, for each file, the seconds of each channel to separate.

    Unreadable files get an empty list; their error is reported when they are separated.
    """
    durations: dict[InputFile, list[float]] = {}
    with SourceReader() as reader:
        for item in inputs:
            durations[item] = []
            with suppress(AudioError):
                # notices are reported with the file
                info = reader.open(item.path, on_notice=lambda notice: None).info
                durations[item] = [info.duration] * (info.channels if channel == "each" else 1)
    return durations


def to_separate(
    durations: Mapping[InputFile, list[float]], options: FileOptions, num_spk: int
) -> list[list[float]]:
    """Return the seconds of each channel of the files that are not settled."""
    work = []
    for item, channels in durations.items():
        numbers = range(1, len(channels) + 1)
        paths = [path for n in numbers for path in output_paths(item, options, n, num_spk)]
        with suppress(TisdissError):  # reported when the file is separated
            if not item.refusal and not is_settled(paths, options.existing):
                work.append(channels)
    return work


@dataclass
class FileResult:
    """What became of an input file.

    Attributes:
        source: the recording.
        status: "done", "skipped" (its outputs existed) or "failed".
        reason: why it failed, in one line.
        outputs: the separated files.
        seconds: length of the recording.
        rate: its sample rate in Hz.
        out_rate: sample rate of the outputs.
        notices: what was unusual about the recording, in phrases.
        channels: its channels.
        separated_channels: number of channels separated; 1: one channel or their mean.
        n_re: repetitions of each of its chunks.
        gain: factor, at most 1, that made the outputs fit an integer format.
        peak: largest absolute sample before that.
    """

    source: Path | Source
    status: str
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


def separate_files(
    model: Model,
    inputs: Sequence[InputFile],
    options: FileOptions,
    budget: TimeBudget | None = None,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[FileResult]:
    """Separate files, one after the other; chunks of several may share a batch.

    Args:
        model: the model.
        inputs: the files.
        options: how, with the depths for this model.
        budget: the time that limits the depth, if any.
        on_progress: called with the seconds of audio finished since the last call, including
            skipped and failed files.

    Yields:
        A result for each file, in the order in which they finish.
    """
    recordings: list[_Recording] = []  # open ones; several when they share a batch
    try:
        pieces = _pieces(model, inputs, options, recordings)
        for batch in _batches(pieces, options.batch_size):
            work = [piece for piece in batch if piece.chunk is not None]
            for piece, estimates, n_re in _separated(model, work, options, budget):
                with piece.recording.failing_alone():
                    piece.recording.join(piece, estimates, n_re)
                    on_progress(piece.recording.advance(piece.seconds))
            for piece in batch:
                if piece.chunk is None:
                    with piece.recording.failing_alone():
                        piece.recording.write()
                    recordings.remove(piece.recording)
                    piece.recording.close()
                    on_progress(piece.recording.advance(math.inf))
                    yield piece.recording.result
    finally:
        for recording in recordings:
            recording.close()


@dataclass(frozen=True)
class _Piece:
    """A chunk of a recording; without a chunk, the end of the recording."""

    recording: "_Recording"
    track: Track | None = None
    chunk: Chunk | None = None
    seconds: float = 0.0


def _pieces(
    model: Model,
    inputs: Sequence[InputFile],
    options: FileOptions,
    recordings: list["_Recording"],
) -> Iterator[_Piece]:
    """Yield the chunks and the end of every file; a file that fails yields its end next."""
    with SourceReader() as reader:
        for item in inputs:
            recording = _Recording(model, item, options)
            recordings.append(recording)
            with recording.failing_alone():
                if recording.open(reader):
                    yield from recording.read()
            yield _Piece(recording)


def _batches(pieces: Iterable[_Piece], size: int) -> Iterator[list[_Piece]]:
    """Yield lists of pieces with ``size`` chunks; an end waits only for chunks before it."""
    batch: list[_Piece] = []
    chunks = 0
    for piece in pieces:
        batch.append(piece)
        chunks += piece.chunk is not None
        if chunks in (0, size):
            yield batch
            batch, chunks = [], 0
    if batch:
        yield batch


def _separated(
    model: Model, work: Sequence[_Piece], options: FileOptions, budget: TimeBudget | None
) -> Iterator[tuple[_Piece, list[np.ndarray], int]]:
    """Yield each piece with its estimates (j, n), one per depth, and its repetitions."""
    if not work:
        return
    try:
        waves = [piece.chunk.samples for piece in work]
        takes, n_used = separate_chunks(model, waves, options, budget)
    except (RuntimeError, MemoryError) as error:  # PyTorch's are mostly out of memory
        logging.debug("separation failed", exc_info=True)
        reason = first_line(error)
        for piece in work:
            piece.recording.fail(
                f"could not be separated ({reason}); shorter chunks need less memory"
            )
        return
    yield from zip(work, takes, n_used, strict=True)


class _Recording:
    """A file in progress."""

    def __init__(self, model: Model, item: InputFile, options: FileOptions):
        self._model, self._item, self._options = model, item, options
        self.result = FileResult(item.source, "done")
        self._stack = ExitStack()
        self._channels: list[_Channel] = []
        self._audio: OpenSource | None = None
        self._reported = 0.0

    def open(self, reader: SourceReader) -> bool:
        """Check the file and open its spools; return whether there is work to do."""
        if self._item.refusal:
            raise TisdissError(self._item.refusal)
        self._audio = reader.open(self._item.path, self._note, self._item.folder)
        info = self._audio.info
        result, options = self.result, self._options
        result.seconds, result.rate = info.duration, info.rate
        result.out_rate = options.out_rate(info.rate, self._model.sample_rate)
        result.channels = info.channels
        result.separated_channels = info.channels if options.channel == "each" else 1
        channels = range(result.separated_channels)
        paths = [path for channel in channels for path in self._paths(channel)]
        if is_settled(paths, options.existing):
            if options.existing == "skip":
                result.status, result.outputs = "skipped", paths
                comments = itertools.cycle(self._comments())
                if made := differences(dict(zip(paths, comments, strict=False))):
                    result.notices.append(f"made {made}; --overwrite makes it anew")
                return False
            existing = next(filter(_exists, paths))
            raise TisdissError(
                f"{existing}: exists already; --overwrite replaces it, --skip-existing leaves it, "
                "--out names another folder"
            )
        for _ in channels:
            channel = _Channel(self._model, self._item.folder, info, options)
            self._channels.append(channel)
            self._stack.enter_context(channel.spool)
        return True

    def read(self) -> Iterator[_Piece]:
        """Yield the chunks of all channels."""
        frames, choice = 0, self._options.channel
        powers = None
        if self._audio.info.channels > 1 and choice in ("mean", "each"):
            powers = channel_powers(self.result.rate)
        for block in self._audio.blocks("each" if powers else choice, self._note):
            frames += block.shape[1]
            if powers is not None:
                powers.push(block)
                block = take_channels(block, choice)
            for channel, samples in zip(self._channels, block, strict=True):
                yield from self._piece(channel, channel.track.read(samples))
            if self.result.status == "failed":
                return
        self.result.seconds = frames / self.result.rate
        if powers is not None and (doubt := doubt_of_channels(powers)):
            self.result.notices.append(doubt)
        for channel in self._channels:
            yield from self._piece(channel, channel.track.end())

    def join(self, piece: _Piece, estimates: list[np.ndarray], n_re: int) -> None:
        """Join the estimates of a chunk."""
        if self.result.status == "failed":
            return
        if not all(np.isfinite(estimate).all() for estimate in estimates):
            raise TisdissError("the model's estimate is not finite; is the recording far too loud?")
        piece.track.join(piece.chunk, estimates)
        self.result.n_re.append(n_re)

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
        # the peak of the scaled samples is known only after a pass over them
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
        """Mark this file as failed; no more of it is read or written."""
        source = f"{self._item.source}: "
        reason = reason.removeprefix(f"{self._item.path}: ")
        if self._audio is not None:  # perhaps a temporary file
            reason = reason.removeprefix(f"{self._audio.path}: ")
        self.result.status = "failed"
        self.result.reason = reason if reason.startswith(source) else source + reason

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Turn an error in the block into the failure of this file alone."""
        try:
            yield
        except TisdissError as error:
            self.fail(str(error))
        except MemoryError:
            self.fail("out of memory; shorter chunks need less")

    def _note(self, notice: Notice) -> None:
        if notice.text not in self.result.notices:
            self.result.notices.append(notice.text)

    def _doubt(self) -> None:
        """Note the signs that the outputs are not two voices, those of the deepest estimates."""
        for number, channel in enumerate(self._channels, start=1):
            if doubt := doubt_of_estimates(channel.statistics[-1], channel.powers):
                place = f"channel {number}: " if len(self._channels) > 1 else ""
                self.result.notices.append(place + doubt)

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

    def _piece(self, channel: "_Channel", chunks: Sequence[Chunk]) -> Iterator[_Piece]:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():  # resampling can overflow
                raise TisdissError(
                    "the samples are too large to resample; scale the recording down"
                )
            yield _Piece(self, channel.track, chunk, channel.advance(chunk))

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


class _Channel:
    """One channel of a recording in progress and its estimates so far."""

    def __init__(self, model: Model, folder: Path, info: AudioInfo, options: FileOptions):
        depths = len(options.depths)
        self.spool = Spool(folder, 1 + depths * model.num_spk)
        self.statistics = [ScaleStatistics(model.num_spk) for _ in range(depths)]
        out_rate = options.out_rate(info.rate, model.sample_rate)
        self.powers = estimate_powers(out_rate)  # of the deepest estimates
        self.track = Track(
            info.rate,
            model.sample_rate,
            out_rate,
            options.chunking(model.sample_rate),
            depths,
            model.num_spk,
            self._keep,
            options.keep_rumble,
        )
        self._model_rate = model.sample_rate
        self._end = 0

    def advance(self, chunk: Chunk) -> float:
        """Return the seconds that a chunk adds to the chunks before it."""
        before, self._end = self._end, chunk.start + len(chunk.samples)
        return (self._end - before) / self._model_rate

    def scaled(self, depth: int, scaling: Scaling) -> Iterator[np.ndarray]:
        """Yield the scaled estimates (j, n) of the depth with an index, block by block."""
        for block in self.spool.blocks():
            yield scaling(block[0], self._split(block)[depth])

    def _keep(self, block: np.ndarray) -> None:
        """Store the next samples (1 + depths * j, n)."""
        self.spool.append(block)
        takes = self._split(block)
        for statistics, estimates in zip(self.statistics, takes, strict=True):
            statistics.update(block[0], estimates)
        self.powers.push(takes[-1])

    def _split(self, block: np.ndarray) -> list[np.ndarray]:
        return np.split(block[1:], len(self.statistics))


def _exists(path: Path) -> bool:
    """Return whether a file exists; refuse a path at which none can be written.

    Raises:
        TisdissError: the name is too long or a folder's, or a parent is a file.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TisdissError(
            f"{path}: cannot be written ({error.strerror}); choose another folder or pattern"
        ) from None
    if is_folder:
        raise TisdissError(f"{path}: is a folder; choose another folder or pattern")
    return True
