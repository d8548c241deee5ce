"""What ``tisdiss separate`` tells of its files."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from espnet2_tisdiss.cli.console import messages, print_json, print_table

if TYPE_CHECKING:  # these bring PyTorch, which takes seconds
    from espnet2_tisdiss.files import Outcome
    from espnet2_tisdiss.recordings import Depths

# what may become of a file, and how it is shown
STYLES = {"done": None, "skipped": "dim", "failed": "red"}


class Report:
    """What is told of the files: a line of each, and a summary.

    Args:
        model_rate: the model's sample rate in Hz.
        channel: what was separated of several channels.
        depths: how deep they were separated.
        scale: how loud the separated files are.
    """

    def __init__(self, model_rate: int, channel: str, depths: "Depths", scale: str):
        self._model_rate, self._channel = model_rate, channel
        self._depths, self._scale = depths, scale
        self._is_interrupted = False
        self._outcomes: list[Outcome] = []
        self._began = time.monotonic()

    def add(self, outcome: "Outcome") -> str:
        """Take what became of a file, and say it in one line."""
        self._outcomes.append(outcome)
        return printable(self._line(outcome))

    def count(self, status: str) -> int:
        """Return the number of files that this became of."""
        return sum(outcome.status == status for outcome in self._outcomes)

    @contextlib.contextmanager
    def shown_at_the_end(self, as_json: bool) -> Iterator[None]:
        """Show the report at the end of the block, and when it is interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            self._is_interrupted = True
            raise
        finally:
            self._show(as_json)

    def _show(self, as_json: bool) -> None:
        """Print the summary, or everything as JSON."""
        done = [outcome for outcome in self._outcomes if outcome.status == "done"]
        audio = sum(outcome.seconds * outcome.separated_channels for outcome in done)
        summary = {status: self.count(status) for status in STYLES}
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
            messages.print(f"Samples go beyond full scale; to listen: {choice}.")
        stop_db, last = self._depths.stop_db, self._depths.n_re[-1]
        if stop_db is not None and done and min(n for one in done for n in one.n_re) == last > 1:
            messages.print(
                f"--stop-db {stop_db:g} stopped nothing before N_re {last}; "
                "tisdiss sweep tells by how many dB each repetition changes the estimates."
            )

    def _line(self, outcome: "Outcome") -> str:
        """Say what became of a file."""
        if outcome.status == "failed":
            return f"failed: {outcome.reason}"
        if outcome.status == "skipped":
            return f"skipped: {outcome.source}: {outcome.outputs[0]} is there"
        parts = [f"{outcome.seconds:.1f} s", f"N_re {_span(outcome.n_re)}"]
        if outcome.channels > 1:
            parts.append(f"{self._channel} of {outcome.channels} channels")
        if outcome.rate != self._model_rate:
            parts.append(f"resampled from {outcome.rate} to {self._model_rate} Hz and back")
            if outcome.rate > self._model_rate:
                parts[-1] += f", nothing above {self._model_rate / 2000:g} kHz"
        if outcome.gain < 1:
            parts.append(f"turned down by {_decibels(1 / outcome.gain):.1f} dB, not to clip")
        elif outcome.peak > 1:
            parts.append(f"peak {_decibels(outcome.peak):+.1f} dB over full scale")
        more = len(outcome.outputs) - 1
        return f"{outcome.source} -> {outcome.outputs[0]} and {more} more: {', '.join(parts)}"

    def _used(self) -> str:
        """Say which repetitions were run."""
        if len(self._depths.n_re) > 1:
            return ", ".join(map(str, self._depths.n_re))
        return _span([n_re for outcome in self._outcomes for n_re in outcome.n_re])


def _span(numbers: Sequence[int]) -> str:
    """Return ``3``, or ``2 to 5``; nothing of none."""
    return " to ".join(map(str, sorted({min(numbers), max(numbers)}))) if numbers else ""


def _decibels(ratio: float) -> float:
    return 20 * math.log10(ratio)


def printable(text: str) -> str:
    """Return a text in one line that every terminal can show: file names may hold anything."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
