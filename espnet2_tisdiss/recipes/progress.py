"""Progress on stderr: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_EVERY_S = 30.0


class Progress:
    """Counts finished items of a known total and estimates the time left.

    Args:
        total: number of items.
        label: name of the work, shown before the counts.
        unit: name of one item.
    """

    def __init__(self, total: int, label: str, unit: str = "utt") -> None:
        """Start the clock; nothing is shown before the first item."""
        self.total = total
        self.label = label
        self.unit = unit
        self.done = 0
        self._began = self._line_at = time.monotonic()
        self._bar = (
            tqdm(total=total, desc=label, unit=unit, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar, or write the last line if all went well."""
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self.total:
            self._write_line()

    def reach(self, done: int) -> None:
        """Report that ``done`` items, counted from the start, are finished."""
        step, self.done = done - self.done, done
        if self._bar is not None:
            self._bar.update(step)
        elif time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._write_line()

    def _write_line(self) -> None:
        self._line_at = time.monotonic()
        spent = self._line_at - self._began
        text = f"{self.label}: {self.done}/{self.total} {self.unit}, {tqdm.format_interval(spent)}"
        if 0 < self.done < self.total:
            left = spent / self.done * (self.total - self.done)
            text += f" spent, {tqdm.format_interval(left)} left"
        print(text, file=sys.stderr, flush=True)
