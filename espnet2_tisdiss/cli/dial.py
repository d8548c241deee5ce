"""The dial of ``tisdiss separate``: what its options say of the depth."""

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espnet2_tisdiss.cli.console import LEAST_S, check_numbers, measuring, messages, refuse_together
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # these bring PyTorch, which takes seconds
    from espnet2_tisdiss.inference import SeparateSpeech
    from espnet2_tisdiss.recordings import Depths
    from espnet2_tisdiss.stitching import Chunking


@dataclass(frozen=True)
class Dial:
    """The depths that are asked for.

    Attributes:
        n_re: repetitions, ascending; none: as the model was trained.
        all_depths: every depth up to those.
        rtf: as deep as fits this many seconds of work for a second of audio; or
        seconds: this many in all; ``n_re`` is the most then.
        stop_db: stop once a repetition changes the estimate by less.

    Raises:
        TisdissError: they contradict each other, or are impossible.
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
            raise TisdissError(f"several --n-re go with none of {', '.join(sorted(given))}")
        stop_db = numbers.pop("--stop-db")
        check_numbers(0, numbers)
        check_numbers(-math.inf, {"--stop-db": stop_db})

    @property
    def is_several(self) -> bool:
        """Whether a recording is to be written at several depths."""
        return self.all_depths or len(self.n_re) > 1

    @property
    def has_budget(self) -> bool:
        """Whether the depth is the one that fits a time."""
        return (self.rtf, self.seconds) != (None, None)

    def depths(self, separator: "SeparateSpeech") -> "Depths":
        """Return the depths of a model, apart from a budget of time."""
        from espnet2_tisdiss.recordings import Depths

        last = separator.resolve_depth(max(self.n_re, default=None))
        if self.all_depths:
            return Depths(tuple(range(1, last + 1)))
        return Depths(tuple(self.n_re or [last]), self.stop_db)

    def depths_within(
        self,
        separator: "SeparateSpeech",
        to_do: Sequence[Sequence[float]],
        chunking: "Chunking",
        jobs: int,
    ) -> "Depths":
        """Return the depth of a model that fits the time.

        Args:
            separator: the model.
            to_do: seconds of each channel of the files to be separated.
            chunking: how they are cut.
            jobs: processes.
        """
        from espnet2_tisdiss.budget import timed_seconds
        from espnet2_tisdiss.recordings import Depths

        rate = separator.sample_rate
        longest = max(itertools.chain([LEAST_S], *to_do))
        total = max(sum(map(sum, to_do)), LEAST_S)
        calibrating = messages.status("calibrating, once for this model and machine")
        with calibrating, measuring("try a shorter --chunk"):
            depth = separator.depth_within(
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
    """Return how many seconds a process separates for a second of the audio there is in all.

    More than 1, as what chunks share is separated twice; but several processes share the files,
    the longest first.
    """
    loads = [0.0] * jobs
    each = (sum(chunking.separated(rate * one) / rate for one in file) for file in durations)
    for seconds in sorted(each, reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    total = sum(map(sum, durations))
    return max(loads) / total if total else 1.0
