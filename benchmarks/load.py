"""Separate thousands of short files and one very long one: memory, threads, open files, speed.

A tiny model with random weights is enough for this. The short files are separated twice: in one
run; and in a run of two processes that loses one of them, is interrupted as by Ctrl-C, and is then
continued. Both must give the same files.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import soundfile
import torch
from measuring import count
from results import check_page, machine, number, record, table
from tiny_model import write_model

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.program import run_main

SECTION = "load"
RATE = 8000
POLL_S = 0.2


@dataclass
class Usage:
    """The resources that a process and its child processes use, over time and at the peak.

    Attributes:
        done: number of finished files at each sample, with the time in seconds.
        memory: resident bytes at each sample.
        threads: largest number of threads.
        handles: largest number of open files.
    """

    done: list[tuple[float, int]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    threads: int = 0
    handles: int = 0

    def look(self, process: psutil.Process, done: int) -> None:
        """Add the current use."""
        try:
            all_of_it = [process, *process.children(recursive=True)]
            memory = sum(each.memory_info().rss for each in all_of_it)
            threads = sum(each.num_threads() for each in all_of_it)
            handles = sum(each.num_fds() for each in all_of_it)
        except psutil.Error:  # one of them has ended
            return
        if not memory:  # it has ended, but its exit status has not been read yet
            return
        self.memory.append(memory)
        self.threads, self.handles = max(self.threads, threads), max(self.handles, handles)
        self.done.append((time.monotonic(), done))

    def memory_at(self, share: float) -> int:
        """Return the memory when a share of the files was done."""
        return self.memory[self._index(share)]

    def speed(self, begin: float, end: float) -> float:
        """Return the files per second between two shares of the files, from the first file on."""
        (first, few), (last, many) = (self.done[self._index(share)] for share in (begin, end))
        return (many - few) / max(last - first, POLL_S)

    def _index(self, share: float) -> int:
        total = self.done[-1][1]
        wanted = min(max(1.0, share * total), total)
        return next(i for i, (_, done) in enumerate(self.done) if done >= wanted)


def make_noise(path: Path, seconds: float, seed: int) -> None:
    """Write noise, a minute at a time."""
    generator = np.random.default_rng(seed)
    left = round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while left:
            length = min(left, 60 * RATE)
            file.write(0.1 * generator.standard_normal(length))
            left -= length


class Separation:
    """A run of ``tisdiss separate``."""

    def __init__(self, model: Path, inputs: Path, out: Path, *options: str) -> None:
        self.out, self.usage = out, Usage()
        program = "from espnet2_tisdiss.cli.app import main; main()"
        command = [sys.executable, "-c", program, "separate", str(inputs)]
        command += ["-m", str(model), "-o", str(out), "--n-re", "1", "--json", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def follow(self, until: Callable[[int], bool] = lambda done: False) -> int:
        """Watch the run until it ends, or until a number of files is done; return that number."""
        watched = psutil.Process(self.process.pid)
        while True:
            done = len(self.files())
            if self.process.poll() is not None or until(done):
                return done
            self.usage.look(watched, done)
            time.sleep(POLL_S)

    def files(self) -> list[str]:
        """Return the names of the files of the first speaker."""
        try:
            return [name for name in os.listdir(self.out) if name.endswith("_spk1.wav")]
        except FileNotFoundError:
            return []

    def check(self, code: int) -> None:
        """Check the exit status of the run.

        Raises:
            TisdissError: it is another one.
        """
        if self.process.returncode != code:
            raise TisdissError(f"{self.out}: exit status {self.process.returncode}, not {code}")


def short_files(model: Path, folder: Path, files: int) -> list[list[str]]:
    """Separate many files in one run, and again with a killed process and an interrupt.

    Returns:
        Rows of the table.

    Raises:
        TisdissError: files are missing, or differ.
    """
    inputs = folder / "short"
    inputs.mkdir()
    for index in range(files):
        make_noise(inputs / f"{index}.wav", 0.3 + 0.1 * (index % 5), index)
    unbroken = Separation(model, inputs, folder / "unbroken")
    unbroken.follow()
    unbroken.check(0)
    stopped = Separation(model, inputs, folder / "stopped", "--jobs", "2")
    stopped.follow(lambda done: done >= files // 4)
    workers = psutil.Process(stopped.process.pid).children()
    busiest = max(workers, key=lambda worker: sum(worker.cpu_times()[:2]))
    busiest.kill()
    stopped.follow(lambda done: done >= files // 2)
    os.killpg(stopped.process.pid, signal.SIGINT)
    stopped.follow()
    stopped.check(130)
    resumed = Separation(model, inputs, folder / "stopped", "--jobs", "2", "--skip-existing")
    resumed.follow()
    resumed.check(0)
    compare(unbroken.out, resumed.out, 2 * files)
    use = unbroken.usage
    return [
        ["files in one run", str(files)],
        ["files per second, first and last tenth", pair(use.speed(0, 0.1), use.speed(0.9, 1))],
        ["memory after a tenth and at the end [MB]", megabytes(use.memory_at(0.1), use.memory[-1])],
        ["most threads and open files", f"{use.threads}, {use.handles}"],
        ["a process killed, interrupted, resumed: files that differ", "0"],
    ]


def long_file(model: Path, folder: Path, hours: float) -> list[list[str]]:
    """Separate a file of a twentieth of the length, then the complete one.

    Returns:
        Rows of the table.
    """
    peaks, speeds = [], []
    for share in (0.05, 1.0):
        path = folder / f"long_{share}.wav"
        make_noise(path, share * hours * 3600, 0)
        run = Separation(model, path, folder / f"long_{share}")
        began = time.monotonic()
        run.follow()
        run.check(0)
        peaks.append(max(run.usage.memory))
        speeds.append(share * hours * 3600 / (time.monotonic() - began))
    name = f"file of {hours:g} hours against one of {hours * 3:g} minutes"
    return [
        [f"{name}: memory [MB]", megabytes(peaks[1], peaks[0])],
        [f"{name}: times as fast as real time", pair(speeds[1], speeds[0])],
    ]


def compare(first: Path, second: Path, expected: int) -> None:
    """Check that two folders hold the same files, as many as expected.

    Raises:
        TisdissError: they do not.
    """
    names = [sorted(os.listdir(folder)) for folder in (first, second)]
    differ = set(names[0]) ^ set(names[1])
    differ |= {name for name in names[0] if name not in differ and not same(name, first, second)}
    if differ:
        raise TisdissError(f"{len(differ)} files differ, such as {min(differ)}")
    if len(names[0]) != expected:
        raise TisdissError(f"{first} holds {len(names[0])} files, not {expected}")


def same(name: str, first: Path, second: Path) -> bool:
    """Whether a file has the same samples in two folders; headers of WAV files hold the time."""
    return np.array_equal(*(soundfile.read(folder / name)[0] for folder in (first, second)))


def pair(first: float, second: float) -> str:
    """Return two numbers as text."""
    return f"{number(first)}, {number(second)}"


def megabytes(first: int, second: int) -> str:
    """Return two numbers of bytes as text."""
    return pair(first / 1e6, second / 1e6)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=count, default=5000, help="short files (%(default)s)")
    parser.add_argument("--hours", type=float, default=2.0, help="of the long file (%(default)s)")
    parser.add_argument("--page", type=Path, help=f"write the table to its section {SECTION!r}")
    args = parser.parse_args(arguments)
    check_page(args.page, SECTION)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        torch.manual_seed(0)
        write_model(folder / "model")
        rows = short_files(folder / "model", folder, args.files)
        rows += long_file(folder / "model", folder, args.hours)
    content = f"{machine(torch.device('cpu'))}\n{table(('what', 'found'), rows)}"
    sys.stdout.write(content)
    if args.page is not None:
        record(args.page, SECTION, content)


if __name__ == "__main__":
    sys.exit(run_main("load.py", lambda: main()))
