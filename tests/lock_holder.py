"""A process that holds the lock of a folder, for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = """
import os, sys, time
from espnet2_tisdiss.locks import holding
with holding(sys.argv[1]):
    if len(sys.argv) > 2 and os.fork() == 0:  # a worker, which outlives its parent
        time.sleep(600)
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock of a folder; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *options],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()
