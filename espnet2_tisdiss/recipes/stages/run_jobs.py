"""Split key lists, run one process for each part, and show their common progress.

If the utterances' durations are known, the parts have equal duration. The processes run on this
machine, or on the cluster that the environment names (see :mod:`espnet2_tisdiss.cluster`), whose
machines see the work folder at the same path.

The work folder holds <n>/keys1, <n>/out, and <n>/done once that process has succeeded; the logs are
<logs>.<n>.log. When the same plan runs again, only unfinished jobs run; another plan starts with an
empty work folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.cluster import Cluster, configured
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.processes import LogTail, failure, stop
from espnet2_tisdiss.recipes.progress import progress
from espnet2_tisdiss.recipes.stages.remote_process import RemoteProcess, start_remotely

POLL_S = 0.2


@dataclass(frozen=True)
class Plan:
    """The work of the jobs.

    Attributes:
        work: work folder.
        logs: the logs' path, without number.
        key_lists: one or two lists of keys to split.
        nj: number of processes.
        command: in its words, {keys} (or {keys1} and {keys2}) stands for the part's key list and
            {out} for its output folder.
        label: shown with the progress.
        count: pattern of an utterance's log line.
        basis: facts, in addition to its words, that the command depends on.
        durations: utterance -> duration, in any unit; one that is missing counts as the mean.
    """

    work: Path
    logs: Path
    key_lists: list[list[str]]
    nj: int
    command: list[str]
    label: str
    count: str
    basis: Mapping[str, str] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Job:
    """One process over one part of the keys."""

    folder: Path
    log_path: Path
    num_keys: int
    finished: int = 0
    process: subprocess.Popen[bytes] | RemoteProcess | None = None
    log: LogTail | None = None

    @property
    def done(self) -> bool:
        """Whether the process has succeeded, now or in an earlier run."""
        return (self.folder / "done").is_file()


def split(keys: list[str], parts: int, durations: Mapping[str, float]) -> list[list[str]]:
    """Cut keys into ``parts`` runs of about the same duration, in order, none of them empty."""
    known = [durations[key] for key in keys if key in durations]
    mean = sum(known) / len(known) if known else 1.0
    # by an utterance's middle, so that it goes where most of it belongs
    ends = list(accumulate(durations.get(key, mean) for key in keys))
    middles = [(begin + end) / 2 for begin, end in pairwise([0.0, *ends])]
    bounds = [bisect_left(middles, ends[-1] * part / parts) for part in range(parts)]
    for part in range(1, parts):
        bounds[part] = min(max(bounds[part], bounds[part - 1] + 1), len(keys) - parts + part)
    return [keys[begin:end] for begin, end in pairwise([*bounds, len(keys)])]


def fill(command: Sequence[str], places: Mapping[str, str | Path | Sequence[str]]) -> list[str]:
    """Replace {name} by its value; several values replace a complete word."""
    filled: list[str] = []
    for word in command:
        several = places.get(word[1:-1]) if word[:1] + word[-1:] == "{}" else None
        if isinstance(several, Sequence) and not isinstance(several, str):
            filled += several
            continue
        for name, value in places.items():
            word = word.replace(f"{{{name}}}", str(value))
        filled.append(word)
    return filled


def prepare(plan: Plan) -> list[Job]:
    """Prepare the work folder, or continue in that of an earlier run of the same plan."""
    work, key_lists = plan.work, plan.key_lists
    nj = min(plan.nj, *(len(keys) for keys in key_lists))
    if nj == 0:
        raise TisdissError(f"{work}: no utterances to work on")
    parts_of_plan = [key_lists, nj, plan.command, dict(plan.basis)]
    planned = hashlib.sha256(json.dumps(parts_of_plan).encode()).hexdigest()
    plan_file = work / "plan"
    if not plan_file.is_file() or plan_file.read_text(encoding="utf-8") != planned:
        shutil.rmtree(work, ignore_errors=True)
        write_atomically(plan_file, planned)
    parts = [split(keys, nj, plan.durations) for keys in key_lists]
    jobs = []
    for number in range(nj):
        log = plan.logs.with_name(f"{plan.logs.name}.{number + 1}.log")
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


def start(job: Job, command: list[str], threads: int, cluster: Cluster | None) -> None:
    """Start the process of a job, its output going to the job's log."""
    keys1, keys2 = job.folder / "keys1", job.folder / "keys2"
    places = {"keys": keys1, "keys1": keys1, "keys2": keys2}
    job.log_path.parent.mkdir(parents=True, exist_ok=True)
    if cluster is None:
        words = fill(command, {**places, "out": job.folder / "out"})
        environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
        with job.log_path.open("wb") as log:
            job.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
    else:
        job.log_path.write_bytes(b"")
        job.process = start_remotely(cluster, fill(command, places), job.folder, job.log_path)
    job.log = LogTail(job.log_path)


def watch(jobs: list[Job], pattern: re.Pattern[str], label: str) -> None:
    """Wait for all jobs; a job's progress is the number of its log's lines that match."""
    total = sum(job.num_keys for job in jobs)
    with progress(total, label) as reach:
        running = [job for job in jobs if job.process is not None]
        while True:
            alive = [job for job in running if job.process and job.process.poll() is None]
            for job in running:
                if job.log is not None:
                    job.finished += sum(bool(pattern.search(line)) for line in job.log.new_lines())
                if job not in alive and job.process and job.process.returncode == 0:
                    (job.folder / "done").touch()
            counts = [job.num_keys if job.done else job.finished for job in jobs]
            reach(min(sum(counts), total))
            if not alive:
                return
            time.sleep(POLL_S)


def run_jobs(plan: Plan) -> None:
    """Run the jobs.

    Raises:
        TisdissError: jobs failed; a line for each names its log, followed by the log's last lines.
    """
    jobs = prepare(plan)
    cluster = configured()
    threads = max(1, (os.cpu_count() or 1) // len(jobs))
    try:
        for job in jobs:
            if not job.done:
                start(job, plan.command, threads, cluster)
        watch(jobs, re.compile(plan.count), plan.label)
    finally:
        stop([job.process for job in jobs if job.process is not None])
        for job in jobs:
            if job.log is not None:
                job.log.close()
    failures = [
        failure(f"{plan.label}: job {number} of {len(jobs)}", job.process, job.log_path)
        for number, job in enumerate(jobs, start=1)
        if job.process is not None and not job.done
    ]
    if failures:
        raise TisdissError("\n".join(failures))
