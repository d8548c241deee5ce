"""Options for separating recordings and writing files, for Python and the command line."""

import dataclasses
import logging
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from espnet2_tisdiss.audio.writing import OutputFormat
from espnet2_tisdiss.checks import (
    as_list,
    check_choice,
    check_flag,
    check_integer,
    check_n_re,
    check_number,
)
from espnet2_tisdiss.choices import (
    CHANNELS,
    DEFAULT_PROBABILITY,
    DEFAULT_SCALE,
    EXISTING,
    MOST_AT_ONCE,
    RATES,
    SCALES,
    Channel,
    Existing,
    OutputRate,
    Scale,
)
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.separate.budget import TimeBudget, busiest_seconds
from espnet2_tisdiss.separate.chunking import CHUNK_SECONDS, Chunking
from espnet2_tisdiss.separate.interface import Model

# multiple of the training depth beyond which quality falls
FAR_BEYOND = 2


@dataclass(frozen=True)
class RecordingOptions:
    """Options for separating a recording.

    Of ``stop_db``, ``until_db``, ``rtf``, ``seconds`` and ``all_depths`` only one can be chosen.

    Attributes:
        n_re: number of repetitions, or several depths for files; with the options below, the
            maximum. None: the model's default, or with a time limit a third more than in training.
        stop_db: stop when a repetition changes the estimate of a chunk by less than this, in dB, as
            :meth:`SeparateSpeech.until_stable` does; None: never.
        until_db: stop when the SI-SNR of a chunk's estimates probably reaches this many dB, as
            :meth:`SeparateSpeech.until` does; None: never.
        probability: required probability of reaching it.
        rtf: go as deep as this real-time factor allows, seconds of work per second of audio.
        seconds: go as deep as this time allows, in total.
        all_depths: for files: write every depth.
        channel: of several channels, separate their ``mean``, the ``left`` (first) or ``right``
            (second) one, or ``each``.
        scale: output level; see :mod:`~espnet2_tisdiss.separate.loudness`.
        chunk_seconds: length of the chunks that longer recordings are cut into.
        overlap_seconds: overlap of neighbouring chunks; None: a quarter.
        batch_size: maximum number of chunks to separate at once.
        keep_rumble: do not remove content below 20 Hz, which disturbs the model.
        shifts: separate this many copies of each chunk, shifted by parts of the encoder's hop, and
            average them: better, and slower by this factor.

    Raises:
        OptionError: an option is wrong, or options exclude each other.
    """

    n_re: int | Sequence[int] | None = None
    stop_db: float | None = None
    until_db: float | None = None
    probability: float = DEFAULT_PROBABILITY
    rtf: float | None = None
    seconds: float | None = None
    all_depths: bool = False
    channel: Channel = "mean"
    scale: Scale = DEFAULT_SCALE
    chunk_seconds: float = CHUNK_SECONDS
    overlap_seconds: float | None = None
    batch_size: int = 1
    keep_rumble: bool = False
    shifts: int = 1

    def __post_init__(self) -> None:
        check_choice("channel", self.channel, CHANNELS)
        check_choice("scale", self.scale, SCALES)
        check_integer("batch_size", self.batch_size, 1, MOST_AT_ONCE)
        check_flag("all_depths", self.all_depths)
        check_flag("keep_rumble", self.keep_rumble)
        check_number("chunk_seconds", self.chunk_seconds, 0, math.inf)
        if self.overlap_seconds is not None:
            check_number("overlap_seconds", self.overlap_seconds, 0, math.inf)
        check_integer("shifts", self.shifts, 1, MOST_AT_ONCE)
        is_several = len(self.depths) > 1
        check_number("probability", self.probability, 0, 1)
        least = {"stop_db": -math.inf, "until_db": -math.inf, "rtf": 0.0, "seconds": 0.0}
        given = [name for name in least if getattr(self, name) is not None]
        for name in given:
            check_number(name, getattr(self, name), least[name], math.inf)
        given += ["all_depths"] * self.all_depths
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} exclude each other; give one of them")
        if given and is_several:
            raise OptionError(f"several n_re cannot be combined with {given[0]}; give the largest")

    @property
    def depths(self) -> tuple[int, ...]:
        """The chosen depths, ascending; empty for the model's default."""
        if self.n_re is None:
            return ()
        return tuple(sorted({check_n_re("n_re", depth) for depth in as_list(self.n_re)}))

    @property
    def is_several(self) -> bool:
        """Whether there is an estimate at each of several depths."""
        return self.all_depths or len(self.depths) > 1

    @property
    def is_timed(self) -> bool:
        """Whether a time limits the depth."""
        return (self.rtf, self.seconds) != (None, None)

    def chunking(self, sample_rate: int) -> Chunking:
        """Return the chunks in samples at a model's rate.

        Raises:
            TisdissError: the chunk is not longer than the overlap.
        """
        return Chunking.in_seconds(sample_rate, self.chunk_seconds, self.overlap_seconds)

    def for_model(self, model: Model) -> Self:
        """Return the same options with the depths for a model; warn of depths that are too large.

        Raises:
            TisdissError: the model has no reconstructor, or is set to 0 repetitions, or the chunks
                are not longer than their overlap, or the model must be calibrated and is not.
        """
        self.chunking(model.sample_rate)
        if self.until_db is not None:
            model.known_calibration()
        last = max(self.depths, default=None)
        if last is None and self.is_timed:
            last = model.deepest_useful
        last = model.resolve_depth(last)
        trained = model.trained_n_re
        if last > FAR_BEYOND * trained > 0:
            logging.warning(
                "N_re %d is far beyond the %d of the training: deeper than %d is slower, and often "
                "worse",
                *(last, trained, model.deepest_useful),
            )
        depths = tuple(range(1, last + 1)) if self.all_depths else self.depths or (last,)
        return dataclasses.replace(self, n_re=depths, all_depths=False)

    def budget(
        self, durations: Sequence[Sequence[float]], sample_rate: int, jobs: int = 1
    ) -> TimeBudget | None:
        """Return the time of each process for its share of the audio; None if it is not limited.

        Args:
            durations: for each file, the seconds of each channel to separate.
            sample_rate: the model's, in Hz.
            jobs: number of processes.
        """
        total = sum(map(sum, durations))
        seconds = total * self.rtf if self.rtf is not None else self.seconds
        if seconds is None or not total:
            return None
        busiest = busiest_seconds(durations, self.chunking(sample_rate), sample_rate, jobs)
        return TimeBudget(seconds, busiest * self.shifts)


@dataclass(frozen=True)
class FileOptions(RecordingOptions):
    """Options for separating and writing files.

    Attributes:
        output: format of the written files.
        rate: their sample rate: ``same`` as the recording's, the ``model``'s, or in Hz.
        pattern: file names without suffix, with ``{name}``, ``{speaker}`` and, if there are
            several, ``{channel}`` and ``{n_re}``; None: all of these in sequence. ``{ext}`` is the
            suffix of the recording.
        existing: what to do if an output exists: ``refuse``, ``skip`` the recording if all of its
            outputs exist, or ``overwrite``.

    Raises:
        OptionError: an option is wrong, or options exclude each other.
        TisdissError: outputs would share a name, or the pattern has an unknown field.
    """

    output: OutputFormat = field(default_factory=OutputFormat)
    rate: OutputRate = "same"
    pattern: str | None = None
    existing: Existing = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("existing", self.existing, EXISTING)
        if self.rate not in ("same", "model"):
            check_integer("rate", self.rate, RATES[0], RATES[-1])
        _check_pattern(self.file_names, self._fields)

    @property
    def file_names(self) -> str:
        """The pattern of the file names, chosen or default."""
        if self.pattern is not None:
            return self.pattern
        return "".join(_MARKS[field] for field in self._fields)

    def for_model(self, model: Model) -> Self:
        """Return the same options with the depths for a model; the file names stay."""
        return dataclasses.replace(super().for_model(model), pattern=self.file_names)

    def out_rate(self, rate: int, model_rate: int) -> int:
        """Return the sample rate of the outputs for a recording at ``rate`` Hz."""
        if self.rate == "same":
            return self.output.rate_for(rate)
        return self.output.rate_for(model_rate if self.rate == "model" else self.rate)

    @property
    def _fields(self) -> list[str]:
        """The fields without which outputs would share a name."""
        several = {"channel": self.channel == "each", "n_re": self.is_several}
        return [field for field in _MARKS if several.get(field, True)]


_MARKS = {
    "name": "{name}",
    "channel": "_ch{channel}",
    "n_re": "_re{n_re}",
    "speaker": "_spk{speaker}",
}


def _check_pattern(pattern: str, needed: Sequence[str]) -> None:
    """Refuse a pattern that lacks a field, has an unknown one or leaves the output folder."""
    try:
        parsed = list(string.Formatter().parse(pattern))
    except (TypeError, ValueError):  # not a text, or unbalanced braces
        pattern, parsed = str(pattern), []
    marks = [mark for mark in parsed if mark[1] is not None]
    inside = (
        "\0" not in pattern and not Path(pattern).is_absolute() and ".." not in Path(pattern).parts
    )
    plain = all(
        field in (*_MARKS, "ext") and not form and not kind for _, field, form, kind in marks
    )
    if not inside or not plain or not {field for _, field, _, _ in marks}.issuperset(needed):
        wanted = ", ".join(f"{{{field}}}" for field in needed)
        raise TisdissError(
            f"the pattern of file names must hold {wanted} as they are, and stay in the "
            f"output folder: {pattern}"
        )
