"""Cutting a stream of samples into overlapping chunks. Axis letter: n sample."""

import math
from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.errors import TisdissError

# benchmarks/chunking.py compares these defaults with separation in one piece.
CHUNK_SECONDS = 8.0
OVERLAP = 1 / 4  # share of a chunk


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

    def __post_init__(self) -> None:
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
        """Return the chunking with lengths in seconds; the overlap None is a quarter of a chunk.

        Raises:
            TisdissError: the overlap is negative or not shorter than the chunk.
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
        """Return the total samples over all chunks of a recording; overlaps count twice."""
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

    All chunks have full length. The last one ends with the recording, so it may overlap the one
    before it by more than usual; a recording shorter than a chunk becomes one shorter chunk. For
    blocks of any size, the buffer holds at most ``length + hop`` samples, and at most twice the
    recording.

    Example:
        >>> chunker = Chunker(Chunking.in_seconds(8000))
        >>> for block in soundfile.blocks("meeting.wav", 65536, dtype="float32"):
        ...     for chunk in chunker.push(block):
        ...         model(chunk.samples[None])
        >>> for chunk in chunker.finish():  # the rest
        ...     model(chunk.samples[None])
    """

    def __init__(self, chunking: Chunking):
        self.chunking = chunking
        self._held = np.empty(0)  # buffer: samples from self._start on, then free space
        self._start = 0
        self._filled = 0

    def push(self, block: np.ndarray) -> list[Chunk]:
        """Take the next samples (n,), any number; return the chunks they complete."""
        if block.ndim != 1:
            raise ValueError(f"a block must be (samples,), one channel; got {block.shape}")
        length, hop = self.chunking.length, self.chunking.hop
        chunks = []
        while len(block):
            # take samples up to the end of the next chunk
            full = length if self._start == 0 and self._filled < length else length + hop
            taken = block[: full - self._filled]
            self._make_room(len(taken), block.dtype)
            self._held[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            block = block[len(taken) :]
            if self._filled < full:
                break
            if full > length:
                self._drop(hop)
            chunks.append(self._latest())
        return chunks

    def finish(self) -> list[Chunk]:
        """End the recording; return the chunk with its last samples, if not returned yet."""
        length = self.chunking.length
        if self._start == 0 and 0 < self._filled < length:
            return [Chunk(0, self._held[: self._filled].copy())]
        if self._filled > length:
            self._drop(self._filled - length)
            return [self._latest()]
        return []

    def _make_room(self, count: int, dtype: np.dtype) -> None:
        """Grow the buffer by ``count`` samples, at least doubling it."""
        if (needed := self._filled + count) > len(self._held):
            most = self.chunking.length + self.chunking.hop
            room = np.empty(min(most, 2 * needed), dtype)
            room[: self._filled] = self._held[: self._filled]
            self._held = room

    def _drop(self, count: int) -> None:
        """Drop the oldest ``count`` samples."""
        self._held[: self._filled - count] = self._held[count : self._filled].copy()
        self._start += count
        self._filled -= count

    def _latest(self) -> Chunk:
        """Return the buffered samples as a chunk."""
        return Chunk(self._start, self._held[: self._filled].copy())
