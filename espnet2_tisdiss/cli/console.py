"""Shared by the subcommands: common options, loading the model, messages, progress, tables."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

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

from espnet2_tisdiss.checks import whole_number
from espnet2_tisdiss.choices import MOST_AT_ONCE, MOST_N_RE, RATES, Dtype, OutputRate
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, TRAINED_ON, bundled_models

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech

messages = Console(file=sys.stderr, soft_wrap=True)
DEVICES = ("cpu", "cuda", "mps")
LINE_EVERY_S = 30.0  # interval of progress lines where no bar can be drawn
LEAST_S, MOST_S = 0.1, 3600.0  # length of the audio that a model is timed on

MODEL_VARIABLE = "TISDISS_MODEL"
MODEL_HELP = (
    "Folder of a trained model, its weights (.pth), a packed .zip, the tag of a published model, "
    f"or {DEFAULT_MODEL}, which comes with the package."
)
_MODEL: dict[str, Any] = {"envvar": MODEL_VARIABLE, "help": MODEL_HELP}
ModelOption = Annotated[str, typer.Option("--model", "-m", **_MODEL)]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", **_MODEL)]
DeviceOption = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto: a GPU if available.")
]
DtypeOption = Annotated[
    Dtype,
    typer.Option(
        help="Precision of the computation; float32 if the device lacks the half precision. "
        "auto: bfloat16 for models trained in it, which is faster."
    ),
]
ModelRateOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=RATES[-1],
        help="Sample rate in Hz that the model was TRAINED at, if its configuration does not set "
        "it. Files at other rates are converted to it.",
        show_default="from the configuration",
    ),
]
KeepRumbleOption = Annotated[
    bool,
    typer.Option(
        "--keep-rumble",
        help="Do not remove what lies below 20 Hz, such as an offset, which disturbs models.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_AT_ONCE,
        help="Threads of the computation.",
        show_default="chosen by PyTorch",
    ),
]


@dataclass
class ErrorStyle:
    """How the program reports an error that ends it; the options of a command set it.

    Attributes:
        as_json: print the error as JSON to standard output, too.
        debug: print the traceback instead of one line.
    """

    as_json: bool = False
    debug: bool = False


def _set_json(context: typer.Context, value: bool) -> bool:
    context.ensure_object(ErrorStyle).as_json = value
    return value


def _set_debug(context: typer.Context, value: bool) -> bool:
    context.ensure_object(ErrorStyle).debug = value
    if value:  # errors of single files are logged with their tracebacks
        logging.getLogger("espnet2_tisdiss").setLevel(logging.DEBUG)
    return value


JsonOption = Annotated[
    bool, typer.Option("--json", callback=_set_json, help="Print the result as JSON.")
]
# the callback alone uses its value; the commands take it as a parameter for Typer
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", callback=_set_debug, help="Show the traceback of an error instead of one line."
    ),
]


def pick_device(device: str) -> str:
    """Return the PyTorch name of a device; ``auto`` is a GPU if available, else the CPU.

    Raises:
        TisdissError: the device is not available.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in DEVICES:
        raise TisdissError(f"--device {device}: expected auto, {', '.join(DEVICES)} or cuda:1")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch without CUDA
        # PyTorch's reasons are a paragraph where there is no such device at all
        has_any = kind == "cuda" and torch.cuda.is_available()
        reason = first_line(error) if has_any else "PyTorch finds none"
        raise TisdissError(f"--device {device}: not available ({reason}); try cpu") from error
    return device


def printable(text: str) -> str:
    """Return a text with unprintable characters escaped; file names may contain any."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


class _LineHandler(logging.Handler):
    """Prints each record as one line, above a progress bar; rich's handler would wrap it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        messages.print(printable(line), style="yellow", markup=False, highlight=False)


def load_for_command(
    name: str, device: str, dtype: Dtype, sample_rate: int | None
) -> "SeparateSpeech":
    """Load a model for a command, with a status meanwhile and log messages sent to the console.

    Args:
        name: as for :func:`~espnet2_tisdiss.pretrained.finding.find_model`.
        device: PyTorch name of the device, or ``auto``.
        dtype: precision of the computation.
        sample_rate: sample rate of the model in Hz; None: from its configuration.

    Raises:
        TisdissError: the model does not exist or cannot be loaded, or the device is not available.
    """
    from espnet2_tisdiss.separate.speech import SeparateSpeech

    logging.basicConfig(level=logging.WARNING, handlers=[_LineHandler()], force=True)
    with messages.status(f"loading {name}"):
        model = SeparateSpeech.from_pretrained(
            name, device=pick_device(device), dtype=dtype, sample_rate=sample_rate
        )
    if name in bundled_models():
        messages.print(
            f"model: {name}, which comes with the package; trained on {TRAINED_ON[name]}",
            markup=False,
            highlight=False,
        )
    return model


def set_threads(threads: int | None) -> None:
    """Set PyTorch's number of threads; None keeps PyTorch's choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def depths_of_interest(model: "SeparateSpeech") -> list[int]:
    """Return the depths from 1 to the deepest that may still improve the result."""
    return list(range(1, model.separator.config.deepest_useful + 1))


def parse_depths(text: str | None) -> list[int]:
    """Return the depths of a list such as ``1,2,4``, ascending; an empty list for None.

    Raises:
        TisdissError: the text is not such a list.
    """
    if text is None:
        return []
    depths = {whole_number(part.strip()) or 0 for part in text.split(",")}
    if not all(1 <= depth <= MOST_N_RE for depth in depths):
        raise TisdissError(
            f"--n-re {text:.60}: expected repetitions from 1 to {MOST_N_RE}, such as 4 or 1,2,4"
        )
    return sorted(depths)


def parse_rate(text: str) -> OutputRate:
    """Return the value of ``--rate``.

    Raises:
        TisdissError: the text is no such value.
    """
    if text == "same":
        return "same"
    if text == "model":
        return "model"
    rate = whole_number(text)
    if rate is not None and rate in RATES:
        return rate
    raise TisdissError(
        f"--rate {text:.60}: expected same, model, or a rate from {RATES[0]} to {RATES[-1]} Hz"
    )


def machine(conditions: Mapping[str, Any]) -> str:
    """Describe the machine of a measurement by its ``device``, ``threads`` and ``dtype``."""
    threads = conditions["threads"]
    plural = "s" * (threads != 1)
    return f"{conditions['device']}, {threads} thread{plural}, {conditions['dtype']}"


def check_seconds(seconds: float) -> None:
    """Raise TisdissError unless ``--seconds`` is a length that a model can be timed on."""
    if not LEAST_S <= seconds <= MOST_S:
        raise TisdissError(
            f"--seconds {seconds:g}: expected seconds of audio from {LEAST_S:g} to {MOST_S:g}"
        )


@contextlib.contextmanager
def reporting_torch_errors() -> Iterator[None]:
    """Turn errors of PyTorch in the block, mostly out of memory, into a TisdissError.

    Raises:
        TisdissError: PyTorch failed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = first_line(error)
        raise TisdissError(f"the model cannot be run: {reason}; try fewer --seconds") from error


def check_numbers(least: float, options: dict[str, float | None]) -> None:
    """Raise TisdissError if a given option is not finite, or less than ``least``."""
    for name, value in options.items():
        if value is not None and not least <= value < math.inf:
            bound = f" >= {least:g}" if least > -math.inf else ""
            raise TisdissError(f"{name} {value:g}: expected a finite number{bound}")


def refuse_together(options: dict[str, bool]) -> None:
    """Raise TisdissError if more than one of the options is given."""
    given = [name for name, is_given in options.items() if is_given]
    if len(given) > 1:
        raise TisdissError(f"{' and '.join(given)} exclude each other; give one of them")


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
