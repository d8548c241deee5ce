"""The report of ``tisdiss separate``: one line per file, then a summary."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from espnet2_tisdiss.cli.console import messages, print_json, print_table

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.separate.files import Outcome
    from espnet2_tisdiss.separate.recordings import Depths

FileStatus = Literal["done", "skipped", "failed"]
# rich styles of the lines of files
STYLES: dict[FileStatus, str | None] = {"done": None, "skipped": "dim", "failed": "red"}


class SeparationReport:
    """Report of separated files: one line per file, then a summary.

    Args:
        model_rate: sample rate of the model in Hz.
        channel: the option ``--channel``.
        depths: depths of the separation.
        scale: the option ``--scale``.
    """

    def __init__(self, model_rate: int, channel: str, depths: "Depths", scale: str):
        self._model_rate, self._channel = model_rate, channel
        self._depths, self._scale = depths, scale
        self._is_interrupted = False
        self._outcomes: list[Outcome] = []
        self._began = time.monotonic()

    def add(self, outcome: "Outcome") -> str:
        """Add the outcome of a file, and return its line."""
        self._outcomes.append(outcome)
        return printable(self._line(outcome))

    def count(self, status: FileStatus) -> int:
        """Return the number of files with a status."""
        return sum(outcome.status == status for outcome in self._outcomes)

    @contextlib.contextmanager
    def printed_at_end(self, as_json: bool) -> Iterator[None]:
        """Print the report when the block ends, also by an interrupt or an error."""
        try:
            yield
        except KeyboardInterrupt:
            self._is_interrupted = True
            raise
        finally:
            self._print(as_json)

    def _print(self, as_json: bool) -> None:
        """Print the summary, or the full report as JSON."""
        done = [outcome for outcome in self._outcomes if outcome.status == "done"]
        audio = sum(outcome.seconds * outcome.separated_channels for outcome in done)
        summary: dict[str, Any] = {status: self.count(status) for status in STYLES}
        summary |= {"seconds_of_audio": audio, "seconds_of_work": time.monotonic() - self._began}
        if as_json:
            files = [dataclasses.asdict(outcome) for outcome in self._outcomes]
            summary |= {"n_re": self._depths.n_re, "interrupted": self._is_interrupted}
            print_json({"files": files, "summary": summary})
            return
        speed = audio / max(summary["seconds_of_work"], 1e-3)
        counts = [str(summary[status]) for status in STYLES]
        times = [f"{audio:.1f} s", f"{summary['seconds_of_work']:.1f} s", f"{speed:.1f}x real time"]
        print_table([*STYLES, "audio", "time", "speed", "N_re"], [[*counts, *times, self._used()]])
        if any(outcome.peak > 1 and outcome.gain == 1 for outcome in done):
            choice = "--scale level, or peak" if self._scale == "estimate" else "--scale peak"
            messages.print(f"Samples exceed full scale; to listen: {choice}.")
        stop_db, last = self._depths.stop_db, self._depths.n_re[-1]
        if stop_db is not None and done and min(n for one in done for n in one.n_re) == last > 1:
            messages.print(
                f"--stop-db {stop_db:g} stopped nothing before N_re {last}; "
                'the column "change" of tisdiss sweep shows useful thresholds.'
            )

    def _line(self, outcome: "Outcome") -> str:
        """Return the line of a file."""
        if outcome.status == "failed":
            return f"failed: {outcome.reason}"
        if outcome.status == "skipped":
            return f"skipped: {outcome.source}: {outcome.outputs[0]} exists"
        parts = [f"{outcome.seconds:.1f} s", *outcome.notices, f"N_re {_span(outcome.n_re)}"]
        if outcome.channels > 1:
            parts.append(f"{self._channel} of {outcome.channels} channels")
        if outcome.rate != self._model_rate:
            parts.append(f"resampled from {outcome.rate} to {self._model_rate} Hz")
            if outcome.out_rate == outcome.rate:
                parts[-1] += " and back"
            if outcome.rate > self._model_rate:
                parts[-1] += f", nothing above {self._model_rate / 2000:g} kHz"
        if outcome.out_rate != outcome.rate:
            parts.append(f"written at {outcome.out_rate} Hz")
        if outcome.gain < 1:
            parts.append(f"turned down by {_decibels(1 / outcome.gain):.1f} dB to avoid clipping")
        elif outcome.peak > 1:
            parts.append(f"peak {_decibels(outcome.peak):.1f} dB over full scale")
        more = len(outcome.outputs) - 1
        return f"{outcome.source} -> {outcome.outputs[0]} and {more} more: {', '.join(parts)}"

    def _used(self) -> str:
        """Return the depths that were run."""
        if len(self._depths.n_re) > 1:
            return ", ".join(map(str, self._depths.n_re))
        return _span([n_re for outcome in self._outcomes for n_re in outcome.n_re])


def _span(numbers: Sequence[int]) -> str:
    """Return the range of numbers as ``3`` or ``2 to 5``; empty if there are none."""
    return " to ".join(map(str, sorted({min(numbers), max(numbers)}))) if numbers else ""


def _decibels(ratio: float) -> float:
    return 20 * math.log10(ratio)


def printable(text: str) -> str:
    """Return a text with unprintable characters escaped; file names may contain any."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
