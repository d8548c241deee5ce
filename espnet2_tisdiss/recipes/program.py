"""Exit codes, error messages and option types that the recipes' programs share."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from espnet2_tisdiss.checks import shown, whole_number
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.processes import stop, terminations
from espnet2_tisdiss.standard_streams import OutputError, give_up_output, prepare_streams


def run_main(program: str, main: Callable[[], None]) -> int:
    """Run a program and print expected errors without a traceback.

    An error of the package or a refused file is printed on stderr, each line prefixed with the
    program's name. SIGTERM and SIGHUP are handled like Ctrl-C, so that temporary files are removed.
    Output that cannot be written is also an error.

    Returns:
        The exit code: 0, 1 after an error, 130 after an interrupt.
    """
    prepare_streams()
    for number in terminations():
        signal.signal(number, _interrupt)
    code = 0
    try:
        main()
    except (TisdissError, OSError) as error:
        _report(program, error)
        code = 1
    except KeyboardInterrupt:
        code = 130
    try:
        sys.stdout.flush()
    except OutputError as error:
        _report(program, error)
        code = code or 1
    return code


def _report(program: str, error: Exception) -> None:
    if isinstance(error, OutputError):
        give_up_output()
        if error.is_unwanted:
            return
    for line in str(error).splitlines():
        print(f"{program}: {line}", file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # the clean-up must not be interrupted
    raise KeyboardInterrupt


def run_or_exit(command: list[str], stdout: int | None = None) -> str:
    """Run a command that reports its own failure; if it fails, exit with its exit code.

    Returns:
        What it printed, if ``stdout`` is a pipe.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, text=True)
    try:
        printed, _ = process.communicate()
    finally:
        stop([process])
    if process.returncode:
        sys.exit(process.returncode if process.returncode > 0 else 128 - process.returncode)
    return printed or ""


def data_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a data preparation, without its options."""
    return argparse.ArgumentParser(
        prog="local/data.sh", description=f"{description} An interrupted run can be repeated."
    )


def positive(text: str) -> int:
    """Parse a number of 1 or more; a type for argparse."""
    number = whole_number(text)
    if not number:
        raise argparse.ArgumentTypeError(
            f"expected a whole number of 1 or more, found {shown(text)}"
        )
    return number


def absolute_path(text: str) -> Path:
    """Return a path made absolute; a type for argparse."""
    return Path(text).absolute()
