"""The separated files of a recording: their names, comments, level and samples.

Axis letters: j speaker, n sample.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.writing import AudioWriter
from espnet2_tisdiss.separate.file_result import FileResult
from espnet2_tisdiss.separate.input_files import InputFile, output_paths
from espnet2_tisdiss.separate.interface import Model
from espnet2_tisdiss.separate.loudness import Scaling, headroom_gain
from espnet2_tisdiss.separate.options import FileOptions
from espnet2_tisdiss.separate.provenance import comment_of
from espnet2_tisdiss.separate.recording_channel import RecordingChannel

# yields the scaled blocks (j, n) of a channel at a depth
Blocks = Callable[[], Iterator[np.ndarray]]


class OutputFiles:
    """The outputs of a recording: a file for each channel, depth and speaker.

    Args:
        model: the model.
        item: the recording.
        options: options of the separation, with the depths for this model.
    """

    def __init__(self, model: Model, item: InputFile, options: FileOptions):
        self._model, self._item, self._options = model, item, options

    def comments(self, result: FileResult) -> dict[Path, str]:
        """Return the files of a recording of this form, in order, and the comment of each."""
        options, num_spk = self._options, self._model.num_spk
        of_channel = [
            comment_of(self._model, options, n_re, result.channels)
            for n_re in options.depths
            for _ in range(num_spk)
        ]
        return {
            path: comment
            for channel in range(1, result.separated_channels + 1)
            for path, comment in zip(
                output_paths(self._item, options, channel, num_spk), of_channel, strict=True
            )
        }

    def write(self, channels: Sequence[RecordingChannel], result: FileResult) -> None:
        """Write the estimates of all channels, and enter the files and their level into a result.

        Raises:
            TisdissError: a file cannot be written.
        """
        takes = self._takes(channels)
        # the peak of the scaled samples is known only after one pass over them
        result.peak = max(float(np.abs(block).max()) for scaled in takes for block in scaled())
        if self._options.output.clips:
            result.gain = headroom_gain(result.peak)
        outputs = itertools.batched(self.comments(result).items(), self._model.num_spk)
        for files, scaled in zip(outputs, takes, strict=True):
            comments = dict(files)
            blocks = (result.gain * block for block in scaled())
            self._write_speakers(comments, result.out_rate, channels[0].spool.frames, blocks)
            result.outputs.extend(comments)

    def _takes(self, channels: Sequence[RecordingChannel]) -> list[Blocks]:
        """Return for each channel and depth, in order, what yields its blocks."""
        by_depth = [
            Scaling.of(self._options.scale, [one.statistics[depth] for one in channels])
            for depth in range(len(self._options.depths))
        ]
        return [
            functools.partial(channel.scaled, depth, scaling)
            for channel, scalings in zip(channels, zip(*by_depth, strict=True), strict=True)
            for depth, scaling in enumerate(scalings)
        ]

    def _write_speakers(
        self, comments: dict[Path, str], rate: int, frames: int, blocks: Iterable[np.ndarray]
    ) -> None:
        """Write each row of the blocks (j, n) to its file, with the file's comment."""
        with ExitStack() as stack:
            writers = [
                stack.enter_context(AudioWriter(path, rate, frames, self._options.output, comment))
                for path, comment in comments.items()
            ]
            for block in blocks:
                for writer, samples in zip(writers, block, strict=True):
                    writer.write(samples)
