"""Time a run over many short files, alternating with another version of the package.

    python benchmarks/short_files.py --other ../before --files 200

makes wav files of about a second and times `tisdiss separate` on them, including the start-up,
alternating between this version and the one in another folder (a git worktree). It prints the
median seconds of each and the median ratio of the pairs.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from measuring import ROOT, count, run_main, seconds_of
from results import table

from espnet2_tisdiss.errors import TisdissError

RATE = 16_000
PROGRAM = "from espnet2_tisdiss.cli.app import main; main()"


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--other", type=Path, required=True, help="folder of the other version")
    parser.add_argument("--files", type=count, default=200, help="[%(default)s]")
    parser.add_argument("--repeats", type=count, default=3, help="pairs of runs [%(default)s]")
    parser.add_argument("--model", default="mini", help="[%(default)s]")
    parser.add_argument("--n-re", type=count, default=1, help="repetitions [%(default)s]")
    args = parser.parse_args(argv)
    versions = {"this version": ROOT, "the other one": args.other.resolve()}
    times: dict[str, list[float]] = {name: [] for name in versions}
    with tempfile.TemporaryDirectory() as folder:
        _make_files(Path(folder, "in"), args.files)
        command = [sys.executable, "-c", PROGRAM, "separate", "in", "--model", args.model]
        command += ["--n-re", str(args.n_re), "--out", "out"]
        for _ in range(args.repeats):
            for name, root in versions.items():
                shutil.rmtree(Path(folder, "out"), ignore_errors=True)
                seconds, _ = seconds_of(partial(_run, command, folder, root))
                times[name].append(seconds)
    this, other = times.values()
    rows = [[name, f"{statistics.median(values):.1f}"] for name, values in times.items()]
    ratio = statistics.median(one / two for one, two in zip(this, other, strict=True))
    sys.stdout.write(table([f"{args.files} files", "seconds"], [*rows, ["ratio", f"{ratio:.2f}"]]))


def _make_files(folder: Path, number: int) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(number):
        samples = 0.1 * rng.standard_normal(rng.integers(RATE // 2, 3 * RATE // 2))
        soundfile.write(folder / f"{index:03d}.wav", samples, RATE)


def _run(command: list[str], folder: str, root: Path) -> None:
    """Run a command with the package in a folder.

    Raises:
        TisdissError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise TisdissError(f"{root}: tisdiss separate failed: {done.stderr[-300:]}")


if __name__ == "__main__":
    run_main(main)
