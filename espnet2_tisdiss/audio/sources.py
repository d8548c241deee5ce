"""Opening the entries of Kaldi's lists: files, parts of archives, outputs of commands, stretches.

An entry of an archive and the output of a command are copied to a temporary file first, so that
one reader decodes them all.
"""

import math
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from espnet2_tisdiss.atomic import PREFIX
from espnet2_tisdiss.audio.channels import Channel
from espnet2_tisdiss.audio.notices import OnNotice
from espnet2_tisdiss.audio.reading import AudioInfo, probe, read_blocks
from espnet2_tisdiss.errors import AudioError
from espnet2_tisdiss.lists import Source

# what Kaldi allows a segment to reach beyond the end of its recording
OVERSHOOT_S = 0.5
COPIED_BYTES = 2**20


@dataclass(frozen=True)
class OpenSource:
    """The audio of an entry, as a file and the stretch of it to use.

    Attributes:
        path: the file.
        info: its form; its frames are those of the stretch.
        first: first sample of the stretch.
        last: the sample after its last one; None: the end of the file.
    """

    path: Path
    info: AudioInfo
    first: int = 0
    last: int | None = None

    def blocks(
        self, channel: Channel = "mean", on_notice: OnNotice | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the samples of the stretch, as :func:`~.reading.read_blocks` does."""
        start = 0
        for block in read_blocks(self.path, channel, on_notice=on_notice):
            stop = None if self.last is None else self.last - start
            part = block[:, max(0, self.first - start) : stop]
            start += block.shape[1]
            if part.shape[1]:
                yield part
            if self.last is not None and start >= self.last:
                return


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
    source = source if isinstance(source, Source) else Source(str(source))
    with as_file(source, folder) as path:
        yield _stretch(source, path, probe(path, on_notice))


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
    if not (source.is_command or source.archive):
        yield Path(source.text)
        return
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as place:
        path = Path(place, "audio")
        try:
            with path.open("wb") as file:
                if source.is_command:
                    _run(source, file)
                else:
                    _copy_entry(source, file)
            yield path
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


def _copy_entry(source: Source, file: IO[bytes]) -> None:
    """Copy the audio file in an entry of an archive: WAV, or what kaldiio marks as AUDIO."""
    path, offset = source.archive
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
