"""Worker processes: how they exit with their parent or are stopped, and their logs."""

import multiprocessing
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

STOP_WITHIN_S = 10.0
LAST_LINES = 5


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
    """What is used of a process, here or elsewhere."""

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
    """Reads the lines that a process adds to its log, whole lines only."""

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
    """Terminate those that still run; kill what has not ended ten seconds later."""
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
    """Say that a process failed: one line with its log's path, then the log's last lines."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # Neither blank lines nor the ^^^^ below the lines of a traceback
    ending = [f"    {line}" for line in lines if line.strip(" ^~")][-LAST_LINES:]
    first = f"{what} failed (exit code {process.returncode}); its log is {log} and ends in:"
    return "\n".join([first, *ending])
