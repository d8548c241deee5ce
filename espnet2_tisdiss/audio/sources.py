"""Opening entries of Kaldi's lists: files, parts of archives, outputs of commands, and segments.

An entry of an archive and the output of a command are first copied to a temporary file, so that the
same reader decodes all of them.
"""

import math
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from espnet2_tisdiss.atomic import PREFIX
from espnet2_tisdiss.audio.notices import Notice, OnNotice
from espnet2_tisdiss.audio.reading import AudioInfo, probe
from espnet2_tisdiss.audio.stretches import OpenSource, SharedBlocks, naming
from espnet2_tisdiss.errors import AudioError
from espnet2_tisdiss.lists import Source

# seconds by which a segment may exceed the end of its recording, as in Kaldi
OVERSHOOT_S = 0.5
COPIED_BYTES = 2**20


class SourceReader:
    """Opens entries of lists one after the other; shared files are fetched and decoded once.

    A context manager. Temporary files stay until an entry with another text is opened.
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
            folder: folder for a temporary file; None: the system's.

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
        stretch = _stretch(source, self._path, self._info)
        return replace(stretch, source=source, shared=self._shared)


@contextmanager
def opened(
    source: Source | Path, folder: str | Path | None = None, on_notice: OnNotice | None = None
) -> Iterator[OpenSource]:
    """Open an entry of a list, or a file.

    Args:
        source: the entry.
        folder: folder for a temporary file; None: the system's.
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
    # a shell command, as in Kaldi; the user has agreed to run the commands of the list
    done = subprocess.run(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = f" ({lines[-1]})" if lines else ""
        raise AudioError(
            f"{source}: the command ended with exit code {done.returncode}{reason}; try it alone"
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
                    f"{source}: no audio starts at byte {offset} of {path}; write the list again"
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
