"""As many repetitions as a time allows, measured while separating."""

import heapq
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from espnet2_tisdiss.checks import span
from espnet2_tisdiss.separate.chunking import Chunking
from espnet2_tisdiss.separate.protocol import Estimate, Model

# one repetition's share of the time until the first estimate, as long as none has been measured
# alone: in the published structures the separator takes about as long as one repetition
FIRST_SHARE = 1 / 2


class TimeBudget:
    """A time for all the audio that a process separates, shared out batch by batch.

    The clock starts at the first batch. A batch may use its share of the time that is left, by the
    length of its audio: what one batch uses too much or too little, the later ones make up for.

    Args:
        seconds: the time.
        audio: seconds of audio to separate in it, where the overlap of chunks counts twice.
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
        self._repetition_rtf: float | None = None  # of the last repetition measured alone

    def separate(self, model: Model, waves: Sequence[Tensor | np.ndarray], n_re: int) -> Estimate:
        """Separate mixtures (n,) as one batch, as deep as the time allows.

        Args:
            model: the model.
            waves: the mixtures.
            n_re: the most repetitions; one is always run.

        Returns:
            The unscaled estimates at one depth.
        """
        audio = sum(map(len, waves)) / model.sample_rate
        began = self._clock()
        end = began + self._share(began, audio)
        before = began
        for estimate in model.anytime(waves, n_re, scale="estimate"):
            now = self._clock()
            if before > began:
                self._repetition_rtf = (now - before) / audio
            if self._repetition_rtf is None:
                repetition = (now - began) * FIRST_SHARE
            else:
                repetition = self._repetition_rtf * audio
            before, found = now, estimate
            if now + repetition > end:
                break
        self.n_re.append(int(found.n_re[0]))
        return found

    def _share(self, now: float, audio: float) -> float:
        """Return the seconds that a batch may take; count its audio as done."""
        if self._began is None:
            self._began = now
        left = self._began + self._seconds - now
        share = audio / max(audio, self._audio_left)
        self._audio_left -= audio
        return share * left

    def log(self) -> None:
        """Log the depths used so far and the time taken; warn if it is more than was given."""
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
