"""Separating lists of audio files of any length: read, separate, scale, write.

An error in one file ends that file alone and becomes its reason. Outputs have temporary names until
they are complete. Axis letters: j speaker, n sample.
"""

import functools
import itertools
import logging
import math
import stat
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from espnet2_tisdiss.audio.notices import Notice
from espnet2_tisdiss.audio.reading import AudioInfo, probe, read_blocks
from espnet2_tisdiss.audio.spool import Spool
from espnet2_tisdiss.audio.writing import AudioWriter, OutputFormat
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.separate.chunking import Chunk, Chunking
from espnet2_tisdiss.separate.loudness import DEFAULT_SCALE, ScaleStatistics, Scaling, headroom_gain
from espnet2_tisdiss.separate.protocol import Model
from espnet2_tisdiss.separate.recordings import Depths, Track

Rate = Literal["same", "model"] | int
EXISTING = ("refuse", "skip", "overwrite")


@dataclass(frozen=True)
class Task:
    """One file to separate.

    Attributes:
        source: the recording.
        folder: where the separated files go.
        name: value of ``{name}`` in the pattern of the file names.
        clash: another source with the same folder and name, which makes this one fail.
        copy: a file with the content of a source that can be read only once.
    """

    source: Path
    folder: Path
    name: str
    clash: Path | None = None
    copy: Path | None = None

    @property
    def path(self) -> Path:
        """The file to read."""
        return self.copy or self.source


@dataclass(frozen=True)
class Options:
    """How files are separated and written.

    Attributes:
        depths: the depths; each gives a set of files.
        chunking: in samples at the model's rate.
        channel: one of :data:`~espnet2_tisdiss.audio.channels.CHANNELS`.
        scale: one of :data:`~espnet2_tisdiss.separate.loudness.SCALES`.
        output: format of the written files.
        rate: their sample rate: "same" as the recording's, the "model"'s, or in Hz.
        pattern: file names without suffix, with ``{name}``, ``{speaker}`` and, where there are
            several, ``{channel}`` and ``{n_re}``; None: these, in a row.
        existing: what to do if an output exists: one of :data:`EXISTING`.
        batch_size: the most chunks to separate at once.
        keep_rumble: do not remove what lies below 20 Hz.
    """

    depths: Depths
    chunking: Chunking
    channel: str = "mean"
    scale: str = DEFAULT_SCALE
    output: OutputFormat = field(default_factory=OutputFormat)
    rate: Rate = "same"
    pattern: str | None = None
    existing: str = "refuse"
    batch_size: int = 1
    keep_rumble: bool = False

    def __post_init__(self):
        check_choice("existing", self.existing, EXISTING)
        pattern = full_pattern(self.pattern, self.channel, len(self.depths.n_re) > 1)
        object.__setattr__(self, "pattern", pattern)

    def path(self, task: Task, n_re: int, channel: int, speaker: int) -> Path:
        """Return the file of a speaker (from 1) of a channel (from 1) at a depth."""
        name = self.pattern.format(name=task.name, n_re=n_re, channel=channel, speaker=speaker)
        return task.folder / f"{name}{self.output.suffix}"

    def paths(self, task: Task, channel: int, num_spk: int) -> list[Path]:
        """Return the files of a channel (from 1), speaker by speaker, depth by depth."""
        return [
            self.path(task, n_re, channel, speaker)
            for n_re in self.depths.n_re
            for speaker in range(1, num_spk + 1)
        ]

    def out_rate(self, rate: int, model_rate: int) -> int:
        """Return the sample rate of the outputs for a recording at ``rate`` Hz."""
        wanted = {"same": rate, "model": model_rate}.get(self.rate, self.rate)
        return self.output.rate_for(wanted)

    def is_settled(self, paths: Iterable[Path]) -> bool:
        """Return whether the outputs that exist leave nothing to do.

        Raises:
            TisdissError: one of the paths cannot be written.
        """
        exist = [_exists(path) for path in paths]
        return {"refuse": any, "skip": all}.get(self.existing, lambda _: False)(exist)


_MARKS = {
    "name": "{name}",
    "channel": "_ch{channel}",
    "n_re": "_re{n_re}",
    "speaker": "_spk{speaker}",
}


def full_pattern(pattern: str | None, channel: str, several_depths: bool) -> str:
    """Return the checked pattern of file names, or the default one.

    Args:
        pattern: as for :class:`Options`.
        channel: as for :class:`Options`.
        several_depths: whether files are written for several depths.

    Raises:
        TisdissError: outputs would share a name, or the pattern has an unknown field.
    """
    several = {"channel": channel == "each", "n_re": several_depths}
    needed = [field for field in _MARKS if several.get(field, True)]
    if pattern is None:
        return "".join(_MARKS[field] for field in needed)
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError:  # unbalanced braces
        parsed = []
    marks = [mark for mark in parsed if mark[1] is not None]
    inside = not Path(pattern).is_absolute() and ".." not in Path(pattern).parts
    plain = inside and all(
        field in _MARKS and not form and not kind for _, field, form, kind in marks
    )
    if not inside or not plain or not {field for _, field, _, _ in marks}.issuperset(needed):
        wanted = ", ".join(f"{{{field}}}" for field in needed)
        raise TisdissError(
            f"the pattern of file names must hold {wanted} as they are, and stay in the "
            f"output folder: {pattern}"
        )
    return pattern


@dataclass
class Outcome:
    """Result of separating a file.

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

    source: Path
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
    tasks: Sequence[Task],
    options: Options,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Outcome]:
    """Separate files, one after the other; chunks of several may share a batch.

    Args:
        model: the model.
        tasks: the files.
        options: how.
        on_progress: called with the seconds of audio finished since the last call, including
            skipped and failed files.

    Yields:
        An outcome for each file, in the order in which they finish.
    """
    recordings: list[_Recording] = []  # open ones; several when they share a batch
    try:
        pieces = _pieces(model, tasks, options, recordings)
        for batch in _batches(pieces, options.batch_size):
            work = [piece for piece in batch if piece.chunk is not None]
            for piece, estimates, n_re in _separated(model, options.depths, work):
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
                    yield piece.recording.outcome
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
    tasks: Sequence[Task],
    options: Options,
    recordings: list["_Recording"],
) -> Iterator[_Piece]:
    """Yield the chunks and the end of every file; a file that fails yields its end next."""
    for task in tasks:
        recording = _Recording(model, task, options)
        recordings.append(recording)
        with recording.failing_alone():
            if recording.open():
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
    model: Model, depths: Depths, work: Sequence[_Piece]
) -> Iterator[tuple[_Piece, list[np.ndarray], int]]:
    """Yield each piece with its estimates (j, n), one per depth, and its repetitions."""
    if not work:
        return
    try:
        takes, n_used = depths.separate(model, [piece.chunk.samples for piece in work])
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

    def __init__(self, model: Model, task: Task, options: Options):
        self._model, self._task, self._options = model, task, options
        self.outcome = Outcome(task.source, "done")
        self._stack = ExitStack()
        self._channels: list[_Channel] = []
        self._reported = 0.0

    def open(self) -> bool:
        """Check the file and open its spools; return whether there is work to do."""
        if self._task.clash is not None:
            raise TisdissError(
                f"has the same output names as {self._task.clash}; separate it alone, "
                "into another folder"
            )
        info = probe(self._task.path, self._note)
        outcome, options = self.outcome, self._options
        outcome.seconds, outcome.rate = info.duration, info.rate
        outcome.out_rate = options.out_rate(info.rate, self._model.sample_rate)
        outcome.channels = info.channels
        outcome.separated_channels = info.channels if options.channel == "each" else 1
        channels = range(outcome.separated_channels)
        paths = [path for channel in channels for path in self._paths(channel)]
        if options.is_settled(paths):
            if options.existing == "skip":
                outcome.status, outcome.outputs = "skipped", paths
                return False
            existing = next(filter(_exists, paths))
            raise TisdissError(
                f"{existing}: exists already; --overwrite replaces it, --skip-existing leaves it, "
                "--out names another folder"
            )
        for _ in channels:
            channel = _Channel(self._model, self._task.folder, info, options)
            self._channels.append(channel)
            self._stack.enter_context(channel.spool)
        return True

    def read(self) -> Iterator[_Piece]:
        """Yield the chunks of all channels."""
        frames = 0
        blocks = read_blocks(self._task.path, self._options.channel, on_notice=self._note)
        for block in blocks:
            frames += block.shape[1]
            for channel, samples in zip(self._channels, block, strict=True):
                yield from self._piece(channel, channel.track.read(samples))
            if self.outcome.status == "failed":
                return
        self.outcome.seconds = frames / self.outcome.rate
        for channel in self._channels:
            yield from self._piece(channel, channel.track.end())

    def join(self, piece: _Piece, estimates: list[np.ndarray], n_re: int) -> None:
        """Join the estimates of a chunk."""
        if self.outcome.status == "failed":
            return
        if not all(np.isfinite(estimate).all() for estimate in estimates):
            raise TisdissError("the model's estimate is not finite; is the recording far too loud?")
        piece.track.join(piece.chunk, estimates)
        self.outcome.n_re.append(n_re)

    def advance(self, seconds: float) -> float:
        """Return the part of ``seconds`` to report, capped at what remains of the recording."""
        total = self.outcome.seconds * self.outcome.separated_channels
        reported = max(0.0, min(seconds, total - self._reported))
        self._reported += reported
        return reported

    def write(self) -> None:
        """Write the outputs after all chunks are joined."""
        if self.outcome.status != "done":
            return
        for channel in self._channels:
            channel.track.close()
        takes = list(self._takes())
        # the peak of the scaled samples is known only after a pass over them
        self.outcome.peak = max(
            float(np.abs(block).max()) for _, scaled in takes for block in scaled()
        )
        if self._options.output.clips:
            self.outcome.gain = headroom_gain(self.outcome.peak)
        for paths, scaled in takes:
            self._write_speakers(paths, (self.outcome.gain * block for block in scaled()))

    def close(self) -> None:
        """Delete the spools."""
        self._stack.close()

    def fail(self, reason: str) -> None:
        """Mark this file as failed; no more of it is read or written."""
        source = f"{self._task.source}: "
        reason = reason.removeprefix(f"{self._task.path}: ")
        self.outcome.status = "failed"
        self.outcome.reason = reason if reason.startswith(source) else source + reason

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
        if notice.text not in self.outcome.notices:
            self.outcome.notices.append(notice.text)

    def _paths(self, channel: int) -> list[Path]:
        """Return the files of a channel (from 0), speaker by speaker, depth by depth."""
        return self._options.paths(self._task, channel + 1, self._model.num_spk)

    def _piece(self, channel: "_Channel", chunks: Sequence[Chunk]) -> Iterator[_Piece]:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():  # resampling can overflow
                raise TisdissError(
                    "the samples are too large to resample; scale the recording down"
                )
            yield _Piece(self, channel.track, chunk, channel.advance(chunk))

    def _takes(self) -> Iterator[tuple[tuple[Path, ...], Callable[[], Iterator[np.ndarray]]]]:
        """Yield the speakers' files and a function that yields their blocks (j, n)."""
        depths, num_spk = range(len(self._options.depths.n_re)), self._model.num_spk
        scalings = [
            Scaling.of(self._options.scale, [one.statistics[depth] for one in self._channels])
            for depth in depths
        ]
        for number, channel in enumerate(self._channels):
            paths = itertools.batched(self._paths(number), num_spk)
            for depth, speakers in zip(depths, paths, strict=True):
                scaling = scalings[depth][number]
                yield speakers, functools.partial(channel.scaled, depth, scaling)

    def _write_speakers(self, paths: Sequence[Path], blocks: Iterable[np.ndarray]) -> None:
        """Write each row of the blocks (j, n) to its file."""
        with ExitStack() as stack:
            rate, output = self.outcome.out_rate, self._options.output
            frames = self._channels[0].spool.frames
            writers = [
                stack.enter_context(AudioWriter(path, rate, frames, output)) for path in paths
            ]
            for block in blocks:
                for writer, samples in zip(writers, block, strict=True):
                    writer.write(samples)
        self.outcome.outputs += paths


class _Channel:
    """One channel of a recording in progress and its estimates so far."""

    def __init__(self, model: Model, folder: Path, info: AudioInfo, options: Options):
        depths = len(options.depths.n_re)
        self.spool = Spool(folder, 1 + depths * model.num_spk)
        self.statistics = [ScaleStatistics(model.num_spk) for _ in range(depths)]
        self.track = Track(
            info.rate,
            model.sample_rate,
            options.out_rate(info.rate, model.sample_rate),
            options.chunking,
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
        for statistics, estimates in zip(self.statistics, self._split(block), strict=True):
            statistics.update(block[0], estimates)

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
