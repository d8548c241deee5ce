"""Steps in separate processes, each with a time limit; a failing step does not stop the others."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from results import table

from espnet2_tisdiss.atomic import write_atomically

GRACE_S = 5.0  # between terminating and killing


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step.

    Attributes:
        name: of the step.
        seconds: duration.
        code: exit status, or minus the signal number; None: it did not start.
        timed_out: whether it exceeded its limit.
        error: last line of the log of a failed step.
    """

    name: str
    seconds: float
    code: int | None
    timed_out: bool
    error: str

    @property
    def ending(self) -> str:
        """In words."""
        if self.timed_out:
            return f"out of time: {self.error}"
        return "done" if self.code == 0 else f"failed ({self.code}): {self.error}"


def run_step(name: str, command: Sequence[str], limit_s: float, out: Path) -> Outcome:
    """Run a step with a time limit; its output goes to ``<name>.log``."""
    began, timed_out, code = time.monotonic(), False, None
    log = out / f"{name}.log"
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            return Outcome(name, time.monotonic() - began, None, False, str(error))
        try:
            process.wait(max(0.0, limit_s))
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            code = _end(process)
    failed = timed_out or code != 0
    reason = _last_line(log) if failed else ""
    return Outcome(name, time.monotonic() - began, code, timed_out, reason)


def _end(process: subprocess.Popen) -> int:
    """Stop a process, if it still runs, and the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # none is left
            break
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
    return process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def write_outcomes(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes so far."""
    rows = [asdict(outcome) for outcome in outcomes]
    write_atomically(out / "steps.json", json.dumps(rows, indent=1).encode())
    cells = [(o.name, f"{o.seconds:.0f}", o.ending.replace("|", "/")) for o in outcomes]
    write_atomically(out / "steps.md", table(("step", "seconds", "ending"), cells).encode())
