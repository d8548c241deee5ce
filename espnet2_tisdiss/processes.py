"""Processes: interrupting them, ending them with their parent, stopping them, and their logs."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

STOP_WITHIN_S = 10.0
LAST_LINES = 5


def terminations() -> list[signal.Signals]:
    """Return the signals that ask this process to end, besides SIGINT.

    SIGHUP arrives when a terminal or connection is closed; a process started by nohup ignores it.
    """
    hung_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, *hung_up]


class Interruption:
    """Signals that interrupt this process at once or, where that fails, at the next check.

    If a signal raises an exception in a destructor or in a callback from C, such as those with
    which libsndfile reads a file, Python prints the exception and continues.
    """

    def __init__(self) -> None:
        self._has_come = False

    @classmethod
    @contextmanager
    def caught(cls, *numbers: signal.Signals) -> Iterator[Self]:
        """Raise KeyboardInterrupt when one of the signals arrives in the block."""
        interruption = cls()
        with ExitStack() as stack:
            for number in numbers:
                stack.callback(signal.signal, number, signal.getsignal(number))
                signal.signal(number, interruption._come)
            yield interruption

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has arrived."""
        if self._has_come:
            raise KeyboardInterrupt

    def _come(self, number: int, frame: FrameType | None) -> None:
        self._has_come = True
        raise KeyboardInterrupt


def exit_with_parent() -> None:
    """Make this worker process exit when its parent exits, even if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("exit_with_parent must be called in a process of multiprocessing")

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Process(Protocol):
    """The interface of a process, local or remote."""

    @property
    def returncode(self) -> int | Any:
        """Exit code; None while it runs."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class LogTail:
    """Reads the complete lines that a process adds to its log."""

    def __init__(self, log: Path, begin: int = 0) -> None:
        """Read from byte ``begin`` on."""
        self._file = log.open(encoding="utf-8", errors="replace")
        self._file.seek(begin)
        self._rest = ""

    def new_lines(self) -> list[str]:
        """The lines completed since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        return lines

    def close(self) -> None:
        """Close the log."""
        self._file.close()


def stop(processes: Sequence[Process]) -> None:
    """Terminate the processes that still run; after ten seconds, kill those that remain."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + STOP_WITHIN_S
    for process in alive:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def failure(what: str, process: Process, log: Path) -> str:
    """Return the message for a failed process: a line with its log's path, then the log's end."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # without blank lines and the ^^^^ markers of a traceback
    ending = [f"    {line}" for line in lines if line.strip(" ^~")][-LAST_LINES:]
    first = f"{what} failed (exit code {process.returncode}); its log is {log} and ends in:"
    return "\n".join([first, *ending])
