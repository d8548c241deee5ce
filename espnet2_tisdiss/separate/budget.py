"""The depth that fits a wanted time: calibration of a model on this machine, and its store.

A repetition costs the same every time, so the time of an estimate is a straight line over the
depth: :func:`calibrate` measures it once, :class:`Calibration` reads the depth from it, and
:class:`CalibrationStore` keeps it for the next run. RTF is the real-time factor, seconds of work
for a second of audio.
"""

import bisect
import dataclasses
import hashlib
import json
import logging
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import platformdirs
import torch

import espnet2_tisdiss
from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.network.precision import HALF_TYPES
from espnet2_tisdiss.separate.chunking import CHUNK_SECONDS
from espnet2_tisdiss.separate.protocol import Model

SCHEMA = 1  # of the files written here; another one is not read
LIMIT_S = 20.0  # a calibration adds nothing to what it has when this time is over
SPREAD_QUANTILE = 0.9


class BudgetError(TisdissError):
    """A time that cannot be kept, or a calibration that cannot be made or read."""


@dataclass(frozen=True)
class Conditions:
    """What the speed of a separation depends on: a calibration holds under these alone.

    Attributes:
        model: fingerprint of the model's structure; neither weights nor N_re are part of it.
        device: name of the processor.
        threads: PyTorch's threads.
        dtype: in which the model computes, and whether its weights are kept in it and it is
            compiled.
        torch: version of PyTorch.
        package: version of this package.
    """

    model: str
    device: str
    threads: int
    dtype: str
    torch: str
    package: str

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return those of a model on its device, as this process is set up now."""
        return cls(
            model=_model_fingerprint(model),
            device=_device_name(torch.device(model.device)),
            threads=torch.get_num_threads(),
            dtype=_arithmetic(model),
            torch=torch.__version__,
            package=espnet2_tisdiss.__version__,
        )


@dataclass(frozen=True)
class Calibration:
    """How long a model takes on this machine, by depth.

    Attributes:
        conditions: under which it was measured, and holds.
        seconds: length of the audio it was measured on; attention's share grows with it.
        batch: mixtures separated at once.
        base_rtf: RTF of everything besides the repetitions.
        rtf_per_repetition: RTF that each repetition adds.
        spread: nine in ten of the times measured lay within this fraction of the line.

    Raises:
        ValueError: an RTF is not one that can have been measured.
    """

    conditions: Conditions
    seconds: float
    batch: int
    base_rtf: float
    rtf_per_repetition: float
    spread: float

    def __post_init__(self):
        if not (0 <= self.base_rtf < math.inf and 0 < self.rtf_per_repetition < math.inf):
            raise ValueError(
                "base_rtf must be >= 0 and rtf_per_repetition > 0; "
                f"got {self.base_rtf!r} and {self.rtf_per_repetition!r}"
            )

    @property
    def key(self) -> str:
        """Fingerprint of the conditions, of the audio's length and of the size of the batch."""
        return _key(self.conditions, self.seconds, self.batch)

    def predict(self, n_re: int) -> float:
        """Return the RTF to expect at ``n_re`` repetitions."""
        return self.base_rtf + n_re * self.rtf_per_repetition

    def depth_for(self, rtf: float, most: int | None = None, work: float = 1.0) -> int:
        """Return the largest depth that is expected to keep a real-time factor.

        Args:
            rtf: seconds of work allowed for a second of audio.
            most: no depth beyond this one; None: whatever fits.
            work: seconds to be separated for a second of audio: more than 1 where chunks overlap,
                less where processes share them.

        Returns:
            The largest N_re >= 1 with ``work * predict(N_re) <= rtf``.

        Raises:
            BudgetError: not even one repetition fits.
        """
        _check_positive("a real-time factor", rtf)
        if depth := self._fitting(rtf, most, work):
            return depth
        raise BudgetError(
            f"a real-time factor of {rtf:g} is out of reach here: one repetition needs "
            f"{_rounded_up(self.predict(1) * work):g}; allow that much, or take a faster device or "
            "smaller model"
        )

    def depth_for_seconds(
        self, seconds: float, duration: float, most: int | None = None, work: float = 1.0
    ) -> int:
        """Return the largest depth that is expected to take no longer than a wanted time.

        Args:
            seconds: of work allowed.
            duration: of the audio, in seconds.
            most: no depth beyond this one; None: whatever fits.
            work: as for :meth:`depth_for`.

        Returns:
            As :meth:`depth_for`.

        Raises:
            BudgetError: not even one repetition fits.
        """
        _check_positive("a time", seconds)
        _check_positive("a duration", duration)
        if depth := self._fitting(seconds / duration, most, work):
            return depth
        raise BudgetError(
            f"{seconds:g} s for {duration:g} s of audio are out of reach here: one repetition "
            f"needs {_rounded_up(self.predict(1) * work * duration):g} s; allow that much, or take "
            "a faster device or smaller model"
        )

    def _fitting(self, rtf: float, most: int | None, work: float) -> int:
        """Return the largest depth with ``work * predict(depth) <= rtf``; 0: there is none."""
        _check_positive("work", work)
        last = sys.maxsize - 1 if most is None else check_integer("most", most, 1)
        # searched for, not divided: a quotient is rounded, and may miss the depth that just fits
        return bisect.bisect_right(
            range(1, last + 1), rtf, key=lambda n_re: work * self.predict(n_re)
        )

    def save(self, path: str | Path) -> None:
        """Write to a JSON file.

        Raises:
            BudgetError: it cannot be written.
        """
        _write_json(Path(path), {"schema": SCHEMA, **dataclasses.asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read from a file that :meth:`save` wrote.

        Raises:
            BudgetError: the file is missing, or no calibration of this schema.
        """
        return cls._from_fields(_read_json(Path(path)), Path(path))

    @classmethod
    def _from_fields(cls, fields: dict[str, Any], path: Path) -> Self:
        """Build from what stands in the file ``path``."""
        try:
            return cls(Conditions(**fields.pop("conditions")), **fields)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise BudgetError(f"{path}: no calibration ({error}); calibrate again") from None


class CalibrationStore:
    """The calibrations of this machine, in one JSON file.

    A file that cannot be read is begun anew, with a warning: it holds nothing that could not be
    measured again. Where two processes write at once, the last one's file stands.

    Args:
        path: the file; None: calibrations.json in the user's cache.
    """

    def __init__(self, path: str | Path | None = None):
        default = platformdirs.user_cache_path("tisdiss") / "calibrations.json"
        self.path = default if path is None else Path(path)

    def get(
        self, conditions: Conditions, seconds: float = CHUNK_SECONDS, batch: int = 1
    ) -> Calibration | None:
        """Return what was measured under the same conditions on audio of that length, or None."""
        return self._read().get(_key(conditions, seconds, batch))

    def put(self, calibration: Calibration) -> None:
        """Keep a calibration in the place of an earlier one under the same conditions and length.

        Raises:
            BudgetError: the file cannot be written.
        """
        kept = {**self._read(), calibration.key: calibration}
        entries = {key: dataclasses.asdict(entry) for key, entry in kept.items()}
        _write_json(self.path, {"schema": SCHEMA, "calibrations": entries})

    def _read(self) -> dict[str, Calibration]:
        """Return all calibrations by key; none where the file is missing or cannot be used."""
        if not os.path.exists(self.path):  # or it is where nobody may look
            return {}
        try:
            entries = _read_json(self.path).get("calibrations")
            if not isinstance(entries, dict):
                raise BudgetError(f"{self.path}: no store of calibrations")
            return {k: Calibration._from_fields(v, self.path) for k, v in entries.items()}
        except BudgetError as error:
            logging.warning("the stored calibrations are not used, and begun anew: %s", error)
            return {}


def calibrate(
    model: Model,
    seconds: float = CHUNK_SECONDS,
    n_re: int = 4,
    repeats: int = 5,
    batch: int = 1,
    on_step: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Calibration:
    """Measure how long a model takes on this machine, by depth.

    Runs are timed estimate by estimate, and a line is laid through the medians. The first run
    warms up. After ``LIMIT_S`` seconds nothing is added any more: a slow model's first run counts,
    and ends after two repetitions.

    Args:
        model: the model.
        seconds: length of the audio: that of the pieces which long recordings are cut into.
        n_re: repetitions of each run, 2 or more.
        repeats: runs timed, after the one that warms up.
        batch: mixtures separated at once.
        on_step: called after each repetition: at most ``(1 + repeats) * n_re`` times.
        clock: returns the time in seconds.

    Raises:
        BudgetError: the times do not grow with the depth, as on a very busy machine.
        ValueError: an argument is out of range.
    """
    check_integer("n_re", n_re, 2)
    check_integer("repeats", repeats, 1)
    noise = speech_shaped_noise(seconds, model.sample_rate)
    mixture = np.tile(noise, (check_integer("batch", batch, 1), 1))  # (b, n)
    runs = _timed_runs(model, mixture, n_re, 1 + repeats, on_step, clock)
    base, slope, spread = _line(runs[1:] or runs)
    audio_s = batch * mixture.shape[1] / model.sample_rate
    return Calibration(
        Conditions.of(model), seconds, batch, base / audio_s, slope / audio_s, spread
    )


def kept_calibration(model: Model, seconds: float = CHUNK_SECONDS) -> Calibration:
    """Return the calibration of a model on this machine: the stored one, or else a new one.

    Args:
        model: the model.
        seconds: length of the audio; attention's share grows with it.
    """
    store = CalibrationStore()
    found = store.get(Conditions.of(model), seconds)
    if found is None:
        found = calibrate(model, seconds)
        try:
            store.put(found)
        except BudgetError as error:  # a home that cannot be written to
            logging.warning("the calibration is not kept: %s", error)
    return found


def timed_seconds(chunk_seconds: float, longest: float) -> float:
    """Return the length of audio to calibrate on, for recordings cut into chunks.

    Args:
        chunk_seconds: length of the chunks.
        longest: that of the longest recording, in seconds.

    Returns:
        The chunk's; where all recordings are shorter, the usual chunk's doubled until it holds the
        longest, so that recordings of all lengths share a few calibrations.
    """
    holding = CHUNK_SECONDS * 2 ** max(0, math.ceil(math.log2(longest / CHUNK_SECONDS)))
    return min(chunk_seconds, holding)


def _timed_runs(
    model: Model,
    mixture: np.ndarray,
    n_re: int,
    n_runs: int,
    on_step: Callable[[], None] | None,
    clock: Callable[[], float],
) -> list[list[float]]:
    """Separate a mixture (b, n) again and again, for ``LIMIT_S`` seconds at most.

    Returns:
        For each run the seconds from its beginning to its estimates, ``n_re`` of them or, where
        the time was over, 2 at least.
    """
    deadline = clock() + LIMIT_S
    runs: list[list[float]] = []
    while len(runs) < n_runs and (not runs or clock() < deadline):
        runs.append([])
        began = clock()
        # an estimate is in the host's memory: nothing on a device is left to wait for
        for _ in model.anytime(mixture, n_re, scale="estimate"):
            runs[-1].append(clock() - began)
            if on_step is not None:
                on_step()
            if len(runs[-1]) >= 2 and clock() >= deadline:
                break
    return runs


def _line(runs: list[list[float]]) -> tuple[float, float, float]:
    """Lay a line through the times after 1, 2, ... repetitions.

    Args:
        runs: times in seconds of each run; a run may have ended early.

    Returns:
        The line's value at depth 0, its slope, and the relative deviation of the times from it.
    """
    n_depths = max(map(len, runs))
    medians = [statistics.median(run[k] for run in runs if len(run) > k) for k in range(n_depths)]
    slope, base = statistics.linear_regression(range(1, n_depths + 1), medians)
    if slope <= 0:
        raise BudgetError(
            "another repetition took no longer here: the machine is too busy; calibrate again"
        )
    base = max(base, 0.0)
    deviations = [
        abs(seconds / (base + depth * slope) - 1)
        for run in runs
        for depth, seconds in enumerate(run, start=1)
    ]
    return base, slope, float(np.quantile(deviations, SPREAD_QUANTILE))


def _key(conditions: Conditions, seconds: float, batch: int) -> str:
    """Return the fingerprint that a calibration is kept under."""
    return _fingerprint([dataclasses.asdict(conditions), float(seconds), batch])


def _rounded_up(value: float) -> float:
    """Return a positive number rounded up to two digits, so that to allow it is enough."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit


def _check_positive(name: str, value: float) -> None:
    """Raise BudgetError unless ``value`` is a positive, finite number."""
    if not 0 < value < math.inf:
        raise BudgetError(f"{name} must be a positive number; got {value!r}")


def _arithmetic(model: Model) -> str:
    """Tell how a model computes, as far as its speed depends on it."""
    words = [model.precision]
    if next(model.separator.parameters()).dtype in HALF_TYPES:
        words.append("weights too")
    if model.separator.is_compiled:
        words.append("compiled")
    return ", ".join(words)


def _model_fingerprint(model: Model) -> str:
    """Return a fingerprint of a model's structure, whatever its weights and its N_re."""
    structure = dataclasses.asdict(model.separator.config)
    del structure["reconstructor_repeat_times"]
    options = vars(model.enh_train_args)
    names = ("encoder", "encoder_conf", "decoder", "decoder_conf")
    # a joint model's begin with enh_
    coders = [options.get(f"enh_{name}", options.get(name)) for name in names]
    return _fingerprint([structure, coders, model.sample_rate])


def _fingerprint(value: Any) -> str:
    """Return 16 hexadecimal digits for a value made of what JSON knows."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _device_name(device: torch.device) -> str:
    """Return the name of the processor that ``device`` is."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:  # Linux's only place for it: platform.processor() gives the architecture there, at best
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of this schema, without the schema's number.

    Raises:
        BudgetError: there is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BudgetError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BudgetError(f"{path}: no JSON ({error})") from None
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise BudgetError(f"{path}: not written by this version; calibrate again")
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object of this schema.

    Raises:
        BudgetError: it cannot be written.
    """
    try:
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    except TisdissError as error:
        raise BudgetError(str(error)) from None
