"""Signals stored on disk for a second pass."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np

from espnet2_tisdiss.audio.writing import folder_errors
from espnet2_tisdiss.checks import check_integer


class Spool:
    """Signals stored on disk as float32 for a second pass, because they may not fit in memory.

    A context manager. The file is temporary, without a name where the system supports it, and is
    deleted when the block ends.

    Args:
        folder: folder of the file, created if needed; that of the output has enough space.
        rows: number of signals, e.g. speakers.

    Raises:
        AudioError: the folder cannot be written to.

    Attributes:
        rows: number of signals.
        frames: samples of each signal so far.
    """

    def __init__(self, folder: str | Path, rows: int):
        self.rows = check_integer("rows", rows, 1)
        self.frames = 0
        self._folder = Path(folder)
        with folder_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(prefix=".aside-", dir=self._folder)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # closing writes the buffer again after an error, e.g. a full disk; the data is not needed
        with suppress(OSError):
            self._file.close()

    def append(self, block: np.ndarray) -> None:
        """Append samples (rows, n).

        Raises:
            AudioError: the file cannot be written, e.g. because the disk is full.
            ValueError: the block has another number of rows.
        """
        if len(block) != self.rows:
            raise ValueError(f"blocks must have {self.rows} rows; got {block.shape}")
        with folder_errors(self._folder):
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.ascontiguousarray(block.T, np.float32).data)
            self._file.flush()
        self.frames += block.shape[1]

    def blocks(self, length: int = 2**16) -> Iterator[np.ndarray]:
        """Yield all samples from the start, in float32 blocks (rows, n) with n <= ``length``."""
        for start in range(0, self.frames, length):
            yield self._read(start, min(length, self.frames - start))

    def _read(self, start: int, length: int) -> np.ndarray:
        """Return ``length`` samples (rows, n) from sample ``start`` on."""
        self._file.seek(start * self.rows * np.dtype(np.float32).itemsize)
        frames = np.fromfile(self._file, np.float32, length * self.rows)
        return np.ascontiguousarray(frames.reshape(length, self.rows).T)
