"""A process on a cluster, with the part of the interface of ``subprocess.Popen`` that is needed.

A worker of the cluster runs the program. If the worker dies, Dask gives the work to another one,
which starts again in a new output folder, because the first one's program may still write to the
old one. The output folder is renamed to ``out`` when the program has succeeded.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_tisdiss.cluster import Cluster

if TYPE_CHECKING:
    from distributed import Future

POLL_S = 0.2
STOPPED = "stop"
# environment variables that are passed to the program
INHERITED = ("PYTHONPATH", "PYTHONUNBUFFERED", "OMP_NUM_THREADS")


class RemoteProcess:
    """A process on a cluster.

    Attributes:
        returncode: exit code, once :meth:`poll` has seen the end.
    """

    def __init__(self, future: Future, folder: Path, log: Path):
        """Follow the work of a future, whose program has a folder and a log."""
        self.returncode: int | None = None
        self._future, self._folder, self._log = future, folder, log

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and self._future.done():
            try:
                self.returncode = self._future.result()
            # several workers died on it, or the cluster is gone, or a worker cannot run it
            except Exception as error:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(f"{type(error).__name__}: {error}\n")
                self.returncode = 1
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it still runs after this number of seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self._folder), timeout or 0)
            time.sleep(POLL_S)
        return self.returncode or 0

    def terminate(self) -> None:
        """Ask it to end; its worker sees that in the folder."""
        (self._folder / STOPPED).touch()

    def kill(self) -> None:
        """Abandon the process."""
        self._future.cancel()


def start_remotely(cluster: Cluster, command: list[str], folder: Path, log: Path) -> RemoteProcess:
    """Start a program on a cluster.

    Args:
        cluster: the cluster.
        command: its words, in which {out} stands for the output folder.
        folder: where ``out`` is made.
        log: file for its output.
    """
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    where = (str(folder.absolute()), str(log.absolute()), str(Path.cwd()))
    future = cluster.client.submit(run_here, command, *where, environment, pure=False)
    return RemoteProcess(future, folder, log)


def run_here(
    command: list[str], folder: str, log: str, working: str, environment: Mapping[str, str]
) -> int:
    """Run a program on a worker, and name its output when complete; return its exit code."""
    place = Path(folder)
    out = place / f".out-{uuid.uuid4().hex}"
    words = [word.replace("{out}", str(out)) for word in command]
    with Path(log).open("ab") as output:  # earlier attempts may have written there
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=working,
            env={"OMP_NUM_THREADS": "1", **os.environ, **environment},
        )
        try:
            while process.poll() is None:
                if (place / STOPPED).exists():
                    process.terminate()
                time.sleep(POLL_S)
        finally:
            process.kill()
    if process.returncode == 0:
        out.rename(place / "out")
    return process.returncode
