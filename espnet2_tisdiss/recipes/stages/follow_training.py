"""Run a training with its output in a log, and show the progress that ESPnet logs.

A line is written for each epoch, with the losses and the time left; in between, a terminal shows a
bar, and elsewhere a line is written from time to time. A resumed training appends to the log.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.processes import LogTail, failure, stop
from espnet2_tisdiss.recipes.progress import LINE_EVERY_S
from espnet2_tisdiss.user_files import read_yaml

POLL_S = 0.5
BAR = "{percentage:3.0f}%|{bar:20}| {desc}"

SAMPLER = re.compile(r"\[train\] Batch sampler: .*N-batch=(\d+)")
STARTED = re.compile(r"(\d+)/(\d+)epoch started")
BATCHES = re.compile(r"\d+epoch:train:\d+-(\d+)batch: .*\bloss=([^,\s]+)")
RESULTS = re.compile(r"(\d+)epoch results: (.*)")
SKIPPED = re.compile(r"skipped a step .* (\d+) since the start")
LOSS = re.compile(r"\[(train|valid)\] (?:[^\[]*, )?loss=([^,\s]+)")


@dataclass
class TrainingLog:
    """State of a training, read from ESPnet's log.

    Attributes:
        config: the experiment's config.yaml, for the batches in an epoch; it may not exist yet.
        skipped: steps without a finite loss and gradient since the start.
    """

    config: Path
    epoch: int = 0
    max_epoch: int = 0
    batch: int = 0
    batches: int | None = None
    loss: str = ""
    skipped: int = 0
    _sampled: int | None = None
    _first: int | None = None
    _began: float = field(default=0.0)

    def feed(self, line: str, now: float) -> str | None:
        """Process a log line at time ``now`` (seconds); return the text of an epoch, if any."""
        if match := SAMPLER.search(line):
            self._sampled = int(match[1])
        elif match := STARTED.search(line):
            self.epoch, self.max_epoch, self.batch = int(match[1]), int(match[2]), 0
            if self._first is None:
                self._first, self._began = self.epoch, now
                self.batches = self._batches_in_epoch()
        elif match := BATCHES.search(line):
            self.batch, self.loss = int(match[1]), match[2]
        elif match := SKIPPED.search(line):
            self.skipped = int(match[1])
        elif (match := RESULTS.search(line)) and self._first is not None:
            losses = ", ".join(f"{phase} loss {loss}" for phase, loss in LOSS.findall(match[2]))
            spent = (now - self._began) / (self.epoch - self._first + 1)
            left = spent * (self.max_epoch - self.epoch)
            return (
                f"epoch {self.epoch}/{self.max_epoch}: {losses}{self._skips}; an epoch takes "
                f"{tqdm.format_interval(spent)}, at most {tqdm.format_interval(left)} left"
            )
        return None

    def _batches_in_epoch(self) -> int | None:
        """Number of batches, if it is known before the first epoch has ended."""
        if not self.config.is_file():
            return None
        config = read_yaml(self.config)
        if config.get("num_iters_per_epoch"):
            return int(config["num_iters_per_epoch"])
        return self._sampled if config.get("iterator_type") == "sequence" else None

    @property
    def _skips(self) -> str:
        """Text about steps without a finite loss and gradient."""
        return f", {self.skipped} steps skipped" if self.skipped else ""

    def within_epoch(self, now: float) -> str:
        """Return the text for the current epoch."""
        text = f"epoch {self.epoch}/{self.max_epoch}"
        if self.batch:
            total = f" of {self.batches}" if self.batches else ""
            text += f": batch {self.batch}{total}, loss {self.loss}{self._skips}"
        done = self.epochs_done
        if done is not None and self._first is not None and done > self._first - 1:
            spent = (now - self._began) / (done - self._first + 1)
            left = spent * (self.max_epoch - done)
            text += f", at most {tqdm.format_interval(left)} left"
        return text

    @property
    def epochs_done(self) -> float | None:
        """Epochs finished, with the share of the current one; None: unknown."""
        share = self.batch / self.batches if self.batches else 0.0
        return self.epoch - 1 + min(share, 1.0) if self.epoch else None


def follow(process: subprocess.Popen[bytes], tail: LogTail, state: TrainingLog) -> None:
    """Show progress until the process ends."""
    bar = None
    shown_at, shown = time.monotonic(), (0, 0)
    running = True
    while running:
        running = process.poll() is None
        for line in tail.new_lines():
            if text := state.feed(line, time.monotonic()):
                tqdm.write(text, file=sys.stderr)
                shown_at, shown = time.monotonic(), (state.epoch, state.batch)
        now, at = time.monotonic(), (state.epoch, state.batch)
        if sys.stderr.isatty() and state.max_epoch:
            bar = bar or tqdm(total=state.max_epoch, bar_format=BAR)
            bar.n = state.epochs_done or 0
            bar.set_description_str(state.within_epoch(now))
        elif at != shown and state.batch and now - shown_at >= LINE_EVERY_S:
            print(state.within_epoch(now), file=sys.stderr, flush=True)
            shown_at, shown = now, at
        if running:
            time.sleep(POLL_S)
    if bar is not None:
        bar.close()


def train(command: list[str], log: Path, config: Path) -> None:
    """Run the training command."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    tail = LogTail(log, begin)
    try:
        follow(process, tail, TrainingLog(config))
    finally:
        stop([process])
        tail.close()
    if process.returncode:
        raise TisdissError(failure("training", process, log))
