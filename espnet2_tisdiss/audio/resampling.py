"""Resample streams block by block, with exact lengths."""

import numpy as np
import soxr

from espnet2_tisdiss.checks import check_integer


class Resampler:
    """Change the rate of a stream of blocks, without delay and with an exact length.

    The output does not depend on the division into blocks. With equal rates samples pass unchanged.

    Args:
        from_rate: samples per second of the input.
        to_rate: samples per second of the output.
        rows: signals of a block, e.g. channels or speakers.
        total: samples of the output, whose end is cut or filled with silence; None:
            ceil(n * to_rate / from_rate) for n input samples. Resampling this output back with
            ``total`` = n never needs filling.

    Attributes:
        total: the argument; it may be set until :meth:`finish`.

    Raises:
        ValueError: a rate or ``rows`` is not an integer >= 1, or ``total`` not an integer >= 0.
    """

    def __init__(self, from_rate: int, to_rate: int, rows: int = 1, total: int | None = None):
        self.from_rate = check_integer("from_rate", from_rate, 1)
        self.to_rate = check_integer("to_rate", to_rate, 1)
        self.rows = check_integer("rows", rows, 1)
        self.total = total if total is None else check_integer("total", total, 0)
        self._consumed = self._produced = 0
        # soxr compensates for the delay of its filter
        self._stream = soxr.ResampleStream(from_rate, to_rate, rows, dtype="float32", quality="HQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """Consume a block (rows, n) and return the samples (rows, m) it completes, m >= 0."""
        self._consumed += block.shape[1]
        return self._limit(self._convert(block), self.total)

    def finish(self) -> np.ndarray:
        """Return the remaining samples (rows, m); no ``push`` may follow."""
        total = self.total
        if total is None:
            total = _ceil_ratio(self._consumed, self.to_rate, self.from_rate)
        # soxr rounds the output's length; silence at the input's end extends it to `total`
        missing = max(0, _ceil_ratio(total, self.from_rate, self.to_rate) - self._consumed)
        silence = np.zeros((self.rows, missing), np.float32)
        return self._limit(self._convert(silence, last=True), total)

    def _convert(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample a block (rows, n) as float32."""
        block = np.asarray(block, np.float32)
        if self.from_rate == self.to_rate:
            return block
        frames = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.ascontiguousarray(frames.T)

    def _limit(self, block: np.ndarray, total: int | None) -> np.ndarray:
        """Cut a block (rows, m) of the output where the output reaches ``total`` samples."""
        if total is not None:
            block = block[:, : total - self._produced]
        self._produced += block.shape[1]
        return block


def _ceil_ratio(n: int, numerator: int, denominator: int) -> int:
    """Return ceil(n * numerator / denominator)."""
    return -(-n * numerator // denominator)
