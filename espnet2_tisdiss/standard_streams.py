"""Standard streams that are closed when a program starts, or that are on a full device."""

import errno
import os
import sys
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import Any, cast

from espnet2_tisdiss.errors import TisdissError

READ_BYTES = 2**16


class OutputError(OSError):
    """Standard output cannot be written to."""

    def __str__(self) -> str:
        return f"standard output: cannot be written to ({self.strerror}); finished work is kept"

    @property
    def is_unwanted(self) -> bool:
        """Whether the reader of a pipe, such as ``| head``, has closed it, which is no error."""
        return self.errno == errno.EPIPE


class _Output(FileIO):
    """Writes to standard output."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error


def prepare_streams() -> None:
    """Make the standard streams safe and their errors clear; a program calls it first.

    Closed streams (``>&-``) are reopened. Otherwise a file that the program opens would get the
    number of standard output or standard error, and the output of libraries would go into it.
    Reading and writing still fail as on a closed stream, but messages to standard error are lost.

    A failing write to standard output raises an OutputError.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            # opening takes the lowest free number, which is this one
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stderr is None:
        sys.stderr = TextIOWrapper(FileIO(2, "w", closefd=False), "utf-8", "backslashreplace")
    if sys.stdout is sys.__stdout__:  # no calling program has replaced the stream
        as_before = cast(TextIOWrapper, sys.stdout or sys.stderr)
        sys.stdout = TextIOWrapper(
            BufferedWriter(_Output(1, "w", closefd=False)),
            as_before.encoding,
            as_before.errors,
            # a terminal, or PYTHONUNBUFFERED
            line_buffering=bool(as_before.line_buffering or as_before.write_through),
        )


def give_up_output() -> None:
    """Drop the buffer of standard output, which Python would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def standard_input(advice: str) -> BufferedReader:
    """Return the stream of standard input.

    Raises:
        TisdissError: it is closed, or a terminal; the message ends with ``advice``.
    """
    if sys.stdin is None or sys.stdin.isatty():
        what = "closed" if sys.stdin is None else "a terminal"
        raise TisdissError(f"standard input is {what}; {advice}")
    return cast(BufferedReader, sys.stdin.buffer)


def read_piece(stream: BufferedReader, name: str) -> bytes:
    """Return the bytes that have arrived on a stream; none at its end.

    Raises:
        TisdissError: it cannot be read, for example because it is a folder; the message names it.
    """
    try:
        return stream.read1(READ_BYTES)
    except OSError as error:
        raise TisdissError(f"{name}: cannot be read ({error.strerror})") from None
