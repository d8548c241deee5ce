"""What the subcommands share: options of the model, messages, progress, and tables."""

import contextlib
import csv
import io
import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer
from rich.console import Console
from rich.logging import RichHandler
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

from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, TRAINED_ON, bundled_models

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech

messages = Console(file=sys.stderr, soft_wrap=True)
LINE_EVERY_S = 30.0  # where the progress cannot be drawn
LEAST_S, MOST_S = 0.1, 3600.0  # of audio to time a model on

MODEL_VARIABLE = "TISDISS_MODEL"
MODEL_HELP = (
    "Folder of a trained model, its weights (.pth), a packed .zip, a published tag, or "
    f"{DEFAULT_MODEL}, which comes with the package."
)
_MODEL: dict[str, Any] = {"envvar": MODEL_VARIABLE, "help": MODEL_HELP}
ModelOption = Annotated[str, typer.Option("--model", "-m", **_MODEL)]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", **_MODEL)]
DeviceOption = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto: a GPU if there is one.")
]
DtypeOption = Annotated[
    Literal["float32", "float64", "bfloat16", "float16"],
    typer.Option(help="What to compute in; float32 where the device has no such half precision."),
]
ModelRateOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Sample rate in Hz that the model was TRAINED at, where its configuration does not "
        "say; not that of the files, which are converted to it.",
        show_default="as its configuration says",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Threads to compute with.", show_default="as PyTorch chooses"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def pick_device(device: str) -> str:
    """Return PyTorch's name of a device.

    Raises:
        TisdissError: there is no such device here.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise TisdissError(f"--device {device}: not to be had here ({reason}); try cpu") from None
    return device


def load_model(model: str, device: str, dtype: str, sample_rate: int | None) -> "SeparateSpeech":
    """Load a model, telling what is being done: it takes seconds.

    Raises:
        TisdissError: there is no such model, it is broken, or the device is not there.
    """
    from espnet2_tisdiss.pretrained import finding

    with messages.status(f"loading {model}"):
        options = {"device": pick_device(device), "dtype": dtype, "sample_rate": sample_rate}
        found = finding.load_model(model, **options)
    if model in bundled_models():
        messages.print(
            f"model: {model}, which comes with the package; trained on {TRAINED_ON[model]}",
            markup=False,
            highlight=False,
        )
    handler = RichHandler(console=messages, show_path=False, show_time=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    return found


def set_threads(threads: int | None) -> None:
    """Let PyTorch compute with so many threads; None: with as many as it chooses."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def depths_of_interest(model: "SeparateSpeech") -> list[int]:
    """Return the depths from 1 to the deepest that may be of use."""
    return list(range(1, model.separator.config.deepest_useful + 1))


def parse_depths(text: str | None) -> list[int]:
    """Return the depths of a list such as ``1,2,4``, ascending; none of None.

    Raises:
        TisdissError: it is no such list.
    """
    if text is None:
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise TisdissError(f"--n-re {text}: expected repetitions from 1 on, such as 4 or 1,2,4")
    return sorted({int(part) for part in parts})


def machine(conditions: Mapping[str, Any]) -> str:
    """Say on what something was timed, by the ``device``, ``threads`` and ``dtype``."""
    threads = conditions["threads"]
    plural = "s" * (threads != 1)
    return f"{conditions['device']}, {threads} thread{plural}, {conditions['dtype']}"


def check_seconds(seconds: float) -> None:
    """Raise TisdissError unless ``--seconds`` of audio are some that a model can be timed on."""
    if not LEAST_S <= seconds <= MOST_S:
        raise TisdissError(
            f"--seconds {seconds:g}: expected seconds of audio, from {LEAST_S:g} to {MOST_S:g}"
        )


@contextlib.contextmanager
def measuring(advice: str = "try fewer --seconds") -> Iterator[None]:
    """Tell in one line where PyTorch fails in the block, above all for want of memory.

    Raises:
        TisdissError: it failed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = first_line(error)
        raise TisdissError(f"the model cannot be run: {reason}; {advice}") from error


def check_numbers(least: float, options: dict[str, float | None]) -> None:
    """Raise TisdissError if an option that is given is no number, or is less than ``least``."""
    for name, value in options.items():
        if value is not None and not least <= value < math.inf:
            raise TisdissError(f"{name} {value:g}: expected a number from {least:g} on")


def refuse_together(options: dict[str, bool]) -> None:
    """Raise TisdissError if more than one of the options is given."""
    given = [name for name, is_given in options.items() if is_given]
    if len(given) > 1:
        raise TisdissError(f"{' and '.join(given)} exclude each other; choose one")


def print_json(value: Any) -> None:
    """Print a value for programs to read."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_facts(facts: Mapping[str, str]) -> None:
    """Print named facts, each on one line however long it is."""
    width = max(map(len, facts)) + 2
    for name, fact in facts.items():
        typer.echo(f"{name:<{width}}{fact}")


def require_folder(folder: Path) -> None:
    """Make sure before the work that files can be written to a folder, which is made if need be.

    Raises:
        TisdissError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError:
        raise TisdissError(f"{folder}: is a file; give a folder to write to") from None
    except OSError as error:
        raise TisdissError(f"{folder}: cannot be written to: {error.strerror}") from None


def csv_file(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows, at least one, as the content of a CSV file; nothing stands for None."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")  # a file's name may be any bytes


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; what looks like numbers stands to the right."""
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
    """How much faster than real time."""

    def render(self, task: Any) -> Text:
        return Text(f"{task.speed:.1f}x real time" if task.speed else "")


class WorkProgress:
    """Progress with the time left: a bar, or lines where none can be drawn."""

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
        """Return what the bar shows besides."""
        return []

    def advance(self, amount: float) -> None:
        """Say that so much more is done, in the unit."""
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

    def tell(self, line: str, style: str | None = None) -> None:
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
