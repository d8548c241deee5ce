"""One channel of a recording in progress and its estimates so far.

They wait in a temporary file until the scale of the outputs is known. Axis letters: j speaker,
n sample.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.reading import AudioInfo
from espnet2_tisdiss.audio.spool import Spool
from espnet2_tisdiss.separate.chunking import Chunk
from espnet2_tisdiss.separate.doubts import estimate_powers
from espnet2_tisdiss.separate.interface import Model
from espnet2_tisdiss.separate.loudness import ScaleStatistics, Scaling
from espnet2_tisdiss.separate.options import FileOptions
from espnet2_tisdiss.separate.recordings import Track


class RecordingChannel:
    """A channel in progress.

    Args:
        model: the model.
        folder: folder for temporary files.
        info: the format of the recording.
        options: options of the separation, with the depths for this model.

    Attributes:
        spool: the samples so far (1 + depths * j, n): the mixture, then the estimates by depth.
        statistics: those of the estimates, by depth.
        powers: those of the deepest estimates.
        track: passes the channel through the model.
    """

    def __init__(self, model: Model, folder: Path, info: AudioInfo, options: FileOptions):
        depths = len(options.depths)
        self.spool = Spool(folder, 1 + depths * model.num_spk)
        self.statistics = [ScaleStatistics(model.num_spk) for _ in range(depths)]
        out_rate = options.out_rate(info.rate, model.sample_rate)
        self.powers = estimate_powers(out_rate)
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
        """Return the seconds that a chunk adds to the previous chunks."""
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
