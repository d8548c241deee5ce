"""Options that several subcommands share, and checks of their values."""

import logging
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from espnet2_tisdiss.checks import whole_number
from espnet2_tisdiss.choices import MOST_AT_ONCE, MOST_N_RE, RATES, Dtype, OutputRate
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

LEAST_S, MOST_S = 0.1, 3600.0  # length of the audio that a model is timed on
MODEL_VARIABLE = "TISDISS_MODEL"
MODEL_HELP = (
    "Folder of a trained model, weights file (.pth), packed .zip, tag of a published model, "
    f"or {DEFAULT_MODEL}, which comes with the package."
)
_MODEL: dict[str, Any] = {"envvar": MODEL_VARIABLE, "help": MODEL_HELP}
ModelOption = Annotated[str, typer.Option("--model", "-m", **_MODEL)]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", **_MODEL)]
DepthsOption = Annotated[
    str | None,
    typer.Option(
        help="Repetitions, such as 1,2,4,8.", show_default="1 to a third more than trained"
    ),
]
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
        help="Do not remove content below 20 Hz, such as an offset, which disturbs models.",
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
    """How the program reports an error that ends it; set by a command's options.

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
# only the callback uses the value; commands have the parameter so that Typer offers the option
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", callback=_set_debug, help="Show the traceback of an error instead of one line."
    ),
]


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


def parse_decibels(option: str, text: str | None) -> float | None:
    """Return the number of a text such as ``10dB`` or ``10``; None for None.

    Raises:
        TisdissError: the text is not such a number.
    """
    if text is None:
        return None
    try:
        value = float(re.sub(r"\s*dB$", "", text, flags=re.IGNORECASE))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TisdissError(f"{option} {text:.60}: expected a number of decibels, such as 10dB")
    return value


def parse_rate(text: str) -> OutputRate:
    """Return the value of ``--rate``.

    Raises:
        TisdissError: the text is not a valid value.
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


def check_seconds(seconds: float) -> None:
    """Raise TisdissError unless ``--seconds`` is a usable length of audio for timing."""
    if not LEAST_S <= seconds <= MOST_S:
        raise TisdissError(
            f"--seconds {seconds:g}: expected seconds of audio from {LEAST_S:g} to {MOST_S:g}"
        )


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
