"""Writing WAV and FLAC files block by block, under a temporary name and renamed when complete."""

import errno
import math
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile

from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.errors import AudioError, TisdissError

CONTAINERS = ("wav", "flac")
BITS = ("16", "24", "float")
# the header of a WAV file counts bytes in 32 bits; 4 kB are left for the header itself
WAV_LIMIT = 2**32 - 2**12


@dataclass(frozen=True)
class OutputFormat:
    """Format of written files.

    Args:
        container: "wav" or "flac".
        bits: "16", "24" or "float" (32 bits); flac has no float.

    Raises:
        ValueError: none of these.
        TisdissError: float samples in flac.
    """

    container: str = "wav"
    bits: str = "float"

    def __post_init__(self):
        check_choice("container", self.container, CONTAINERS)
        check_choice("bits", self.bits, BITS)
        if (self.container, self.bits) == ("flac", "float"):
            raise TisdissError("flac holds no float samples; choose 16 or 24 bits, or wav")

    @property
    def subtype(self) -> str:
        """Sample format, in libsndfile's name."""
        return "FLOAT" if self.bits == "float" else f"PCM_{self.bits}"

    @property
    def suffix(self) -> str:
        """Suffix of file names, with the dot."""
        return f".{self.container}"

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale cannot be held."""
        return self.bits != "float"

    def container_for(self, frames: int) -> str:
        """Container for that many samples, in libsndfile's name: RF64 for wav over 4 GiB."""
        size = frames * (4 if self.bits == "float" else int(self.bits) // 8)
        return "RF64" if self.container == "wav" and size > WAV_LIMIT else self.container.upper()


class AudioWriter:
    """Write a file of one channel: aside, and under its name when it is whole.

    A context manager. The file appears, or takes the place of one of that name, when the block
    ends without an exception and all ``frames`` are there; otherwise nothing is left of it.

    Args:
        path: the file; its folder is made where it lacks.
        rate: samples per second.
        frames: samples that will be written in all.
        output_format: container and sample format.

    Raises:
        AudioError: on entry, if the file cannot be made there; in the block and at its end, if the
            disk does not take it.

    Example:
        >>> with AudioWriter("out/spk1.wav", 8000, spool.frames, OutputFormat()) as writer:
        ...     for block in blocks:
        ...         writer.write(block)
    """

    def __init__(self, path: str | Path, rate: int, frames: int, output_format: OutputFormat):
        self.path = Path(path)
        self._rate, self._frames, self._format = rate, frames, output_format

    def __enter__(self) -> Self:
        with folder_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _check_name(self.path)
            self._aside = self.path.with_name(f".aside-{uuid.uuid4().hex}")
            self._aside.touch(exist_ok=False)
        try:
            with self._disk_errors():
                self._file = soundfile.SoundFile(
                    os.fsencode(self._aside),
                    "w",
                    self._rate,
                    channels=1,
                    subtype=self._format.subtype,
                    format=self._format.container_for(self._frames),
                )
        except BaseException:
            self._aside.unlink()
            raise
        return self

    def write(self, block: np.ndarray) -> None:
        """Append samples (n,).

        Raises:
            AudioError: a sample is not finite, or beyond the full scale of an integer format; the
                disk does not take it.
        """
        peak = float(np.max(np.abs(block), initial=0.0))
        if not math.isfinite(peak):
            raise AudioError(f"{self.path}: would hold a sample that is not finite; not written")
        if self._format.clips and peak > 1:
            raise AudioError(
                f"{self.path}: would be clipped (peak {peak:.3g}); turn it down or write float"
            )
        with self._disk_errors():
            self._file.write(block)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is not None:
                with suppress(soundfile.LibsndfileError):
                    self._file.close()
                return
            with self._disk_errors():
                self._file.close()
                there = soundfile.info(os.fsencode(self._aside)).frames
            if there != self._frames:
                raise AudioError(
                    f"{self.path}: {there} of {self._frames} samples were written; not kept"
                )
            with folder_errors(self.path.parent):
                self._aside.replace(self.path)
        finally:
            self._aside.unlink(missing_ok=True)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except soundfile.LibsndfileError as error:
            # libsndfile does not tell a full disk from other troubles
            reason = error.error_string.rstrip(".")
            raise AudioError(
                f"{self.path}: could not be written ({reason}); is the disk of "
                f"{self.path.parent} full?"
            ) from None


def _check_name(path: Path) -> None:
    """Raise OSError if a file could not get this name: too long, or a folder has it."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")


@contextmanager
def folder_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's errors into one line that names the folder."""
    try:
        yield
    except OSError as error:
        raise AudioError(
            f"{folder}: cannot be written to ({error.strerror}); choose another output folder"
        ) from None
