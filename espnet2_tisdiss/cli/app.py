"""The subcommands together, and the exit codes of the program.

Exit codes: 0 success; 1 something failed (the rest is done); 2 usage error, or the model cannot be
loaded; 130 interrupted.
"""

import json
import signal
import sys
import traceback

import typer
from typer.exceptions import TyperException

import espnet2_tisdiss
from espnet2_tisdiss.cli import (
    calibrate,
    demo,
    export,
    info,
    live,
    models,
    pack,
    profile,
    report_page,
    separate,
    sweep,
    upload,
)
from espnet2_tisdiss.cli.common_options import ErrorStyle
from espnet2_tisdiss.cli.console import messages, printable
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.processes import terminations
from espnet2_tisdiss.standard_streams import OutputError, give_up_output, prepare_streams

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
# packages that exported models do not need
OPTIONAL = {"torch": "PyTorch", "espnet2": "ESPnet", "matplotlib": "matplotlib"}

app = typer.Typer(
    name="tisdiss",
    help="Separate speech with a model of adjustable depth.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = {"separate": separate, "live": live, "demo": demo, "sweep": sweep, "report": report_page}
COMMANDS |= {
    "calibrate": calibrate,
    "profile": profile,
    "info": info,
    "models": models,
    "export": export,
    "pack": pack,
    "upload": upload,
}
for name, module in COMMANDS.items():
    # Typer would keep the line breaks of the docstrings
    paragraphs = (" ".join(part.split()) for part in module.command.__doc__.split("\n\n"))
    app.command(
        name=name,
        help="\n\n".join(paragraphs),
        epilog=module.EXAMPLES,
    )(module.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tisdiss {espnet2_tisdiss.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Separate speech with a model of adjustable depth."""


def main() -> None:
    """Run the command line.

    Errors of the user or the system are reported in one line, or with a traceback under --debug.
    Any other exception is a bug: it always shows its traceback.
    """
    prepare_streams()
    for number in terminations():  # signals act like Ctrl-C, so no half-written files are left
        signal.signal(number, signal.default_int_handler)
    style = ErrorStyle()
    try:
        # Typer would draw a frame around its parser's errors
        code = app(obj=style, standalone_mode=False)
        if code == INTERRUPTED:
            messages.print("tisdiss: interrupted; finished work is kept", markup=False)
        sys.exit(code)
    except TyperException as error:
        # pydantic, with which Typer checks choices, puts the error's type first
        if text := error.format_message().replace("Value error, ", ""):
            _print_error(f"{text[0].lower()}{text[1:].rstrip('.')}; see --help")
        sys.exit(error.exit_code)
    except OutputError as error:
        give_up_output()
        if not error.is_unwanted:
            _report(error, style.debug)
        sys.exit(FAILED)
    except (TisdissError, OSError) as error:
        if style.as_json:
            try:
                typer.echo(json.dumps({"error": str(error)}))
            except OutputError:
                give_up_output()
        _report(error, style.debug)
        sys.exit(REFUSED if isinstance(error, TisdissError) else FAILED)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
            _print_error(
                f"this command needs {OPTIONAL[error.name]}, which is not installed here; only "
                "separate and live run without it, with a model from tisdiss export"
            )
            sys.exit(REFUSED)
        _print_traceback(error)
        _print_error("this is a bug in tisdiss; please report it with the lines above")
        sys.exit(FAILED)


def _report(error: Exception, debug: bool) -> None:
    if debug:
        _print_traceback(error)
    else:
        _print_error(str(error))


def _print_error(text: str) -> None:
    messages.print(f"tisdiss: {printable(text)}", style="red", markup=False, highlight=False)


def _print_traceback(error: Exception) -> None:
    lines = "".join(traceback.format_exception(error))
    messages.print(lines, end="", markup=False, highlight=False)
