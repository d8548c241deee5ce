"""Standard streams of a program: closed when it starts, or on a device that is full."""

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
        """Whether the reader of a pipe has closed it, such as ``| head``, which needs no error."""
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

    What was closed (``>&-``) is opened. Otherwise a file that the program opens would take the
    number of standard output or standard error, and what libraries print would go into it. Reading
    and writing fail as they do when closed, except that messages to standard error are lost.

    Writing to standard output raises an OutputError where it fails.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            # the lowest number that is free, which is this one
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stderr is None:
        sys.stderr = TextIOWrapper(FileIO(2, "w", closefd=False), "utf-8", "backslashreplace")
    if sys.stdout is sys.__stdout__:  # no program around this one has put another there
        as_before = cast(TextIOWrapper, sys.stdout or sys.stderr)
        sys.stdout = TextIOWrapper(
            BufferedWriter(_Output(1, "w", closefd=False)),
            as_before.encoding,
            as_before.errors,
            # a terminal, or PYTHONUNBUFFERED
            line_buffering=bool(as_before.line_buffering or as_before.write_through),
        )


def give_up_output() -> None:
    """Drop what standard output holds back, which Python would try to write again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def standard_input(advice: str) -> BufferedReader:
    """Return the stream of standard input.

    Raises:
        TisdissError: it is closed, or a terminal; the message ends with the advice.
    """
    if sys.stdin is None or sys.stdin.isatty():
        what = "closed" if sys.stdin is None else "a terminal"
        raise TisdissError(f"standard input is {what}; {advice}")
    return cast(BufferedReader, sys.stdin.buffer)


def read_piece(stream: BufferedReader, name: str) -> bytes:
    """Return what has arrived of a stream; nothing at its end.

    Raises:
        TisdissError: it cannot be read, such as a folder; the message has the name.
    """
    try:
        return stream.read1(READ_BYTES)
    except OSError as error:
        raise TisdissError(f"{name}: cannot be read ({error.strerror})") from None
