"""As many repetitions as a time allows, measured while separating."""

import heapq
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from espnet2_tisdiss.checks import span
from espnet2_tisdiss.separate.chunking import Chunking
from espnet2_tisdiss.separate.interface import Estimate

# assumed share of one repetition in the time until the first estimate, until one has been measured
# separately: in the published structures the separator layers take about as long as a repetition
FIRST_SHARE = 1 / 2


class DeadlineDepth:
    """Runs as many repetitions as fit before a point in time.

    The time of the next repetition is predicted from the last one of the batch or, at first, from
    the time until the first estimate, so a change of the machine's load has an immediate effect.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        self._share = FIRST_SHARE  # of the time until the first estimate

    def deepest(self, estimates: Iterator[Estimate], end: float) -> Estimate:
        """Return the last estimate of a batch before another one would come too late.

        Args:
            estimates: from shallow to deep, computed as they are taken; the first always is.
            end: the point in time, by the clock.
        """
        before = self.clock()
        first: float | None = None  # time until the first estimate
        for estimate in estimates:
            now, found = self.clock(), estimate
            if first is None:
                first = now - before
                repetition = self._share * first
            else:
                repetition = now - before
                self._share = repetition / first if first > 0 else FIRST_SHARE
            before = now
            if now + repetition > end:
                break
        return found


class TimeBudget:
    """Divides the time for all the audio that a process separates among its batches.

    The clock starts at the first batch. Each batch may use a share of the remaining time in
    proportion to the length of its audio, so later batches compensate for earlier ones.

    Args:
        seconds: the time in total.
        audio: seconds of audio to separate; the overlap of chunks counts twice.
        clock: returns the time in seconds.

    Attributes:
        n_re: the depth of each batch so far.
    """

    def __init__(
        self, seconds: float, audio: float, clock: Callable[[], float] = time.perf_counter
    ):
        self.n_re: list[int] = []
        self._seconds, self._audio_left, self._clock = seconds, audio, clock
        self._began: float | None = None
        self._depth = DeadlineDepth(clock)

    def deepest(self, estimates: Iterator[Estimate], audio: float) -> Estimate:
        """Return the deepest estimate of a batch that its share of the time allows.

        Args:
            estimates: from shallow to deep, computed as they are taken; the first always is.
            audio: seconds of audio of the batch.
        """
        began = self._clock()
        end = began + self._share(began, audio)
        found = self._depth.deepest(estimates, end)
        self.n_re.append(int(found.n_re[0]))
        return found

    def _share(self, now: float, audio: float) -> float:
        """Return the seconds that a batch may take, and count its audio as done."""
        if self._began is None:
            self._began = now
        left = self._began + self._seconds - now
        share = audio / max(audio, self._audio_left)
        self._audio_left -= audio
        return share * left

    def log(self) -> None:
        """Log the depths used so far and the time taken; warn if it exceeds the given time."""
        if self._began is None:
            return
        taken = self._clock() - self._began
        level = logging.INFO if taken <= self._seconds else logging.WARNING
        logging.log(
            level,
            "%.3g s of work, of %.3g s allowed; N_re %s",
            *(taken, self._seconds, span(self.n_re)),
        )


def busiest_seconds(
    durations: Sequence[Sequence[float]], chunking: Chunking, rate: int, jobs: int = 1
) -> float:
    """Return the seconds of audio that the busiest process separates; overlaps count twice.

    Args:
        durations: for each file, the seconds of each channel. Processes take the longest first.
        chunking: chunks that the files are cut into.
        rate: sample rate of the model in Hz.
        jobs: number of processes.
    """
    loads = [0.0] * jobs
    each = (sum(chunking.separated(rate * one) / rate for one in file) for file in durations)
    for seconds in sorted(each, reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    return max(loads)
