"""Separating lists of audio files of any length: read, separate, scale, write.

An error in one file ends only that file and becomes its reason. Outputs have temporary names until
they are complete.
"""

import logging
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing

from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.errors import first_line
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.separate.file_result import FileResult
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.separate.options import FileOptions
from espnet2_tisdiss.separate.recording_file import Piece, RecordingFile
from espnet2_tisdiss.separate.recordings import SeparatedChunk, separate_chunks


def separate_files(
    model: DepthSeparator,
    inputs: Sequence[InputFile],
    options: FileOptions,
    budget: TimeBudget | None = None,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Generator[FileResult, None, None]:
    """Separate files, one after the other; chunks of several may share a batch.

    Args:
        model: the model.
        inputs: the files.
        options: options of the separation, with the depths for this model.
        budget: the time that limits the depth, if any.
        on_progress: called with the seconds of audio finished since the last call, including
            skipped and failed files.

    Yields:
        A result for each file, in the order in which they finish.
    """
    recordings: list[RecordingFile] = []  # open files; several if they share a batch
    try:
        with closing(_steps(model, inputs, options, recordings)) as steps:
            for pieces, ended in _batches(steps, options.batch_size):
                for piece, chunk in _separated(model, pieces, options, budget):
                    with piece.recording.failing_alone():
                        piece.recording.join(piece, chunk)
                        on_progress(piece.recording.advance(piece.seconds))
                for recording in ended:
                    with recording.failing_alone():
                        recording.write()
                    recordings.remove(recording)
                    recording.close()
                    on_progress(recording.advance(math.inf))
                    yield recording.result
    finally:
        for recording in recordings:
            recording.close()


def _steps(
    model: DepthSeparator,
    inputs: Sequence[InputFile],
    options: FileOptions,
    recordings: list[RecordingFile],
) -> Generator[Piece | RecordingFile, None, None]:
    """Yield the pieces of each file, then the file itself; a file that fails ends there."""
    with SourceReader() as reader:
        for item in inputs:
            recording = RecordingFile(model, item, options)
            recordings.append(recording)
            with recording.failing_alone():
                yield from recording.pieces(reader)
            yield recording


def _batches(
    steps: Iterable[Piece | RecordingFile], size: int
) -> Iterator[tuple[list[Piece], list[RecordingFile]]]:
    """Yield ``size`` pieces and the files that end with them; no file waits for later pieces."""
    pieces: list[Piece] = []
    ended: list[RecordingFile] = []
    for step in steps:
        if isinstance(step, Piece):
            pieces.append(step)
        else:
            ended.append(step)
        if len(pieces) in (0, size):
            yield pieces, ended
            pieces, ended = [], []
    if pieces:
        yield pieces, ended


def _separated(
    model: DepthSeparator, pieces: Sequence[Piece], options: FileOptions, budget: TimeBudget | None
) -> Iterator[tuple[Piece, SeparatedChunk]]:
    """Yield each piece with its outcome."""
    if not pieces:
        return
    try:
        waves = [piece.chunk.samples for piece in pieces]
        separated = separate_chunks(model, waves, options, budget)
    except (RuntimeError, MemoryError) as error:  # PyTorch's errors are mostly "out of memory"
        logging.debug("separation failed", exc_info=True)
        reason = first_line(error)
        for piece in pieces:
            piece.recording.fail(
                f"could not be separated ({reason}); shorter chunks need less memory"
            )
        return
    yield from zip(pieces, separated, strict=True)
