#!/usr/bin/env python3
"""Split key lists, run one process for each part, and show the progress of all of them.

In the command, {keys} (or {keys1}, {keys2} with two key lists) stands for the part's key list and
{out} for its output folder.  The work folder holds <n>/keys1, <n>/out, and <n>/done once that
process has succeeded; the logs are <logs>.<n>.log.  Run again with the same keys, number of jobs
and command, only the jobs that are not done run; anything else starts from an empty work folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.processes import LogTail, failure, stop
from espnet2_tisdiss.recipes.program import positive, run_main
from espnet2_tisdiss.recipes.progress import Progress

POLL_S = 0.2


@dataclass
class Job:
    """One process over one part of the keys."""

    folder: Path
    log_path: Path
    num_keys: int
    finished: int = 0
    process: subprocess.Popen[bytes] | None = None
    log: LogTail | None = None

    @property
    def done(self) -> bool:
        """Whether the process has succeeded, now or in an earlier run."""
        return (self.folder / "done").is_file()


def split(keys: list[str], parts: int) -> list[list[str]]:
    """Cut keys into ``parts`` runs whose lengths differ by one at most, in order."""
    bounds = [len(keys) * part // parts for part in range(parts + 1)]
    return [keys[begin:end] for begin, end in zip(bounds, bounds[1:], strict=False)]


def prepare(
    work: Path, logs: Path, key_lists: list[list[str]], nj: int, command: list[str]
) -> list[Job]:
    """Lay out the work folder for ``nj`` jobs, or take up what an earlier run left in it.

    Raises:
        TisdissError: a key list is empty.
    """
    nj = min(nj, *(len(keys) for keys in key_lists))
    if nj == 0:
        raise TisdissError(f"{work}: no utterances to work on")
    plan = hashlib.sha256(json.dumps([key_lists, nj, command]).encode()).hexdigest()
    plan_file = work / "plan"
    if not plan_file.is_file() or plan_file.read_text(encoding="utf-8") != plan:
        shutil.rmtree(work, ignore_errors=True)
        write_atomically(plan_file, plan)
    parts = [split(keys, nj) for keys in key_lists]
    jobs = []
    for number in range(nj):
        log = logs.with_name(f"{logs.name}.{number + 1}.log")
        job = Job(work / str(number + 1), log, sum(len(part[number]) for part in parts))
        jobs.append(job)
        if job.done:
            continue
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True)
        for index, part in enumerate(parts, start=1):
            lines = "".join(f"{key}\n" for key in part[number])
            (job.folder / f"keys{index}").write_text(lines, encoding="utf-8")
    return jobs


def start(job: Job, command: list[str], threads: int) -> None:
    """Start the process of a job, its output going to the job's log."""
    places = {"{out}": job.folder / "out", "{keys}": job.folder / "keys1"}
    places |= {f"{{keys{index}}}": job.folder / f"keys{index}" for index in (1, 2)}
    words = []
    for word in command:
        for mark, path in places.items():
            word = word.replace(mark, str(path))
        words.append(word)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    job.log_path.parent.mkdir(parents=True, exist_ok=True)
    with job.log_path.open("wb") as log:
        job.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    job.log = LogTail(job.log_path)


def watch(jobs: list[Job], pattern: re.Pattern[str], label: str) -> None:
    """Wait for all jobs; a job's progress is the number of its log's lines that match."""
    with Progress(sum(job.num_keys for job in jobs), label) as progress:
        running = [job for job in jobs if job.process is not None]
        while True:
            alive = [job for job in running if job.process and job.process.poll() is None]
            for job in running:
                if job.log is not None:
                    job.finished += sum(bool(pattern.search(line)) for line in job.log.new_lines())
                if job not in alive and job.process and job.process.returncode == 0:
                    (job.folder / "done").touch()
            counts = [job.num_keys if job.done else job.finished for job in jobs]
            progress.reach(min(sum(counts), progress.total))
            if not alive:
                return
            time.sleep(POLL_S)


def run_jobs(
    work: Path,
    logs: Path,
    key_lists: list[list[str]],
    nj: int,
    command: list[str],
    pattern: re.Pattern[str],
    label: str,
) -> None:
    """Run the jobs; see the module docstring.

    Raises:
        TisdissError: jobs failed; a line for each names its log, the log's last lines follow.
    """
    jobs = prepare(work, logs, key_lists, nj, command)
    threads = max(1, (os.cpu_count() or 1) // len(jobs))
    try:
        for job in jobs:
            if not job.done:
                start(job, command, threads)
        watch(jobs, pattern, label)
    finally:
        stop([job.process for job in jobs if job.process is not None])
        for job in jobs:
            if job.log is not None:
                job.log.close()
    failures = [
        failure(f"{label}: job {number} of {len(jobs)}", job.process, job.log_path)
        for number, job in enumerate(jobs, start=1)
        if job.process is not None and not job.done
    ]
    if failures:
        raise TisdissError("\n".join(failures))


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", action="append", required=True, help="list to split (1 or 2)")
    parser.add_argument("--nj", type=positive, required=True, help="number of processes")
    parser.add_argument("--work", type=Path, required=True, help="work folder")
    parser.add_argument("--logs", type=Path, required=True, help="logs are LOGS.<n>.log")
    parser.add_argument("--skip", type=Path, help="list of keys to leave out, if it is there")
    parser.add_argument("--label", required=True, help="shown with the progress")
    parser.add_argument("--count", required=True, help="pattern of one utterance's log line")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    return parser


def main() -> None:
    """Run the command line."""
    args = get_parser().parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    skipped = read_scp(args.skip) if args.skip and args.skip.is_file() else {}
    key_lists = [[key for key in read_scp(path) if key not in skipped] for path in args.keys]
    pattern = re.compile(args.count)
    run_jobs(args.work, args.logs, key_lists, args.nj, command, pattern, args.label)


if __name__ == "__main__":
    sys.exit(run_main("run_jobs", main))
