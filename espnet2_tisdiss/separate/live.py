"""Separation while the sound arrives: sliding windows with a stated latency.

Once per hop, a window of the last seconds is separated, and one hop of its estimate is output,
which ends ``ahead`` before the window does. So a sample waits for at most a hop plus ``ahead``,
the latency. For a causal model, ``ahead`` is only the encoder's window. Axis letters: j speaker,
n sample.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.checks import check_integer, check_number
from espnet2_tisdiss.choices import RATES
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.arrays import as_floats, check_finite
from espnet2_tisdiss.separate.budget import DeadlineDepth
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.separate.loudness import ScaleStatistics, Scaling
from espnet2_tisdiss.separate.stitching import SpeakerOrder, cross_fade

LATENCY_S, WINDOW_S = 0.5, 2.0
HIGH_PASS_HZ, HIGH_PASS_ORDER = 20.0, 2
LOAD = 0.8  # share of a hop that a window may take


class LiveSeparator:
    """Separate a stream of blocks of any size, block by block.

    The speakers are kept in order by their waveforms and voices. Memory is bounded. Each speaker
    has its level in the mixture so far. Content below 20 Hz is removed by a filter without delay.

    With ``keep_up``, the depth follows the load: a window gets as many repetitions as fit before
    the next one, and if even one repetition takes longer, several hops share a window. So the
    result depends on the machine. Otherwise every window is separated at depth ``n_re``.

    Args:
        model: a loaded model.
        rate: sample rate of the blocks in Hz.
        latency: longest wait of a sample in seconds. Half of it is the hop, half the look-ahead;
            with a causal model all but its own look-ahead is the hop. The computing time comes on
            top, and for another rate than the model's the resampling: 75 ms from 48 to 16 kHz and
            back.
        n_re: number of repetitions; with ``keep_up`` the maximum.
        window: seconds of sound that are separated at a time.
        keep_up: choose the depth by the available time.
        clock: returns the time in seconds.

    Attributes:
        rate: sample rate of the blocks in Hz.
        n_re: the depth of the last window.
        windows: number of windows separated.
        late: number of windows that took longer than their hops.
        longest_wait: longest time in seconds for which sound was held back, not counting the
            computing time.

    Raises:
        OptionError: a value is out of its range.

    Example:
        >>> live = model.live(16000)
        >>> for block in blocks:                    # (n,), of any size
        ...     play(live.push(block))              # (j, m), the samples finished so far
        >>> play(live.finish())
    """

    def __init__(
        self,
        model: DepthSeparator,
        rate: int,
        latency: float = LATENCY_S,
        n_re: int | None = None,
        window: float = WINDOW_S,
        keep_up: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ):
        check_integer("rate", rate, RATES[0], RATES[-1])
        least = 4 * model.hop if model.look_ahead is None else model.look_ahead + model.hop
        check_number("latency", latency, least / model.sample_rate, 10.0)
        check_number("window", window, latency, 60.0)
        self._model, self._deepest = model, model.resolve_depth(n_re)
        self.n_re, self.windows, self.late = self._deepest, 0, 0
        self.longest_wait = 0.0
        self.rate, self._held_back = rate, 0
        self._hop = self._ahead = round(latency / 2 * model.sample_rate)
        if model.look_ahead is not None:
            self._ahead = model.look_ahead
            self._hop = round(latency * model.sample_rate) - self._ahead
        self._window = round(window * model.sample_rate)
        self._depth = DeadlineDepth(clock) if keep_up else None
        self._clock = clock
        self._high_pass = _HighPass(rate)
        self._to_model = Resampler(rate, model.sample_rate)
        self._from_model = Resampler(model.sample_rate, rate, model.num_spk)
        self._order = SpeakerOrder(model.sample_rate)
        self._statistics = ScaleStatistics(model.num_spk)
        self._held = np.empty(0, np.float32)  # the last samples, up to the newest one
        self._new = 0  # how many of them are not yet in a window
        self._ordered: _Ordered | None = None

    def push(self, block: np.ndarray) -> np.ndarray:
        """Add the next samples (n,); return the finished ones of every speaker, (j, m).

        Raises:
            TisdissError: the block is not one channel, or holds values that are not finite.
        """
        samples = as_floats(block)
        check_finite("the block", samples)
        if samples.ndim != 1:
            raise TisdissError(f"a block must be (samples,), one channel; got {samples.shape}")
        finished = self._take(self._to_model.push(self._high_pass(samples)[None])[0])
        self._held_back += len(samples) - finished.shape[1]
        self.longest_wait = max(self.longest_wait, self._held_back / self.rate)
        return finished

    def finish(self) -> np.ndarray:
        """End the stream; return the last samples (j, m)."""
        rest = [self._take(self._to_model.finish()[0])]
        if self._new:
            rest.append(self._from_model.push(self._separate(self._new)))
        if self._ordered is not None:
            levelled = self._ordered.levelled
            rest.append(self._from_model.push(_last(levelled, min(self._ahead, levelled.shape[1]))))
        rest.append(self._from_model.finish())
        return np.concatenate(rest, axis=1)

    def _take(self, samples: np.ndarray) -> np.ndarray:
        """Add samples (n,) at the model's rate; return finished ones at the stream's rate."""
        finished = [self._from_model.push(np.empty((self._model.num_spk, 0), np.float32))]
        while len(samples):
            # several hops at once only to keep up, and at most what a window holds before ``ahead``
            most = self._window - self._ahead if self._depth else self._hop
            taken, samples = np.split(samples, [max(0, most - self._new)])
            self._held = np.concatenate((self._held, taken))
            self._new += len(taken)
            if whole := self._new // self._hop * self._hop:
                finished.append(self._from_model.push(self._separate(whole)))
        return np.concatenate(finished, axis=1)

    def _separate(self, count: int) -> np.ndarray:
        """Separate the window that ends after ``count`` new samples; return the output samples."""
        began = self._clock()
        newest = self._new - count  # samples after the window
        self._new = newest
        heard = self._held[: len(self._held) - newest]
        window, seconds = heard[-self._window :], count / self._model.sample_rate
        out = self._join(window, self._estimate(window, began + LOAD * seconds), count)
        kept = self._window - self._hop + newest  # of the next window
        self._held = self._held[max(0, len(self._held) - kept) :]
        self.windows += 1
        self.late += self._clock() - began > seconds
        return out

    def _estimate(self, window: np.ndarray, end: float) -> np.ndarray:
        """Return the unscaled estimate (j, n) of a window."""
        if self._depth is None:
            return self._model.depths([window], [self._deepest], "estimate")[self._deepest][0]
        estimates = self._model.anytime([window], self._deepest, scale="estimate")
        found = self._depth.deepest(estimates, end)
        self.n_re = int(found.n_re[0])
        return found.waves[0]

    def _join(self, window: np.ndarray, estimate: np.ndarray, count: int) -> np.ndarray:
        """Order and scale a window's estimate (j, n); return the output samples."""
        shared = len(window) - count  # includes the last samples of the previous window
        tail = None if self._ordered is None else _last(self._ordered.estimate, shared)
        order, _ = self._order.of(estimate, tail)
        ordered = estimate[list(order)]
        self._statistics.update(window, ordered)
        (scaling,) = Scaling.of("level", [self._statistics])
        levelled = scaling(window, ordered)
        begin = max(0, shared - self._ahead)  # earlier samples have been output
        if self._ordered is not None:
            before = _last(self._ordered.levelled, shared)
            levelled[:, begin:shared] = cross_fade(before[:, begin:], levelled[:, begin:shared])
        self._ordered = _Ordered(ordered, levelled)
        return levelled[:, begin : max(begin, len(window) - self._ahead)]


@dataclass(frozen=True)
class _Ordered:
    """The last window's estimate (j, n), with ordered speakers: unscaled and scaled."""

    estimate: np.ndarray
    levelled: np.ndarray


def _last(signals: np.ndarray, count: int) -> np.ndarray:
    """Return the last samples (j, count)."""
    return signals[:, signals.shape[1] - count :]


class _HighPass:
    """Remove content below 20 Hz from a stream, without delay; an offset from the first sample."""

    def __init__(self, rate: int):
        # imported here, because only streams need it
        from scipy.signal import butter, sosfilt, sosfilt_zi

        self._sections = butter(HIGH_PASS_ORDER, HIGH_PASS_HZ, "highpass", fs=rate, output="sos")
        self._settled, self._filter = sosfilt_zi(self._sections), sosfilt
        self._state: np.ndarray | None = None

    def __call__(self, block: np.ndarray) -> np.ndarray:
        if not len(block):
            return block.astype(np.float32)
        if self._state is None:
            self._state = self._settled * float(block[0])
        filtered, self._state = self._filter(self._sections, block, zi=self._state)
        return filtered.astype(np.float32)
