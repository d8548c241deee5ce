"""Opening the entries of Kaldi's lists: files, parts of archives, outputs of commands, stretches.

An entry of an archive and the output of a command are copied to a temporary file first, so that
one reader decodes them all.
"""

import math
import subprocess
import tempfile
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from espnet2_tisdiss.atomic import PREFIX
from espnet2_tisdiss.audio.channels import Channel
from espnet2_tisdiss.audio.notices import Notice, OnNotice
from espnet2_tisdiss.audio.reading import AudioInfo, probe, read_blocks
from espnet2_tisdiss.errors import AudioError
from espnet2_tisdiss.lists import Source

# what Kaldi allows a segment to reach beyond the end of its recording
OVERSHOOT_S = 0.5
COPIED_BYTES = 2**20
# blocks that are kept for a stretch that overlaps the one before
HELD_BLOCKS = 12


@dataclass(frozen=True)
class OpenSource:
    """The audio of an entry, as a file and the stretch of it to use.

    Attributes:
        path: the file.
        info: its form; its frames are those of the stretch.
        first: first sample of the stretch.
        last: the sample after its last one; None: the end of the file.
        shared: reads the file, for several stretches.
    """

    path: Path
    info: AudioInfo
    first: int = 0
    last: int | None = None
    shared: "SharedBlocks | None" = None

    def blocks(
        self, channel: Channel = "mean", on_notice: OnNotice | None = None
    ) -> Generator[np.ndarray, None, None]:
        """Yield the samples of the stretch, as :func:`~.reading.read_blocks` does."""
        if self.shared is not None:
            numbered = self.shared.blocks(self.first, channel, on_notice)
        else:
            numbered = _numbered(read_blocks(self.path, channel, on_notice=on_notice))
        with closing(numbered) as blocks:
            for start, block in blocks:
                stop = None if self.last is None else self.last - start
                part = block[:, max(0, self.first - start) : stop]
                if part.shape[1]:
                    yield part
                if self.last is not None and start + block.shape[1] >= self.last:
                    return


def _numbered(
    found: Generator[np.ndarray, None, None],
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield blocks (c, n) with the number of their first sample."""
    start = 0
    with closing(found) as blocks:
        for block in blocks:
            yield start, block
            start += block.shape[1]


class SharedBlocks:
    """The samples of a file for stretches of it, which mostly follow each other.

    A stretch is read on from the one before, so that a long file is decoded once, not once for each
    stretch. Only a stretch that begins before the blocks at hand starts again. Close it in the end.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._channel: Channel = "mean"
        self._blocks: Generator[tuple[int, np.ndarray], None, None] | None = None
        # stretches may overlap; blocks of some seconds, so that memory stays bounded
        self._held: deque[tuple[int, np.ndarray]] = deque(maxlen=HELD_BLOCKS)
        self._notices: list[Notice] = []

    def blocks(
        self, first: int, channel: Channel, on_notice: OnNotice | None
    ) -> Generator[tuple[int, np.ndarray], None, None]:
        """Yield blocks with the number of their first sample, from that with ``first`` on."""
        reached = bool(self._held) and self._held[0][0] <= first
        if self._blocks is None or channel != self._channel or not reached:
            self.close()
            self._held.clear()
            self._notices.clear()
            read = read_blocks(self._path, channel, on_notice=self._notices.append)
            self._blocks, self._channel = _numbered(read), channel
        passed = self._pass_on(0, on_notice)
        for start, block in list(self._held):
            if start + block.shape[1] > first:
                yield start, block
        while (following := self._next()) is not None:
            passed = self._pass_on(passed, on_notice)
            start, block = following
            if start + block.shape[1] > first:
                yield start, block
        self._pass_on(passed, on_notice)

    def close(self) -> None:
        """Close the file."""
        if self._blocks is not None:
            self._blocks.close()

    def _next(self) -> tuple[int, np.ndarray] | None:
        """Return the next block, which is held, too; None at the end."""
        try:
            following = None if self._blocks is None else next(self._blocks, None)
        except AudioError:
            self._blocks = None  # for a stretch before the fault
            raise
        if following is not None:
            self._held.append(following)
        return following

    def _pass_on(self, passed: int, on_notice: OnNotice | None) -> int:
        """Pass on the notices from a number on, or refuse losses; return their number."""
        for notice in self._notices[passed:]:
            if on_notice is not None:
                on_notice(notice)
            elif notice.is_loss:
                raise AudioError(f"{self._path}: {notice.text}; replace it")
        return len(self._notices)


class SourceReader:
    """Opens entries of lists one after the other; what they share is fetched and decoded once.

    A context manager. Temporary files stay until the next entry of another text is opened.
    """

    def __init__(self) -> None:
        self._text: str | None = None
        self._stack = ExitStack()
        self._notices: list[Notice] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def open(
        self,
        source: Source | Path,
        on_notice: OnNotice | None = None,
        folder: str | Path | None = None,
    ) -> OpenSource:
        """Return an entry, to be read before the next one is opened.

        Args:
            source: the entry.
            on_notice: as for :func:`~.reading.probe`.
            folder: where a temporary file may be; None: the system's folder for them.

        Raises:
            AudioError: its audio cannot be read; the message names the entry.
        """
        source = source if isinstance(source, Source) else Source(str(source))
        if source.text != self._text or not source.is_stretch:
            self._text = None
            self._stack.close()
            path = self._stack.enter_context(as_file(source, folder))
            self._notices = []
            with naming(path, source):
                self._info = probe(path, self._notices.append)
            self._shared = None
            if source.is_stretch:
                self._shared = self._stack.enter_context(closing(SharedBlocks(path)))
            self._path, self._text = path, source.text
        for notice in self._notices:
            if on_notice is not None:
                on_notice(notice)
            elif notice.is_loss:
                raise AudioError(f"{source}: {notice.text}; replace it")
        return replace(_stretch(source, self._path, self._info), shared=self._shared)


@contextmanager
def opened(
    source: Source | Path, folder: str | Path | None = None, on_notice: OnNotice | None = None
) -> Iterator[OpenSource]:
    """Open an entry of a list, or a file.

    Args:
        source: the entry.
        folder: where a temporary file may be; None: the system's folder for them.
        on_notice: as for :func:`~.reading.probe`.

    Raises:
        AudioError: its audio cannot be read; the message names the entry.
    """
    with SourceReader() as reader:
        yield reader.open(source, on_notice, folder)


def probe_source(source: Source | Path, on_notice: OnNotice | None = None) -> AudioInfo:
    """Return what :func:`~.reading.probe` returns, for an entry of a list."""
    with opened(source, on_notice=on_notice) as audio:
        return audio.info


@contextmanager
def as_file(source: Source, folder: str | Path | None = None) -> Iterator[Path]:
    """Provide the file that holds an entry's audio; errors in the block name the entry.

    Raises:
        AudioError: the archive cannot be read, or the command fails.
    """
    archive = source.archive
    if not (source.is_command or archive):
        yield Path(source.text)
        return
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as place:
        path = Path(place, "audio")
        with naming(path, source):
            with path.open("wb") as file:
                if archive:
                    _copy_entry(source, *archive, file)
                else:
                    _run(source, file)
            yield path


@contextmanager
def naming(path: Path, source: Source) -> Iterator[None]:
    """Let errors in the block name the entry, not its temporary file."""
    try:
        yield
    except AudioError as error:
        raise AudioError(str(error).replace(str(path), source.text)) from None


def _stretch(source: Source, path: Path, info: AudioInfo) -> OpenSource:
    """Return the stretch of the opened file."""
    if not source.is_stretch:
        return OpenSource(path, info)
    first = round(source.start * info.rate)
    if first >= info.frames or info.duration + OVERSHOOT_S < source.stop < math.inf:
        raise AudioError(
            f"{source}: the audio ends at {info.duration:g} s; correct its line in segments"
        )
    last = None if source.stop >= info.duration else round(source.stop * info.rate)
    frames = (info.frames if last is None else last) - first
    if frames <= 0:
        raise AudioError(f"{source}: holds no samples; correct its line in segments")
    return OpenSource(path, replace(info, frames=frames), first, last)


def _run(source: Source, file: IO[bytes]) -> None:
    """Write the output of a command to a file."""
    command = source.text.removesuffix("|")
    # a line of a shell, as in Kaldi; whoever reads the list has agreed to run it
    done = subprocess.run(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = f" ({lines[-1]})" if lines else ""
        raise AudioError(
            f"{source}: the command ended with exit code {done.returncode}{reason}; run it alone"
        )


def _copy_entry(source: Source, path: Path, offset: int, file: IO[bytes]) -> None:
    """Copy the audio file in an entry of an archive: WAV, or what kaldiio marks as AUDIO."""
    try:
        with path.open("rb") as archive:
            archive.seek(offset)
            mark = archive.read(8)
            if mark[:5] == b"AUDIO":  # then the number of bytes of the size, the size, the file
                archive.seek(offset + 5)
                size = int.from_bytes(archive.read(int.from_bytes(archive.read(1))), "little")
            elif mark[:4] == b"RIFF":
                archive.seek(offset)
                size = 8 + int.from_bytes(mark[4:], "little")
            else:
                raise AudioError(
                    f"{source}: no audio starts at byte {offset} of {path}; write the list anew"
                )
            while size > 0 and (block := archive.read(min(size, COPIED_BYTES))):
                file.write(block)
                size -= len(block)
    except OSError as error:
        raise AudioError(
            f"{source}: {path} cannot be read ({error.strerror}); check its name and permissions"
        ) from None
    if size > 0:
        raise AudioError(f"{source}: truncated: {size} bytes are missing in {path}; replace it")
