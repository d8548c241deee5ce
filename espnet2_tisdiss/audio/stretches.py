"""The samples of an opened file, or of a stretch of it; several stretches share its decoder.

Axis letters: c channel, n sample.
"""

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.notices import Notice, OnNotice
from espnet2_tisdiss.audio.reading import AudioInfo, checked_channels, decoded, pass_on
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.choices import CHANNELS, Channel
from espnet2_tisdiss.errors import AudioError
from espnet2_tisdiss.lists import Source

# blocks kept for a stretch that overlaps the previous one
HELD_BLOCKS = 12


@dataclass(frozen=True)
class OpenSource:
    """The audio of an entry, as a file and the stretch of it to use.

    Attributes:
        path: the file.
        info: its format; the number of frames is that of the stretch.
        first: first sample of the stretch.
        last: the sample after its last one; None: the end of the file.
        source: the entry, which errors name; None: the file.
        shared: reads the file, for several stretches.
    """

    path: Path
    info: AudioInfo
    first: int = 0
    last: int | None = None
    source: Source | None = None
    shared: "SharedBlocks | None" = None

    def blocks(
        self, channel: Channel = "mean", on_notice: OnNotice | None = None
    ) -> Generator[np.ndarray, None, None]:
        """Yield the samples of the stretch, as :func:`~.reading.read_blocks` does."""
        check_choice("channel", channel, CHANNELS)
        with self._naming(), closing(self._parts("float32", on_notice)) as parts:
            for start, part in parts:
                yield checked_channels(self.path, part, start, self.info.rate, channel)

    def samples(self) -> np.ndarray:
        """Return the samples of the stretch, as :func:`~.reading.read_samples` does."""
        with self._naming(), closing(self._parts("float64", None)) as parts:
            return np.concatenate([part for _, part in parts])

    def _naming(self) -> AbstractContextManager[None]:
        return nullcontext() if self.source is None else naming(self.path, self.source)

    def _parts(
        self, dtype: str, on_notice: OnNotice | None
    ) -> Generator[tuple[int, np.ndarray], None, None]:
        """Yield parts (n, c) of the stretch with the number of their first sample in the file."""
        if self.shared is not None:
            numbered = self.shared.blocks(self.first, dtype, on_notice)
        else:
            numbered = _numbered(decoded(self.path, dtype, on_notice))
        with closing(numbered) as blocks:
            for start, block in blocks:
                skipped = max(0, self.first - start)
                part = block[skipped : None if self.last is None else self.last - start]
                if len(part):
                    yield start + skipped, part
                if self.last is not None and start + len(block) >= self.last:
                    return


def _numbered(
    found: Generator[tuple[int, np.ndarray], None, None],
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield blocks (n, c), given with their rate, with the number of their first sample."""
    start = 0
    with closing(found) as blocks:
        for _, block in blocks:
            yield start, block
            start += len(block)


class SharedBlocks:
    """The samples of a file for stretches of it that are mostly consecutive.

    Reading continues from the previous stretch, so that a long file is decoded once, not once per
    stretch. It starts again only for a stretch that begins before the blocks kept in memory. Close
    it at the end.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._dtype = ""
        self._blocks: Generator[tuple[int, np.ndarray], None, None] | None = None
        # stretches may overlap; blocks of some seconds, so that memory stays bounded
        self._held: deque[tuple[int, np.ndarray]] = deque(maxlen=HELD_BLOCKS)
        self._notices: list[Notice] = []

    def blocks(
        self, first: int, dtype: str, on_notice: OnNotice | None
    ) -> Generator[tuple[int, np.ndarray], None, None]:
        """Yield blocks (n, c) with the number of their first sample, from that of ``first`` on."""
        reached = bool(self._held) and self._held[0][0] <= first
        if self._blocks is None or dtype != self._dtype or not reached:
            self.close()
            self._held.clear()
            self._notices.clear()
            read = decoded(self._path, dtype, self._notices.append)
            self._blocks, self._dtype = _numbered(read), dtype
        passed = pass_on(self._path, self._notices, 0, on_notice)
        for start, block in list(self._held):
            if start + len(block) > first:
                yield start, block
        while (following := self._next()) is not None:
            passed = pass_on(self._path, self._notices, passed, on_notice)
            start, block = following
            if start + len(block) > first:
                yield start, block
        pass_on(self._path, self._notices, passed, on_notice)

    def close(self) -> None:
        """Close the file."""
        if self._blocks is not None:
            self._blocks.close()

    def _next(self) -> tuple[int, np.ndarray] | None:
        """Return the next block, which is also kept; None at the end."""
        try:
            following = None if self._blocks is None else next(self._blocks, None)
        except AudioError:
            self._blocks = None  # kept for a stretch before the fault
            raise
        if following is not None:
            self._held.append(following)
        return following


@contextmanager
def naming(path: Path, source: Source) -> Iterator[None]:
    """Make errors in the block name the entry, not its temporary file."""
    try:
        yield
    except AudioError as error:
        raise AudioError(str(error).replace(str(path), source.text)) from None
