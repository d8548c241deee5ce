"""The report of ``tisdiss separate``: one line per file, then a summary."""

import contextlib
import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from espnet2_tisdiss.checks import span
from espnet2_tisdiss.choices import FileStatus
from espnet2_tisdiss.cli.console import messages, print_json, print_table, printable

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.separate.file_result import FileResult
    from espnet2_tisdiss.separate.options import FileOptions

# rich styles of the lines of files
STYLES: dict[FileStatus, str | None] = {"done": None, "skipped": "dim", "failed": "red"}


class SeparationReport:
    """Report of separated files: one line per file, then a summary.

    Args:
        model_rate: sample rate of the model in Hz.
        options: options of the separation, for this model.
    """

    def __init__(self, model_rate: int, options: "FileOptions"):
        self._model_rate, self._options = model_rate, options
        self._is_interrupted = False
        self._results: list[FileResult] = []
        self._began = time.monotonic()

    def add(self, result: "FileResult") -> str:
        """Add the result of a file, and return its line."""
        self._results.append(result)
        return printable(self._line(result))

    def count(self, status: FileStatus) -> int:
        """Return the number of files with a status."""
        return sum(result.status == status for result in self._results)

    @contextlib.contextmanager
    def printed_at_end(self, as_json: bool) -> Iterator[None]:
        """Print the report when the block ends, also after an interrupt or an error."""
        try:
            yield
        except KeyboardInterrupt:
            self._is_interrupted = True
            raise
        finally:
            self._print(as_json)

    def _print(self, as_json: bool) -> None:
        """Print the summary, or the full report as JSON."""
        done = [result for result in self._results if result.status == "done"]
        audio = sum(result.seconds * result.separated_channels for result in done)
        summary: dict[str, Any] = {status: self.count(status) for status in STYLES}
        work = time.monotonic() - self._began
        summary |= {"seconds_of_audio": audio, "seconds_of_work": work}
        if as_json:
            files = [_as_dict(result) for result in self._results]
            summary |= {"n_re": self._options.depths, "interrupted": self._is_interrupted}
            print_json({"files": files, "summary": summary})
            return
        speed = audio / max(work, 1e-3)
        counts = [str(summary[status]) for status in STYLES]
        times = [f"{audio:.1f} s", f"{work:.1f} s", f"{speed:.1f}x real time"]
        print_table([*STYLES, "audio", "time", "speed", "N_re"], [[*counts, *times, self._used()]])
        if any(result.peak > 1 and result.gain == 1 for result in done):
            choice = (
                "--scale level, or peak" if self._options.scale == "estimate" else "--scale peak"
            )
            messages.print(f"Samples exceed full scale; to listen: {choice}.")
        if not done:
            return
        used = [n_re for result in done for n_re in result.n_re]
        if self._options.is_timed:
            self._print_time(work, audio, used)
        stop_db, last = self._options.stop_db, self._options.depths[-1]
        if self._options.until_db is not None and max(used) == last:
            self._print_until(done, last)
        if stop_db is not None and min(used) == last > 1:
            messages.print(
                f"--stop-db {stop_db:g} stopped no chunk before N_re {last}; "
                'the column "change" of tisdiss sweep shows useful thresholds.'
            )

    def _print_time(self, work: float, audio: float, used: Sequence[int]) -> None:
        """Print the time taken and the time allowed; if the former is longer, say why."""
        rtf, seconds = self._options.rtf, self._options.seconds
        if rtf is not None:
            line, is_over = f"RTF {work / audio:.3g}, --rtf {rtf:g}", work / audio > rtf
        else:
            line, is_over = f"{work:.3g} s, --seconds {seconds:g}", work > (seconds or 0)
        if is_over and max(used) == 1:
            line += ": not reached with one repetition; a smaller model or faster device is needed"
        messages.print(line, markup=False, highlight=False)

    def _print_until(self, done: Sequence["FileResult"], last: int) -> None:
        """Print in how many chunks the maximum depth was reached before the wanted quality."""
        chunks = [n_re for result in done for n_re in result.n_re]
        messages.print(
            f"--until {self._options.until_db:g}dB: {chunks.count(last)} of {len(chunks)} chunks "
            f"ended at the maximum, N_re {last}, and may not have reached it.",
            markup=False,
            highlight=False,
        )

    def _line(self, result: "FileResult") -> str:
        """Return the line of a file."""
        if result.status == "failed":
            return f"failed: {result.reason}"
        if result.status == "skipped":
            facts = [f"{result.outputs[0]} exists", *result.notices]
            return f"skipped: {result.source}: {', '.join(facts)}"
        parts = [f"{result.seconds:.1f} s", *result.notices, f"N_re {span(result.n_re)}"]
        if result.expected_si_snr is not None:
            parts.append(f"about {result.expected_si_snr:.0f} dB SI-SNR expected")
        if result.channels > 1:
            parts.append(f"{self._options.channel} of {result.channels} channels")
        if result.rate != self._model_rate:
            parts.append(f"resampled from {result.rate} to {self._model_rate} Hz")
            if result.out_rate == result.rate:
                parts[-1] += " and back"
            if result.rate > self._model_rate:
                parts[-1] += f", nothing above {self._model_rate / 2000:g} kHz"
        if result.out_rate != result.rate:
            parts.append(f"written at {result.out_rate} Hz")
        if result.gain < 1:
            parts.append(f"turned down by {_decibels(1 / result.gain):.1f} dB to avoid clipping")
        elif result.peak > 1:
            parts.append(f"peak {_decibels(result.peak):.1f} dB over full scale")
        more = len(result.outputs) - 1
        return f"{result.source} -> {result.outputs[0]} and {more} more: {', '.join(parts)}"

    def _used(self) -> str:
        """Return the depths that were run."""
        if len(self._options.depths) > 1:
            return ", ".join(map(str, self._options.depths))
        return span([n_re for result in self._results for n_re in result.n_re])


def _as_dict(result: "FileResult") -> dict[str, Any]:
    """Return a result for JSON, its chunks summed up."""
    chunks = dict(sorted(Counter(result.n_re).items()))
    facts = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return facts | {"source": str(result.source), "n_re": list(chunks), "chunks": chunks}


def _decibels(ratio: float) -> float:
    return 20 * math.log10(ratio)
