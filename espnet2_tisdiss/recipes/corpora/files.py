"""Finding the files of a corpus, reading and writing audio, and processing many files at once.

The data preparations of the benchmark corpora share this; :mod:`.data_sets` turns the finished
files into data directories. Every error is a ``TisdissError`` with one line that names the file.
Axis letter: n sample.
"""

import http.client
import math
import os
import sys
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.signal import resample_poly

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.checksums import CHECKSUMS, differs, record_first
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.parallel import map_in_processes
from espnet2_tisdiss.recipes.signals import check_rate, read_signal, write_encoded

FULL_SCALE = 2**15  # of 16-bit samples
MAX_PROBLEMS = 10
DOWNLOAD_TIMEOUT_S = 20
CHANNEL_ADVICE = "the corpus has one there: put its own file back"

Version = Literal["min", "max"]


class StorageError(TisdissError):
    """A file could not be written; others would fail in the same way."""


def location(given: Path | None, option: str, variable: str) -> Path | None:
    """Return the folder set by an option, or by a variable of db.sh or the environment.

    Args:
        given: the option's value.
        option: its name, for messages, e.g. ``--wsj0``.
        variable: name of the variable, e.g. ``WSJ0``.

    Returns:
        The folder, absolute; None if neither is set.
    """
    name, folder = (option, given) if given else (variable, os.environ.get(variable))
    if not folder:
        return None
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise TisdissError(f"{name} {folder}: no such folder")
    return folder


def find_root(given: Path | None, option: str, variable: str, what: str) -> Path:
    """Return the folder of a required corpus; see :func:`location`.

    ``what`` describes its content and origin, e.g. ``WSJ0 (LDC93S6A)``.
    """
    if (folder := location(given, option, variable)) is None:
        raise TisdissError(
            f"where is {what}? Set {variable} in db.sh or in the environment, or give "
            f'--local_data_opts "{option} FOLDER"'
        )
    return folder


def fetch(target: Path, url: str, advice: str) -> Path:
    """Return ``target``, a list or a table, which is downloaded if it is missing.

    The checksum of the first download is recorded in its folder, and a different file is refused
    later.

    Args:
        target: where the file is kept.
        url: where it comes from.
        advice: another way to provide the file, e.g. ``give the folder of the lists with --lists``.
    """
    if not target.is_file():
        write_atomically(target, _downloaded(target.name, url, advice))
    if differs(target):
        raise TisdissError(
            f"{target}: is not the file that was downloaded first (see {CHECKSUMS}): put "
            "that one back, or remove both files to download it again"
        )
    record_first(target)
    return target


def _downloaded(name: str, url: str, advice: str) -> bytes:
    """Return the content of an address; see :func:`fetch`."""
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer:
            return answer.read()
    # URLError is an OSError; ValueError: not a URL; HTTPException: ended too early
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise TisdissError(
            f"{name}: not there, and cannot be downloaded from {url} ({reason}): {advice}"
        ) from None


def require_package(distribution: str, who: str) -> None:
    """Check that a Python package, named as pip names it, is installed; ``who`` needs it."""
    if find_spec(distribution.replace("-", "_")) is None:
        raise TisdissError(
            f"{who} need {distribution}, which is not installed: "
            f"{sys.executable} -m pip install {distribution}"
        )


def read_source(path: Path, rate: int, channel: int | None = None) -> np.ndarray:
    """Read one channel of an audio file of a corpus.

    Args:
        path: the file.
        rate: the sample rate in Hz that it must have.
        channel: the channel (from 0) of a file with several; None refuses such a file.

    Returns:
        float64 of shape (n,); full scale of integer formats is 1.

    Raises:
        TisdissError: no such file, not audio, truncated, at another rate, or a sample is not
            finite.
    """
    signal = read_signal(str(path), channel, CHANNEL_ADVICE)
    check_rate(path, signal.rate, rate)
    return signal.samples


def read_unpadded(path: Path, rate: int) -> np.ndarray:
    """Read a source of a mixture (:func:`read_source`) without the zeros that pad its end (max)."""
    samples = np.trim_zeros(read_source(path, rate), "b")
    if len(samples) == 0:
        raise TisdissError(f"{path}: the signal is silent")
    return samples


def to_rate(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Resample samples (n,) from ``rate`` to ``wanted`` Hz, to ceil(n * wanted / rate) samples."""
    if rate == wanted:
        return samples
    common = math.gcd(rate, wanted)
    return resample_poly(samples, wanted // common, rate // common)


def frames_at(frames: int, rate: int, wanted: int) -> int:
    """Return the number of samples that :func:`to_rate` makes of ``frames``."""
    return -(-frames * wanted // rate)


def common_length(lengths: Sequence[int], version: Version) -> int:
    """Return the number of samples of a mixture, given those of its signals."""
    return min(lengths) if version == "min" else max(lengths)


def fit(signals: Sequence[np.ndarray], version: Version) -> list[np.ndarray]:
    """Bring signals (n,) to one length: cut to the shortest (min) or zero-padded to the longest."""
    length = common_length(list(map(len, signals)), version)
    return [np.pad(signal[:length], (0, max(0, length - len(signal)))) for signal in signals]


def quantise(samples: np.ndarray) -> np.ndarray:
    """Return samples as int16, round(2^15 x), saturating; the shape stays."""
    return np.clip(np.round(FULL_SCALE * samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def write_audio(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> None:
    """Write a wav file under a temporary name and rename it when complete.

    Args:
        path: the file.
        samples: (n,) or (n, channels).
        rate: sample rate in Hz.
        subtype: libsndfile's name of the sample format; None: PCM_16 for int16, otherwise FLOAT.

    Raises:
        StorageError: it cannot be written.
    """
    subtype = subtype or ("PCM_16" if samples.dtype == np.int16 else "FLOAT")
    try:
        write_encoded(path, samples, rate, subtype, "WAV")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None


def do_all[Item, Result](
    function: Callable[[Item], Result], items: Sequence[Item], nj: int, label: str
) -> list[Result]:
    """Apply a function to all items, even if it fails for some.

    Args:
        function: a picklable function (module level, or a partial of one).
        items: picklable arguments.
        nj: number of processes.
        label: shown with the progress and in messages.

    Returns:
        The results in the order of the items.

    Raises:
        TisdissError: up to ten lines about items that failed with a TisdissError or an OSError; all
            others are done. After a :class:`StorageError`, the remaining items are not tried.
    """
    results: list[Result] = []
    problems: list[str] = []
    outcomes = map_in_processes(partial(_attempt, function), items, nj, label)
    for outcome in outcomes:
        if isinstance(outcome, StorageError):
            outcomes.close()
            raise TisdissError(f"{outcome}; correct that and run again to continue from here")
        if isinstance(outcome, TisdissError):
            problems.append(str(outcome))
        else:
            results.append(outcome)
    if problems:
        lines = problems[:MAX_PROBLEMS]
        if more := len(problems) - len(lines):
            lines.append(f"and {more} more like these")
        lines.append(
            f"{label}: {len(problems)} of {len(items)} failed, the others are done; correct these "
            "and run again"
        )
        raise TisdissError("\n".join(lines))
    return results


def _attempt[Item, Result](function: Callable[[Item], Result], item: Item) -> Result | TisdissError:
    try:
        return function(item)
    except (TisdissError, OSError) as error:
        # a new error: the raised one keeps its cause and all frames up to here
        kind = StorageError if isinstance(error, StorageError) else TisdissError
        return kind(str(error))
