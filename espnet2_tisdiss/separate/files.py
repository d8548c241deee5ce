"""Audio files through a model: read, separate, scale, write, many of them and each of any length.

What is wrong with one file ends that file alone, with its reason; nothing stands under a final
name before it is whole. Axis letters: j speaker, n sample.
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
from typing import TYPE_CHECKING

import numpy as np

from espnet2_tisdiss.audio.reading import AudioInfo, probe, read_blocks
from espnet2_tisdiss.audio.spool import Spool
from espnet2_tisdiss.audio.writing import AudioWriter, OutputFormat
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.separate.chunking import Chunk, Chunking
from espnet2_tisdiss.separate.loudness import DEFAULT_SCALE, ScaleStatistics, Scaling, headroom_gain
from espnet2_tisdiss.separate.recordings import Depths, Track

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech

EXISTING = ("refuse", "skip", "overwrite")


@dataclass(frozen=True)
class Task:
    """One file to separate.

    Attributes:
        source: the recording.
        folder: where the separated files go.
        name: what ``{name}`` stands for in the pattern of their names.
        clash: another file of this folder and name, for which this one is refused.
    """

    source: Path
    folder: Path
    name: str
    clash: Path | None = None


@dataclass(frozen=True)
class Options:
    """How files are separated and written.

    Attributes:
        depths: how deep; several depths give as many sets of files.
        chunking: in samples at the model's rate.
        channel: one of :data:`~espnet2_tisdiss.audio.channels.CHANNELS`.
        scale: one of :data:`~espnet2_tisdiss.separate.loudness.SCALES`.
        output: format of the written files.
        pattern: their names without suffix, with ``{name}``, ``{speaker}`` and, where there are
            several, ``{channel}`` and ``{n_re}``; None: these, in a row.
        existing: what to do about files that are there: one of :data:`EXISTING`.
        batch_size: the most chunks to separate at once.
    """

    depths: Depths
    chunking: Chunking
    channel: str = "mean"
    scale: str = DEFAULT_SCALE
    output: OutputFormat = field(default_factory=OutputFormat)
    pattern: str | None = None
    existing: str = "refuse"
    batch_size: int = 1

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

    def is_settled(self, paths: Iterable[Path]) -> bool:
        """Tell whether the files that are there leave a task with these nothing to do.

        Raises:
            TisdissError: one of the files cannot be written, whatever is there.
        """
        there = [_is_there(path) for path in paths]
        return {"refuse": any, "skip": all}.get(self.existing, lambda _: False)(there)


_MARKS = {
    "name": "{name}",
    "channel": "_ch{channel}",
    "n_re": "_re{n_re}",
    "speaker": "_spk{speaker}",
}


def full_pattern(pattern: str | None, channel: str, several_depths: bool) -> str:
    """Return the pattern of file names that :class:`Options` has for ``pattern``.

    Args:
        pattern: as for :class:`Options`.
        channel: as there.
        several_depths: whether files are written for several depths.

    Raises:
        TisdissError: files would get the same name, or the pattern holds something else in braces.
    """
    several = {"channel": channel == "each", "n_re": several_depths}
    needed = [field for field in _MARKS if several.get(field, True)]
    if pattern is None:
        return "".join(_MARKS[field] for field in needed)
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError:  # a brace is not closed
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
    """What became of a file.

    Attributes:
        source: the recording.
        status: "done", "skipped" (its separated files were there) or "failed".
        reason: why it failed, in one line.
        outputs: the separated files.
        seconds: length of the recording.
        rate: its sample rate in Hz.
        channels: its channels.
        separated_channels: how many were separated, each by itself; 1 is the mean or one of them.
        n_re: repetitions of each of its chunks.
        gain: what the separated files were turned down by so that an integer format holds them.
        peak: the largest sample, before that.
    """

    source: Path
    status: str
    reason: str = ""
    outputs: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    rate: int = 0
    channels: int = 1
    separated_channels: int = 1
    n_re: list[int] = field(default_factory=list)
    gain: float = 1.0
    peak: float = 0.0


def separate_files(
    model: "SeparateSpeech",
    tasks: Sequence[Task],
    options: Options,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Outcome]:
    """Separate files, one after the other; chunks of several may share a batch.

    Args:
        model: the model.
        tasks: the files.
        options: how.
        on_progress: called with the seconds of audio done since it was called last; what is
            skipped or failed is done, too.

    Yields:
        An outcome for each file, in the order in which they are finished.
    """
    recordings: list[_Recording] = []  # open ones; more than one when they share a batch
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
    """A chunk of a recording's track; without a chunk, the recording's end."""

    recording: "_Recording"
    track: Track | None = None
    chunk: Chunk | None = None
    seconds: float = 0.0


def _pieces(
    model: "SeparateSpeech",
    tasks: Sequence[Task],
    options: Options,
    recordings: list["_Recording"],
) -> Iterator[_Piece]:
    """Yield the chunks of all files and their ends; a file that fails has only the end left."""
    for task in tasks:
        recording = _Recording(model, task, options)
        recordings.append(recording)
        with recording.failing_alone():
            if recording.open():
                yield from recording.read()
        yield _Piece(recording)


def _batches(pieces: Iterable[_Piece], size: int) -> Iterator[list[_Piece]]:
    """Yield pieces in lists with ``size`` chunks; an end waits only for chunks before it."""
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
    model: "SeparateSpeech", depths: Depths, work: Sequence[_Piece]
) -> Iterator[tuple[_Piece, list[np.ndarray], int]]:
    """Yield each piece with its estimates (j, n), one for each depth, and its repetitions."""
    if not work:
        return
    try:
        takes, n_used = depths.separate(model, [piece.chunk.samples for piece in work])
    except (RuntimeError, MemoryError) as error:  # PyTorch's errors are above all for memory
        logging.debug("separation failed", exc_info=True)
        reason = first_line(error)
        for piece in work:
            piece.recording.fail(f"could not be separated ({reason}); shorter chunks need less")
        return
    yield from zip(work, takes, n_used, strict=True)


class _Recording:
    """A file at work: what is read of it, and what is to be written."""

    def __init__(self, model: "SeparateSpeech", task: Task, options: Options):
        self._model, self._task, self._options = model, task, options
        self.outcome = Outcome(task.source, "done")
        self._stack = ExitStack()
        self._channels: list[_Channel] = []
        self._told = 0.0

    def open(self) -> bool:
        """Look at the file and make room for what comes; say whether there is something to do."""
        if self._task.clash is not None:
            raise TisdissError(
                f"would be written under the names of {self._task.clash}; separate it by itself, "
                "into another folder"
            )
        info = probe(self._task.source)
        outcome, options = self.outcome, self._options
        outcome.seconds, outcome.rate = info.duration, info.rate
        outcome.channels = info.channels
        outcome.separated_channels = info.channels if options.channel == "each" else 1
        channels = range(outcome.separated_channels)
        paths = [path for channel in channels for path in self._paths(channel)]
        if options.is_settled(paths):
            if options.existing == "skip":
                outcome.status, outcome.outputs = "skipped", paths
                return False
            there = next(filter(_is_there, paths))
            raise TisdissError(
                f"{there}: is there already; --overwrite replaces it, --skip-existing leaves it, "
                "--out names another folder"
            )
        for _ in channels:
            channel = _Channel(self._model, self._task.folder, info, options)
            self._channels.append(channel)
            self._stack.enter_context(channel.spool)
        return True

    def read(self) -> Iterator[_Piece]:
        """Yield the chunks of all channels."""
        for block in read_blocks(self._task.source, self._options.channel):
            for channel, samples in zip(self._channels, block, strict=True):
                yield from self._piece(channel, channel.track.read(samples))
            if self.outcome.status == "failed":
                return
        for channel in self._channels:
            yield from self._piece(channel, channel.track.end())

    def join(self, piece: _Piece, estimates: list[np.ndarray], n_re: int) -> None:
        """Take the estimates of a chunk."""
        if self.outcome.status == "failed":
            return
        if not all(np.isfinite(estimate).all() for estimate in estimates):
            raise TisdissError("the model's estimate is not finite; is the recording far too loud?")
        piece.track.join(piece.chunk, estimates)
        self.outcome.n_re.append(n_re)

    def advance(self, seconds: float) -> float:
        """Return how much of ``seconds``, at most what is left of the recording, is news."""
        total = self.outcome.seconds * self.outcome.separated_channels
        news = min(seconds, total - self._told)
        self._told += news
        return news

    def write(self) -> None:
        """Write the separated files, once all chunks are joined."""
        if self.outcome.status != "done":
            return
        for channel in self._channels:
            channel.track.close()
        takes = list(self._takes())
        # what the scaled samples' peak is, only a pass over them tells
        self.outcome.peak = max(
            float(np.abs(block).max()) for _, scaled in takes for block in scaled()
        )
        if self._options.output.clips:
            self.outcome.gain = headroom_gain(self.outcome.peak)
        for paths, scaled in takes:
            self._write_speakers(paths, (self.outcome.gain * block for block in scaled()))

    def close(self) -> None:
        """Let go of what was kept for the second pass."""
        self._stack.close()

    def fail(self, reason: str) -> None:
        """End this file: nothing more is read of it or written."""
        source = f"{self._task.source}: "
        self.outcome.status = "failed"
        self.outcome.reason = reason if reason.startswith(source) else source + reason

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Let what goes wrong in the block with this file end this file only."""
        try:
            yield
        except TisdissError as error:
            self.fail(str(error))
        except MemoryError:
            self.fail("there is not enough memory; shorter chunks need less")

    def _paths(self, channel: int) -> list[Path]:
        """Return the files of a channel (from 0), speaker by speaker, depth by depth."""
        return self._options.paths(self._task, channel + 1, self._model.num_spk)

    def _piece(self, channel: "_Channel", chunks: Sequence[Chunk]) -> Iterator[_Piece]:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():  # resampling may bring them over the largest
                raise TisdissError("its samples are far too loud to be resampled; scale it down")
            yield _Piece(self, channel.track, chunk, channel.advance(chunk))

    def _takes(self) -> Iterator[tuple[tuple[Path, ...], Callable[[], Iterator[np.ndarray]]]]:
        """Yield the files of the speakers and what gives their blocks (j, n), as `_paths` goes."""
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
        """Write the rows of blocks (j, n), a file each."""
        with ExitStack() as stack:
            rate, output = self.outcome.rate, self._options.output
            frames = self._channels[0].spool.frames
            writers = [
                stack.enter_context(AudioWriter(path, rate, frames, output)) for path in paths
            ]
            for block in blocks:
                for writer, samples in zip(writers, block, strict=True):
                    writer.write(samples)
        self.outcome.outputs += paths


class _Channel:
    """One channel of a recording: its way through the model, and what came out of it so far."""

    def __init__(self, model: "SeparateSpeech", folder: Path, info: AudioInfo, options: Options):
        depths = len(options.depths.n_re)
        self.spool = Spool(folder, 1 + depths * model.num_spk)
        self.statistics = [ScaleStatistics(model.num_spk) for _ in range(depths)]
        self.track = Track(
            info.rate,
            model.sample_rate,
            info.frames,
            options.chunking,
            depths,
            model.num_spk,
            sink=self._keep,
        )
        self._model_rate = model.sample_rate
        self._end = 0

    def advance(self, chunk: Chunk) -> float:
        """Return how many seconds a chunk adds to those before it."""
        before, self._end = self._end, chunk.start + len(chunk.samples)
        return (self._end - before) / self._model_rate

    def scaled(self, depth: int, scaling: Scaling) -> Iterator[np.ndarray]:
        """Yield the scaled estimates (j, n) of a depth's index, block by block."""
        for block in self.spool.blocks():
            yield scaling(block[0], self._split(block)[depth])

    def _keep(self, block: np.ndarray) -> None:
        """Take the next samples (1 + depths * j, n)."""
        self.spool.append(block)
        for statistics, estimates in zip(self.statistics, self._split(block), strict=True):
            statistics.update(block[0], estimates)

    def _split(self, block: np.ndarray) -> list[np.ndarray]:
        return np.split(block[1:], len(self.statistics))


def _is_there(path: Path) -> bool:
    """Say whether there is a file of this name; refuse a name that no file can get.

    Raises:
        TisdissError: it is too long, a folder has it, or it lies below a file.
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
