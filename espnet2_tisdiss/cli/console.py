"""Output of subcommands: messages, facts, tables, JSON, and progress."""

import contextlib
import csv
import io
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from espnet2_tisdiss.errors import TisdissError

# without standard error, rich would print to standard output
messages = Console(file=sys.stderr, soft_wrap=True, quiet=sys.stderr is None)
LINE_EVERY_S = 30.0  # interval of progress lines, in seconds, where no bar can be drawn


def printable(text: str) -> str:
    """Return a text with unprintable characters escaped; file names may contain any."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


class LineHandler(logging.Handler):
    """Prints each record as one line, above a progress bar; rich's handler would wrap it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        messages.print(printable(line), style="yellow", markup=False, highlight=False)


def machine(conditions: Mapping[str, Any]) -> str:
    """Describe the machine of a measurement by its ``device``, ``threads`` and ``dtype``."""
    threads = conditions["threads"]
    plural = "s" * (threads != 1)
    return f"{conditions['device']}, {threads} thread{plural}, {conditions['dtype']}"


def print_json(value: Any) -> None:
    """Print a value as JSON to standard output."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_facts(facts: Mapping[str, str]) -> None:
    """Print facts by name, one per line, however long."""
    width = max(map(len, facts)) + 2
    for name, fact in facts.items():
        typer.echo(f"{name:<{width}}{fact}")


def require_folder(folder: Path) -> None:
    """Create a folder if missing, and check that it is writable; called before long work.

    Raises:
        TisdissError: the folder cannot be created or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError:
        raise TisdissError(f"{folder}: is a file; give a folder to write to") from None
    except OSError as error:
        raise TisdissError(f"{folder}: cannot be written to: {error.strerror}") from error


def csv_file(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows, at least one, as the content of a CSV file; None becomes an empty cell."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")  # file names may be any bytes


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; columns of numbers are aligned to the right."""
    table = Table(title=title or None, title_justify="left")
    for index, name in enumerate(header):
        numbers = all(_is_number(row[index]) for row in rows)
        table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _is_number(cell: str) -> bool:
    return not cell or cell[0] in "+-.0123456789"


class _Speed(ProgressColumn):
    """Column with the speed as a multiple of real time."""

    def render(self, task: Any) -> Text:
        return Text(f"{task.speed:.1f}x real time" if task.speed else "")


class WorkProgress:
    """Progress with the time left: a bar in a terminal, lines elsewhere.

    Args:
        total: the amount of work, in ``UNIT``.
        label: name of the work.
    """

    UNIT = "repetitions"

    def __init__(self, total: float, label: str):
        self._total, self._label, self._done = total, label, 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {self.UNIT}"),
            *self._columns(),
            TimeRemainingColumn(),
            console=messages,
            transient=True,
            disable=not messages.is_terminal,
        )
        self._task: TaskID = self._bar.add_task(label, total=total)
        self._began = self._line_at = time.monotonic()

    def _columns(self) -> list[ProgressColumn]:
        """Return further columns of the bar."""
        return []

    def advance(self, amount: float) -> None:
        """Add to the work done, in ``UNIT``."""
        self._done += amount
        self._bar.advance(self._task, amount)
        now = time.monotonic()
        if not messages.is_terminal and now - self._line_at >= LINE_EVERY_S and self._done:
            self._line_at = now
            left = (now - self._began) / self._done * (self._total - self._done)
            messages.print(
                f"{self._label}: {self._done:.0f} of {self._total:.0f} {self.UNIT}, "
                f"about {left:.0f} s left"
            )

    def print(self, line: str, style: str | None = None) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, style=style, markup=False, highlight=False)

    @classmethod
    @contextlib.contextmanager
    def shown(cls, total: float, label: str) -> Iterator[Self]:
        """Show progress while the block runs."""
        progress = cls(total, label)
        with progress._bar:
            yield progress


class AudioProgress(WorkProgress):
    """Progress in seconds of audio, with the speed."""

    UNIT = "s of audio"

    def _columns(self) -> list[ProgressColumn]:
        return [_Speed()]
