"""Joining separated chunks: the speakers of all chunks in one order, neighbours cross-faded.

The model separates each chunk independently, so the order of its speakers is arbitrary. Axis
letters: j speaker (k: in the chunk's own order), n sample.
"""

import functools

import numpy as np

from espnet2_tisdiss.separate.voices import SpeechLevel, VoiceAnalysis, Voices

# Evidence from one stream that is equal in the overlap. It is limited because a model may swap its
# streams within a chunk; then the overlap shows only the order at the edge of the chunk.
_OVERLAP_NATS = 10.0
# Power relative to the speech level at which evidence counts half, so that leakage, noise and
# breath count little.
_QUIET = 10 ** (-20 / 10)


class SpeakerOrder:
    """Put the speakers of overlapping estimates, in order of time, into one order.

    The order with the most evidence is chosen, in nats of log likelihood:

    * waveforms: how similar the streams are in the overlap with what was joined so far. Quiet
      streams contribute little evidence, and so do pauses of all speakers;
    * voices: how much better "the same voice" explains the short-time cepstra of a stream and of a
      speaker so far than "another voice" does. Silent speakers contribute no evidence.

    Levels are relative, so the scale of the estimates does not matter, and gains may differ by a
    few dB between estimates.

    Args:
        sample_rate: of the estimates, in Hz.
    """

    def __init__(self, sample_rate: int):
        self._sample_rate = sample_rate
        self._level = SpeechLevel()
        self._first: np.ndarray | None = (
            None  # the first estimate is analysed only when a second one follows
        )
        self._voices: Voices | None = None

    def of(self, estimate: np.ndarray, tail: np.ndarray | None) -> tuple[tuple[int, ...], float]:
        """Return the order of the next estimate: speaker j is its stream ``order[j]``.

        Args:
            estimate: (j, n), in its own order of speakers.
            tail: (j, overlap), the joined signals from the start of the estimate on; None for the
                first estimate.

        Returns:
            The order, and by how many nats it is better than the second best; infinite for the
            first estimate and for a single speaker.
        """
        if tail is None:
            self._first, self._voices = estimate.copy(), None
            return tuple(range(len(estimate))), np.inf
        if self._voices is None and self._first is not None:
            self._voices = Voices.of(*self._analysed(self._first))
            self._first = None
        assert self._voices is not None  # the first estimate had no tail
        power, cepstra, quiet = self._analysed(estimate)
        overlap = tail.shape[1]
        score = self._voices.compare(Voices.of(power, cepstra, quiet))
        if overlap:
            score += _OVERLAP_NATS * _similarity(tail, estimate[:, :overlap], quiet)
        order, margin = _best_order(score)
        new = self._analysis.frames_from(overlap)
        self._voices += Voices.of(power[:, new], cepstra[:, new], quiet).reordered(order)
        return order, margin

    @functools.cached_property
    def _analysis(self) -> VoiceAnalysis:
        return VoiceAnalysis(self._sample_rate)

    def _analysed(self, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return powers and cepstra of the next estimate, and the power that counts as quiet."""
        power, cepstra = self._analysis(estimate)
        self._level.update(power)
        return power, cepstra, self._level.value * _QUIET


class Stitcher:
    """Join the estimates of a recording's chunks, in order, into one signal for each speaker.

    :class:`SpeakerOrder` keeps the speakers in order. Gains are not matched: matching them in the
    overlap moved the result away from separation in one piece. Estimates that are equal in the
    overlap stay exactly equal.

    Args:
        sample_rate: of the estimates, in Hz.

    Attributes:
        orders: the order chosen for each chunk: speaker j is the chunk's stream ``orders[-1][j]``.
        margins: by how many nats each chosen order is better than the second best.

    Example:
        >>> stitcher = Stitcher(8000)
        >>> for chunk in chunks:
        ...     write(stitcher.push(chunk.start, np.concatenate(model(chunk.samples[None]))))
        >>> write(stitcher.finish())
    """

    def __init__(self, sample_rate: int):
        self.orders: list[tuple[int, ...]] = []
        self.margins: list[float] = []
        self._order = SpeakerOrder(sample_rate)
        self._held: np.ndarray | None = None  # (j, n), samples from self._start on
        self._start = 0

    def push(self, start: int, estimate: np.ndarray) -> np.ndarray:
        """Join the next chunk.

        Args:
            start: index in the recording of the chunk's first sample.
            estimate: (j, n), in the chunk's own order of speakers.

        Returns:
            The next samples (j, m) that no later chunk can change.

        Raises:
            ValueError: the chunk leaves a gap, or its estimate has another number of speakers or
                a value that is not finite.
        """
        self._check(start, estimate)
        held = self._held
        tail = None if held is None else held[:, start - self._start :]
        order, margin = self._order.of(estimate, tail)
        self.orders.append(order)
        self.margins.append(margin)
        if held is None or tail is None:
            self._held, self._start = estimate.copy(), start
            return estimate[:, :0]
        return self._join(held, start, tail.shape[1], estimate[list(order)])

    def finish(self) -> np.ndarray:
        """End the recording; return its last samples (j, m)."""
        held, self._held = self._held, None
        return np.empty((0, 0), np.float32) if held is None else held

    def _join(self, held: np.ndarray, start: int, overlap: int, estimate: np.ndarray) -> np.ndarray:
        """Cross-fade a chunk with ordered speakers; return the finished samples (j, m)."""
        finished, tail = np.split(held, [start - self._start], axis=1)
        head, rest = np.split(estimate, [overlap], axis=1)
        faded = cross_fade(tail, head)
        self._held, self._start = np.concatenate((faded, rest), axis=1), start
        return finished

    def _check(self, start: int, estimate: np.ndarray) -> None:
        """Raise ValueError unless the chunk continues the buffered samples."""
        if not np.isfinite(estimate).all():
            raise ValueError(f"the estimate of the chunk at sample {start} is not finite")
        if self._held is None:
            return
        end = self._start + self._held.shape[1]
        if not self._start <= start <= end <= start + estimate.shape[1]:
            raise ValueError(
                f"a chunk must start in [{self._start}, {end}] and end at {end} or later; "
                f"got {start} to {start + estimate.shape[1]}"
            )
        if len(estimate) != len(self._held):
            raise ValueError(
                f"all chunks must have {len(self._held)} speakers; got {len(estimate)}"
            )


def cross_fade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Fade from one signal (j, n) to another of the same shape."""
    return before + (after - before) * _rising(before.shape[1]).astype(after.dtype)


def _rising(count: int) -> np.ndarray:
    """Return weights (n,) from 0 to 1 of a cross-fade.

    The weights are a raised cosine: estimates are worst at the edges of a chunk, where context is
    missing, and there a raised cosine is lower than a straight line.
    """
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def _similarity(tail: np.ndarray, head: np.ndarray, quiet: float) -> np.ndarray:
    """Return the similarity (j, k), at most 1, of the streams ``tail`` (j, n) and ``head`` (k, n).

    2<a, b> / (|a|^2 + |b|^2 + floor) is 1 for equal streams and about 0 for different ones. It is
    also about 0 for a stream and its leakage into another one, whose correlation coefficient would
    be 1. Streams below the power ``quiet`` contribute little.
    """
    tail, head = tail.astype(float), head.astype(float)
    energy, other_energy = np.square(tail).sum(1), np.square(head).sum(1)
    floor = quiet * tail.shape[1] + np.finfo(float).tiny
    return 2 * tail @ head.T / (energy[:, None] + other_energy + floor)


def _best_order(score: np.ndarray) -> tuple[tuple[int, ...], float]:
    """Return the permutation of k with the largest sum of ``score`` (j, k), and its margin."""
    # imported here, because a single chunk does not need it
    from scipy.optimize import linear_sum_assignment

    rows, order = linear_sum_assignment(score, maximize=True)
    best = score[rows, order].sum()
    others = [-np.inf]
    if len(rows) > 1:
        penalty = np.abs(score).sum() + 1
        # every other order lacks at least one of the pairs
        for row, column in zip(rows, order, strict=True):
            without = score.copy()
            without[row, column] -= 2 * penalty
            others.append(without[linear_sum_assignment(without, maximize=True)].sum())
    return tuple(order.tolist()), float(best - max(others))
