"""Programs started with closed standard streams, or that cannot write to them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from espnet2_tisdiss.recipes.program import run_main
def main():
    with open("file", "w"):
        os.system("echo from another program; echo its message >&2")
    print(sys.argv[1], end="")
sys.exit(run_main("prepare", main))
"""


def run(redirections: str, text: str, folder: Path) -> tuple[int, str]:
    """Run a program that prints a text; return its exit status and its message about output."""
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", PROGRAM, text]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    lines = done.stderr.decode().splitlines()
    return done.returncode, "\n".join(line for line in lines if line.startswith("prepare: "))


@pytest.mark.promise("mistakes")
@pytest.mark.parametrize(
    ("redirections", "text", "code", "said"),
    [
        (">&-", "done", 1, "Bad file descriptor"),
        (">/dev/full", "done", 1, "No space left on device"),
        (">/dev/full", "done" * 5000, 1, "No space left on device"),
        ("<&- >&- 2>&-", "done", 1, ""),
        ("<&- >&- 2>&-", "", 0, ""),
    ],
)
def test_output_that_cannot_be_written_is_an_error(redirections, text, code, said, tmp_path):
    expected = f"prepare: standard output: cannot be written to ({said}); finished work is kept"
    assert run(redirections, text, tmp_path) == (code, expected if said else "")
    # output of libraries never gets into a file with the number of a closed stream
    assert (tmp_path / "file").read_text() == ""
