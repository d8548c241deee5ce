"""The subcommands put together, and how the program ends.

Exit codes: 0 all is done; 1 something failed (the others are done); 2 the command makes no sense,
or its model cannot be loaded; 130 interrupted.
"""

import json
import signal
import sys

import typer

import espnet2_tisdiss
from espnet2_tisdiss.cli import calibrate, info, profile, separate, sweep
from espnet2_tisdiss.cli.console import messages
from espnet2_tisdiss.errors import TisdissError

INTERRUPTED = 130

app = typer.Typer(
    name="tisdiss",
    help="Separate speech with a model whose depth is a dial.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (separate, sweep, profile, info, calibrate):
    # Typer would keep the docstrings' line breaks
    paragraphs = (" ".join(part.split()) for part in module.command.__doc__.split("\n\n"))
    app.command(
        name=module.__name__.rpartition(".")[2],
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
    """Separate speech with a model whose depth is a dial."""


def main() -> None:
    """Run the command line; expected failures are one line each, without a traceback."""
    # as Ctrl-C, so that nothing half-written is left
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except TisdissError as error:
        if "--json" in sys.argv:
            typer.echo(json.dumps({"error": str(error)}))
        messages.print(f"tisdiss: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except SystemExit as ending:
        if ending.code == INTERRUPTED:  # Typer's, after Ctrl-C
            messages.print("tisdiss: interrupted; what is finished is kept", markup=False)
        raise
