"""Resampling of streams, block by block, with exact lengths."""

import numpy as np
import soxr

from espnet2_tisdiss.checks import check_integer


class Resampler:
    """Change the rate of a stream of blocks, without delay and with an exact length.

    The output does not depend on how the input is cut into blocks. Equal rates pass samples
    through as they are.

    Args:
        from_rate: samples per second that go in.
        to_rate: samples per second that come out.
        rows: signals of a block, e.g. channels or speakers.
        total: samples to give in all: the end is cut or filled with silence; None:
            ceil(n * to_rate / from_rate) for n samples in, so that there and back with the
            original length as ``total`` never has to fill.

    Raises:
        ValueError: a rate or ``rows`` is no integer >= 1, ``total`` no integer >= 0.
    """

    def __init__(self, from_rate: int, to_rate: int, rows: int = 1, total: int | None = None):
        self.from_rate = check_integer("from_rate", from_rate, 1)
        self.to_rate = check_integer("to_rate", to_rate, 1)
        self.rows = check_integer("rows", rows, 1)
        self._total = total if total is None else check_integer("total", total, 0)
        self._taken = self._given = 0
        # soxr's own start and end are symmetric: it removes its filter's delay itself
        self._stream = soxr.ResampleStream(from_rate, to_rate, rows, dtype="float32", quality="HQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block (rows, n) and return the samples finished by it (rows, m), m may be 0."""
        self._taken += block.shape[1]
        return self._limit(self._convert(block), self._total)

    def finish(self) -> np.ndarray:
        """Return the rest (rows, m); nothing may be pushed after it."""
        total = self._total
        if total is None:
            total = _ceil_ratio(self._taken, self.to_rate, self.from_rate)
        # soxr rounds its length; silence behind the end brings it up to `total`
        lacking = max(0, _ceil_ratio(total, self.from_rate, self.to_rate) - self._taken)
        silence = np.zeros((self.rows, lacking), np.float32)
        return self._limit(self._convert(silence, last=True), total)

    def _convert(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        block = np.asarray(block, np.float32)
        if self.from_rate == self.to_rate:
            return block
        frames = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.ascontiguousarray(frames.T)

    def _limit(self, block: np.ndarray, total: int | None) -> np.ndarray:
        if total is not None:
            block = block[:, : total - self._given]
        self._given += block.shape[1]
        return block


def _ceil_ratio(n: int, numerator: int, denominator: int) -> int:
    return -(-n * numerator // denominator)
