"""The depth options of ``tisdiss separate``."""

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espnet2_tisdiss.cli.console import (
    LEAST_S,
    check_numbers,
    messages,
    refuse_together,
    reporting_torch_errors,
)
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.separate.chunking import Chunking
    from espnet2_tisdiss.separate.recordings import Depths
    from espnet2_tisdiss.separate.speech import SeparateSpeech


@dataclass(frozen=True)
class Dial:
    """The depth options of the command line.

    Attributes:
        n_re: repetitions N_re, ascending; empty: as the model was trained. With ``rtf``,
            ``seconds`` or ``stop_db``: the maximum.
        all_depths: separate at every depth up to ``n_re``.
        rtf: choose the deepest setting within this real-time factor; None: no limit.
        seconds: choose the deepest setting within this time in seconds; None: no limit.
        stop_db: stop when a repetition changes the estimate by less than this, in dB; None: do
            not stop early.

    Raises:
        TisdissError: options exclude each other or are out of range.
    """

    n_re: Sequence[int]
    all_depths: bool
    rtf: float | None
    seconds: float | None
    stop_db: float | None

    def __post_init__(self) -> None:
        numbers = {"--rtf": self.rtf, "--seconds": self.seconds, "--stop-db": self.stop_db}
        given = {name: value is not None for name, value in numbers.items()}
        given["--all-depths"] = self.all_depths
        refuse_together(given)
        if len(self.n_re) > 1 and any(given.values()):
            raise TisdissError(f"several --n-re cannot be combined with {', '.join(sorted(given))}")
        stop_db = numbers.pop("--stop-db")
        check_numbers(0, numbers)
        check_numbers(-math.inf, {"--stop-db": stop_db})

    @property
    def is_several(self) -> bool:
        """Whether recordings are written at several depths."""
        return self.all_depths or len(self.n_re) > 1

    @property
    def has_budget(self) -> bool:
        """Whether the depth is chosen by a limit on the time."""
        return (self.rtf, self.seconds) != (None, None)

    def depths(self, model: "SeparateSpeech") -> "Depths":
        """Return the depths for a model, without regard to ``rtf`` and ``seconds``."""
        from espnet2_tisdiss.separate.recordings import Depths

        last = model.resolve_depth(max(self.n_re, default=None))
        if self.all_depths:
            return Depths(tuple(range(1, last + 1)))
        return Depths(tuple(self.n_re or [last]), self.stop_db)

    def depths_within(
        self,
        model: "SeparateSpeech",
        to_do: Sequence[Sequence[float]],
        chunking: "Chunking",
        jobs: int,
    ) -> "Depths":
        """Return the deepest depth of a model within ``rtf`` or ``seconds``.

        Args:
            model: the loaded model.
            to_do: for each file to separate, the seconds of each channel.
            chunking: chunks that the files are cut into.
            jobs: number of processes.

        Raises:
            TisdissError: one repetition takes longer, or the model cannot be run.
        """
        from espnet2_tisdiss.separate.budget import timed_seconds
        from espnet2_tisdiss.separate.recordings import Depths

        rate = model.sample_rate
        longest = max(itertools.chain([LEAST_S], *to_do))
        total = max(sum(map(sum, to_do)), LEAST_S)
        calibrating = messages.status("calibrating, once for this model and machine")
        with calibrating, reporting_torch_errors("try a shorter --chunk"):
            depth = model.depth_within(
                self.rtf,
                self.seconds,
                duration=None if self.seconds is None else total,
                most=max(self.n_re, default=None),
                work=work_factor(to_do, chunking, rate, jobs),
                chunk_seconds=timed_seconds(chunking.length / rate, longest),
            )
        return Depths((depth,))


def work_factor(
    durations: Sequence[Sequence[float]], chunking: "Chunking", rate: int, jobs: int
) -> float:
    """Return the seconds that the busiest process separates per second of all the audio.

    Above 1 for one process, because overlaps of chunks are separated twice; lower for several
    processes, which share the files, longest first.

    Args:
        durations: for each file, the seconds of each channel.
        chunking: chunks that the files are cut into.
        rate: sample rate of the model in Hz.
        jobs: number of processes.
    """
    loads = [0.0] * jobs
    each = (sum(chunking.separated(rate * one) / rate for one in file) for file in durations)
    for seconds in sorted(each, reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    total = sum(map(sum, durations))
    return max(loads) / total if total else 1.0
