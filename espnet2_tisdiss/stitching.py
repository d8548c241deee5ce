"""Recordings of any length in bounded memory: overlapping chunks, and how they are joined again.

A :class:`Chunker` cuts a stream of samples into chunks. The model separates each by itself, so the
order of its speakers is arbitrary; a :class:`Stitcher` brings the speakers of all chunks into one
order and cross-fades neighbouring chunks. Axis letters: j speaker (k: in the chunk's own order),
n sample, t frame, q cepstral coefficient.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.errors import TisdissError

# The defaults, in seconds; benchmarks/chunking.py measures what they cost against the whole.
CHUNK_SECONDS = 8.0
OVERLAP = 1 / 4  # of a chunk


@dataclass(frozen=True)
class Chunking:
    """How a recording is cut.

    Attributes:
        length: samples of a chunk.
        overlap: samples that neighbouring chunks share, fewer than ``length``.

    Raises:
        ValueError: a value is out of its range.
    """

    length: int
    overlap: int

    def __post_init__(self):
        check_integer("length", self.length, 1)
        check_integer("overlap", self.overlap, 0)
        if self.overlap >= self.length:
            raise ValueError(
                f"overlap must be shorter than length = {self.length}; got {self.overlap}"
            )

    @classmethod
    def in_seconds(
        cls, sample_rate: int, length: float = CHUNK_SECONDS, overlap: float | None = None
    ) -> "Chunking":
        """Return the chunking whose lengths are given in seconds; None overlaps by a quarter.

        Raises:
            TisdissError: chunks of these lengths would have no samples of their own.
        """
        if overlap is None:
            overlap = length * OVERLAP
        in_samples = length * sample_rate, overlap * sample_rate
        chunk, shared = map(round, in_samples) if all(map(math.isfinite, in_samples)) else (0, 0)
        if not 0 <= shared < chunk:
            raise TisdissError(
                f"chunks of {length:g} s cannot overlap by {overlap:g} s: give a longer chunk or a "
                "shorter overlap, of 0 s at least"
            )
        return cls(chunk, shared)

    @property
    def hop(self) -> int:
        """Samples from the start of a chunk to the start of the next."""
        return self.length - self.overlap

    def separated(self, samples: float) -> float:
        """Return how many samples the chunks of a recording of so many have in all."""
        if samples <= self.length:
            return samples
        return self.length * (1 + math.ceil((samples - self.length) / self.hop))


@dataclass(frozen=True)
class Chunk:
    """A piece of a recording.

    Attributes:
        start: index in the recording of the first sample.
        samples: (n,).
    """

    start: int
    samples: np.ndarray


class Chunker:
    """Cut a stream of samples into overlapping chunks.

    All chunks have full length, the last one too: it ends with the recording and overlaps the one
    before it by as much as that takes. Only a recording shorter than a chunk is a chunk of its own
    length. What is held never exceeds ``length + hop`` samples, whatever the size of the blocks,
    nor twice the recording's.

    Example:
        >>> chunker = Chunker(Chunking.in_seconds(8000))
        >>> for block in soundfile.blocks("meeting.wav", 65536, dtype="float32"):
        ...     for chunk in chunker.push(block):
        ...         separate(chunk.samples[None])
        >>> for chunk in chunker.finish():  # the rest
        ...     separate(chunk.samples[None])
    """

    def __init__(self, chunking: Chunking):
        self.chunking = chunking
        self._held = np.empty(0)  # the samples since self._start, and room for more
        self._start = 0
        self._filled = 0

    def push(self, block: np.ndarray) -> list[Chunk]:
        """Take the next samples (n,), any number; return the chunks that are now whole."""
        if block.ndim != 1:
            raise ValueError(f"a block must be (samples,), one channel; got {block.shape}")
        length, hop = self.chunking.length, self.chunking.hop
        chunks = []
        while len(block):
            # up to the end of the next chunk, no further
            whole = length if self._start == 0 and self._filled < length else length + hop
            taken = block[: whole - self._filled]
            self._make_room(len(taken), block.dtype)
            self._held[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            block = block[len(taken) :]
            if self._filled < whole:
                break
            if whole > length:
                self._drop(hop)
            chunks.append(self._latest())
        return chunks

    def finish(self) -> list[Chunk]:
        """End the recording; return the chunk that holds its last samples, if none did."""
        length = self.chunking.length
        if self._start == 0 and 0 < self._filled < length:
            return [Chunk(0, self._held[: self._filled].copy())]
        if self._filled > length:
            self._drop(self._filled - length)
            return [self._latest()]
        return []

    def _make_room(self, count: int, dtype: np.dtype) -> None:
        """Make room for so many samples more, and for as many again as are there."""
        if (needed := self._filled + count) > len(self._held):
            most = self.chunking.length + self.chunking.hop
            room = np.empty(min(most, 2 * needed), dtype)
            room[: self._filled] = self._held[: self._filled]
            self._held = room

    def _drop(self, count: int) -> None:
        """Forget the oldest samples."""
        self._held[: self._filled - count] = self._held[count : self._filled].copy()
        self._start += count
        self._filled -= count

    def _latest(self) -> Chunk:
        """Return all that is held as a chunk."""
        return Chunk(self._start, self._held[: self._filled].copy())


class Stitcher:
    """Join the estimates of a recording's chunks, in order, into one recording of each speaker.

    The order of a chunk's speakers is the one with the most evidence, in nats of log likelihood:

    * the waveforms over the overlap with what has been joined so far. What is quiet counts for
      little there, and all streams do where everyone pauses;
    * the voices: how much better "the same voice" explains the short-time cepstra of a stream and
      those of a speaker so far than "another voice" does. Who was not heard counts for nothing.

    Levels are relative, so the scale of the estimates is irrelevant, and gains may differ from
    chunk to chunk by some dB. They are left as they are: matching them over the overlap took the
    result further from that of the whole. Estimates that are equal in the overlap stay so, exactly.

    Args:
        sample_rate: of the estimates, in Hz.

    Attributes:
        orders: for each chunk so far its order: speaker j is the chunk's stream ``orders[-1][j]``.
        margins: for each chunk so far by how much, in nats, its order beats the next best; the
            first chunk's (and a single speaker's) is infinite.

    Example:
        >>> stitcher = Stitcher(8000)
        >>> for chunk in chunks:
        ...     write(stitcher.push(chunk.start, np.concatenate(separate(chunk.samples[None]))))
        >>> write(stitcher.finish())
    """

    def __init__(self, sample_rate: int):
        self.orders: list[tuple[int, ...]] = []
        self.margins: list[float] = []
        self._sample_rate = sample_rate
        self._level = _Level()
        self._held: np.ndarray | None = None  # (j, n), the samples since self._start
        self._start = 0
        self._voices: _Voices | None = None

    def push(self, start: int, estimate: np.ndarray) -> np.ndarray:
        """Join the next chunk.

        Args:
            start: index in the recording of the chunk's first sample.
            estimate: (j, n), in the chunk's own order of speakers.

        Returns:
            The samples (j, m) that no later chunk will change, after those returned before.

        Raises:
            ValueError: the chunk does not continue what has been joined, or its estimate has
                another number of speakers or holds a value that is not finite.
        """
        self._check(start, estimate)
        if self._held is None:
            self._held, self._start, self._voices = estimate.copy(), start, None
            self._note(tuple(range(len(estimate))), np.inf)
            return estimate[:, :0]
        if self._voices is None:  # not before: a recording of one chunk needs no analysis
            self._voices = _Voices.of(*self._analysed(self._held))
        power, cepstra, quiet = self._analysed(estimate)
        overlap = self._start + self._held.shape[1] - start
        score = self._voices.compare(_Voices.of(power, cepstra, quiet))
        if overlap:
            tail, head = self._held[:, -overlap:], estimate[:, :overlap]
            score += _OVERLAP_NATS * _similarity(tail, head, quiet)
        order, margin = _best_order(score)
        self._note(order, margin)
        new = self._analysis.frames_from(overlap)
        self._voices += _Voices.of(power[:, new], cepstra[:, new], quiet).reordered(order)
        return self._join(start, overlap, estimate[list(order)])

    def finish(self) -> np.ndarray:
        """End the recording; return its last samples (j, m)."""
        held, self._held = self._held, None
        return np.empty((0, 0), np.float32) if held is None else held

    @functools.cached_property
    def _analysis(self) -> "_Analysis":
        return _Analysis(self._sample_rate)

    def _analysed(self, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return powers and cepstra of the next chunk, and the power that is quiet so far."""
        power, cepstra = self._analysis(estimate)
        self._level.update(power)
        return power, cepstra, self._level.value * _QUIET

    def _join(self, start: int, overlap: int, estimate: np.ndarray) -> np.ndarray:
        """Cross-fade a chunk, its speakers in order, and return the finished samples (j, m)."""
        finished, tail = np.split(self._held, [start - self._start], axis=1)
        head, rest = np.split(estimate, [overlap], axis=1)
        faded = tail + (head - tail) * _rising(overlap).astype(estimate.dtype)
        self._held, self._start = np.concatenate((faded, rest), axis=1), start
        return finished

    def _note(self, order: tuple[int, ...], margin: float) -> None:
        self.orders.append(order)
        self.margins.append(margin)

    def _check(self, start: int, estimate: np.ndarray) -> None:
        """Raise ValueError unless the chunk can be joined to what is held."""
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


# Evidence of one stream that is equal in the overlap. No more, as a model may well exchange its
# streams in the middle of a chunk: then the overlap tells the order at the chunk's edge only.
_OVERLAP_NATS = 10.0
# What is this far below the level of speech (as power) counts half: leakage, noise, breath.
_QUIET = 10 ** (-20 / 10)

_FRAME_SECONDS = 0.032
_MELS = 24
_CEPSTRA = np.arange(1, 13)  # without the first one, the level
# Variances, in dB^2, of a cepstral coefficient's mean over a second of one voice, and between
# voices. In round numbers those of synthesised voices (60 / q and 200 / q), moved towards each
# other: separated speech is less pure, and real voices are more alike.
_WITHIN, _BETWEEN = 100 / _CEPSTRA, 150 / _CEPSTRA
# Seconds that are as good as none, to divide by.
_NOTHING = 1e-6
# So simple a model of voices is not to be trusted further than this.
_VOICE_NATS = 10.0


def _rising(count: int) -> np.ndarray:
    """Return weights (n,) from 0 to 1 of a cross-fade.

    Raised cosine: estimates are worst at the edges of a chunk, where context is missing; there its
    weight stays low for longer than on a straight line.
    """
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def _similarity(tail: np.ndarray, head: np.ndarray, quiet: float) -> np.ndarray:
    """Return how alike (j, k) the streams of ``tail`` (j, n) and ``head`` (k, n) are, at most 1.

    2<a, b> / (|a|^2 + |b|^2 + floor): 1 for equal streams, about 0 for different ones and for one
    against its own leakage into another (which a correlation coefficient would call equal). What is
    below the power ``quiet`` fades out.
    """
    tail, head = tail.astype(float), head.astype(float)
    energy, other_energy = np.square(tail).sum(1), np.square(head).sum(1)
    floor = quiet * tail.shape[1] + np.finfo(float).tiny
    return 2 * tail @ head.T / (energy[:, None] + other_energy + floor)


def _best_order(score: np.ndarray) -> tuple[tuple[int, ...], float]:
    """Return the permutation of k with the largest sum of ``score`` (j, k), and its margin."""
    from scipy.optimize import linear_sum_assignment  # here, because short recordings need none

    rows, order = linear_sum_assignment(score, maximize=True)
    best = score[rows, order].sum()
    others = [-np.inf]
    if len(rows) > 1:
        ruled_out = np.abs(score).sum() + 1
        for row, column in zip(rows, order, strict=True):  # each other order lacks one of its pairs
            without = score.copy()
            without[row, column] -= 2 * ruled_out
            others.append(without[linear_sum_assignment(without, maximize=True)].sum())
    return tuple(order.tolist()), float(best - max(others))


class _Level:
    """Running level of speech, as power: the mean over frames, each weighted by its own power."""

    def __init__(self):
        self._sum = self._square_sum = 0.0

    def update(self, power: np.ndarray) -> None:
        """Take in the powers (j, t) of a chunk's frames."""
        loudest = power.max(0)
        self._sum += loudest.sum()
        self._square_sum += np.square(loudest).sum()

    @property
    def value(self) -> float:
        """The level; 0 as long as there was silence only."""
        return self._square_sum / self._sum if self._sum > 0 else 0.0


class _Analysis:
    """Powers and mel cepstra of short frames, with bands up to 8 kHz where the rate allows."""

    def __init__(self, sample_rate: int):
        from torchaudio.transforms import MelSpectrogram  # here, because short recordings need none

        self._hop = max(1, round(_FRAME_SECONDS / 2 * sample_rate))
        self._mel = MelSpectrogram(
            sample_rate,
            n_fft=2 * self._hop,
            hop_length=self._hop,
            n_mels=_MELS,
            normalized=True,
            f_max=min(8000, sample_rate / 2),
            pad_mode="constant",
        )

    def __call__(self, streams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return powers (j, t) per sample and cepstra (j, t, q), in dB, of streams (j, n)."""
        import scipy.fft

        streams = np.ascontiguousarray(streams, np.float32)
        mel = self._mel(torch.from_numpy(streams)).double().numpy()
        mel = mel.transpose(0, 2, 1)  # (j, t, mel band)
        power = mel.sum(2) / self._hop
        # a floor far below the level: an empty band of a frame is to say no more than a quiet one
        floor = power.max(initial=0.0) * 1e-7 + np.finfo(np.float32).tiny
        return power, scipy.fft.dct(10 * np.log10(mel + floor), norm="ortho")[..., _CEPSTRA]

    def frames_from(self, sample: int) -> slice:
        """Return the frames whose centres are at ``sample`` or later."""
        return slice(-(-sample // self._hop), None)


@dataclass(frozen=True)
class _Voices:
    """What is known of the voices of some streams.

    Attributes:
        amount: (j,) how much was heard of each, in seconds of speech.
        cepstra: (j, q) sums of their cepstra, in the same unit.
    """

    amount: np.ndarray
    cepstra: np.ndarray

    @classmethod
    def of(cls, power: np.ndarray, cepstra: np.ndarray, quiet: float) -> "_Voices":
        """Sum over the frames in which a stream is the loudest one and above ``quiet``."""
        tiny = np.finfo(float).tiny
        # squared: what leaks for minutes while its speaker is silent must not add up to a voice
        share = np.square(power / (power.sum(0) + tiny))
        weight = share * power / (power + quiet + tiny) * _FRAME_SECONDS / 2
        return cls(weight.sum(1), np.einsum("jt,jtq->jq", weight, cepstra))

    def compare(self, other: "_Voices") -> np.ndarray:
        """Return log likelihood ratios (j, k), in nats: same voice against another voice.

        Means of the cepstra differ by what was said (the less, the more was heard) and, between
        voices, by the voice: two Gaussians. Where nothing was heard the ratio is 0.
        """
        amount, other_amount = self.amount[:, None] + _NOTHING, other.amount[:, None] + _NOTHING
        means, other_means = self.cepstra / amount, other.cepstra / other_amount
        difference = np.square(means[:, None] - other_means)
        same = _WITHIN * (1 / amount[:, None] + 1 / other_amount)
        different = same + 2 * _BETWEEN
        ratio = np.log(different / same) - difference * (1 / same - 1 / different)
        # half, as in any Gaussian; half again, as neighbouring coefficients are not independent
        return _VOICE_NATS * np.tanh(ratio.sum(2) / 4 / _VOICE_NATS)

    def reordered(self, order: tuple[int, ...]) -> "_Voices":
        """Return the streams in another order."""
        return _Voices(self.amount[list(order)], self.cepstra[list(order)])

    def __add__(self, other: "_Voices") -> "_Voices":
        return _Voices(self.amount + other.amount, self.cepstra + other.cepstra)
