"""Write audio files block by block, under a temporary name and renamed when complete."""

import errno
import math
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import numpy as np
import soundfile

from espnet2_tisdiss.atomic import check_place
from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.errors import AudioError, TisdissError

Container = Literal["wav", "flac", "mp3", "ogg", "opus"]
CONTAINERS: tuple[Container, ...] = get_args(Container)
Bits = Literal["16", "24", "float"]
BITS: tuple[Bits, ...] = get_args(Bits)
# libsndfile's names of the lossy formats
_LOSSY = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
# the sample rates that a format supports, ascending; libsndfile crashes at others
_RATES: dict[str, Sequence[int]] = {
    "flac": range(1, 655_351),
    "mp3": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "ogg": range(1000, 192_001),
    "opus": (8000, 12_000, 16_000, 24_000, 48_000),
}
# bytes of samples in a WAV file, whose header counts in 32 bits, with 4 kB left for the header
WAV_LIMIT = 2**32 - 2**12


@dataclass(frozen=True)
class OutputFormat:
    """Format of written files.

    Args:
        container: "wav", "flac", "mp3", "ogg" (Vorbis) or "opus".
        bits: "16", "24" or "float" (32 bits); flac has no float, and mp3, ogg and opus have no
            bits. None: float for wav, 24 for flac.

    Raises:
        ValueError: another container or number of bits.
        TisdissError: float samples in flac; bits of mp3, ogg or opus.
    """

    container: Container = "wav"
    bits: Bits | None = None

    def __post_init__(self) -> None:
        check_choice("container", self.container, CONTAINERS)
        if self.container in _LOSSY:
            if self.bits is not None:
                raise TisdissError(f"{self.container} has no --bits; choose wav or flac")
            return
        if self.bits is None:
            object.__setattr__(self, "bits", "float" if self.container == "wav" else "24")
        check_choice("bits", self.bits, BITS)
        if (self.container, self.bits) == ("flac", "float"):
            raise TisdissError("flac cannot store float samples; choose 16 or 24 bits, or wav")

    @property
    def subtype(self) -> str:
        """Sample format, as libsndfile names it."""
        if self.container in _LOSSY:
            return _LOSSY[self.container][1]
        return "FLOAT" if self.bits == "float" else f"PCM_{self.bits}"

    @property
    def suffix(self) -> str:
        """Suffix of file names, with the dot."""
        return f".{self.container}"

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale cannot be stored."""
        return self.bits != "float"

    def rate_for(self, rate: int) -> int:
        """Return the format's lowest sample rate from ``rate`` on, or else its highest."""
        rates = _RATES.get(self.container, (rate,))
        if rate in rates:
            return rate
        return next((other for other in rates if other >= rate), rates[-1])

    def container_for(self, frames: int) -> str:
        """Return the container, as libsndfile names it, for a file of ``frames`` samples.

        A wav file over 4 GiB is RF64.
        """
        if self.bits is None:  # only lossy formats have no subtype
            return _LOSSY[self.container][0]
        size = frames * (4 if self.bits == "float" else int(self.bits) // 8)
        return "RF64" if self.container == "wav" and size > WAV_LIMIT else self.container.upper()


class AudioWriter:
    """Write a mono file under a temporary name; rename it when complete.

    A context manager. When its block ends without an exception and all ``frames`` are written, the
    file gets its name and replaces an existing one. Otherwise it is deleted.

    Args:
        path: the file; its folder is created if needed.
        rate: samples per second.
        frames: total samples; None: not known before the end.
        output_format: container and sample format.
        comment: text to store in the file.

    Raises:
        AudioError: on entry: the file cannot be created there; in the block and at its end: it
            cannot be written, e.g. because the disk is full.

    Example:
        >>> with AudioWriter("out/spk1.wav", 8000, spool.frames, OutputFormat()) as writer:
        ...     for block in blocks:
        ...         writer.write(block)
    """

    def __init__(
        self,
        path: str | Path,
        rate: int,
        frames: int | None,
        output_format: OutputFormat,
        comment: str = "",
    ):
        self.path = Path(path)
        self._rate, self._frames, self._format = rate, frames, output_format
        self._comment = comment

    def __enter__(self) -> Self:
        check_place(self.path)
        with folder_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _check_name(self.path)
            self._temporary = self.path.with_name(f".aside-{uuid.uuid4().hex}")
            self._temporary.touch(exist_ok=False)
        try:
            with self._disk_errors():
                self._file = soundfile.SoundFile(
                    os.fsencode(self._temporary),
                    "w",
                    self._rate,
                    channels=1,
                    subtype=self._format.subtype,
                    format=self._format.container_for(self._frames or 0),
                )
                if self._comment:
                    self._file.comment = self._comment
        except BaseException:
            self._temporary.unlink()
            raise
        return self

    def write(self, block: np.ndarray) -> None:
        """Append samples (n,).

        Raises:
            AudioError: a sample is not finite, or beyond the full scale of an integer format; the
                file cannot be written.
        """
        peak = float(np.max(np.abs(block), initial=0.0))
        if not math.isfinite(peak):
            raise AudioError(f"{self.path}: a sample is not finite; the file was not written")
        if self._format.clips and peak > 1:
            raise AudioError(
                f"{self.path}: would be clipped (peak {peak:.3g}); lower its level or write float"
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
                written = soundfile.info(os.fsencode(self._temporary)).frames
            if self._frames is not None and written != self._frames:
                raise AudioError(
                    f"{self.path}: {written} of {self._frames} samples were written; "
                    "the file was discarded"
                )
            with folder_errors(self.path.parent):
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn libsndfile's errors in the block into AudioErrors."""
        try:
            yield
        except soundfile.LibsndfileError as error:
            # libsndfile does not distinguish a full disk from other errors
            reason = error.error_string.rstrip(".")
            raise AudioError(
                f"{self.path}: could not be written ({reason}); is the disk of "
                f"{self.path.parent} full?"
            ) from None


def read_comment(path: str | Path) -> str:
    """Return the comment in an audio file; empty if there is none or the file cannot be read."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return str(file.comment)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a suffix of headerless formats
        return ""


def _check_name(path: Path) -> None:
    """Raise OSError if the name is too long or names a folder."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")


@contextmanager
def folder_errors(folder: Path) -> Iterator[None]:
    """Turn OSErrors in the block into AudioErrors of one line that name the folder."""
    try:
        yield
    except OSError as error:
        raise AudioError(
            f"{folder}: cannot be written to ({error.strerror}); choose another output folder"
        ) from None
