"""Progress on stderr: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_EVERY_S = 30.0


@contextmanager
def progress(total: int, label: str, unit: str = "utt") -> Iterator[Callable[[int], object]]:
    """Provide a function that takes the number of items finished so far.

    Lines tell the time left; the last one is written if the block succeeds.

    Args:
        total: number of items.
        label: name of the work, shown before the counts.
        unit: name of one item.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=label, unit=unit, dynamic_ncols=True) as bar:
            yield lambda done: bar.update(done - bar.n)
        return
    reached = 0
    began = line_at = time.monotonic()

    def write_line() -> None:
        spent = time.monotonic() - began
        text = f"{label}: {reached}/{total} {unit}, {tqdm.format_interval(spent)}"
        if 0 < reached < total:
            left = spent / reached * (total - reached)
            text += f" spent, {tqdm.format_interval(left)} left"
        print(text, file=sys.stderr, flush=True)

    def reach(done: int) -> None:
        nonlocal reached, line_at
        reached = done
        if time.monotonic() - line_at >= LINE_EVERY_S:
            line_at = time.monotonic()
            write_line()

    yield reach
    if total:
        write_line()
