"""Simulate file-by-file work on 1 to 256 workers, and check the simulation on this machine.

Workers take shares of files from a queue, in order. A worker needs some time to start; some are
slow; some die, and then the next free worker repeats the lost share. The check runs real processes
with the recipes' function, on work that only waits.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.recipes.parallel import map_in_processes, share_size

# bytes of the gradients that all processes of a training add up
PARAMETERS = 8.0e6
GRADIENT_BYTES = 4 * PARAMETERS
CHECKED = (1, 2, 4, 8)
SIMULATED = (1, 4, 16, 64, 256)


@dataclass(frozen=True)
class Workers:
    """How workers behave.

    Attributes:
        start_s: seconds until a worker takes its first share, and after a failure again.
        slow_share: fraction of the workers that is slow.
        slowness: how many times as long these need.
        failures_per_h: how often a worker dies.
        dispatch_s: seconds of the driver for each share; it gives out one at a time.
    """

    start_s: float = 0.0
    slow_share: float = 0.0
    slowness: float = 1.0
    failures_per_h: float = 0.0
    dispatch_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The result of a simulated run.

    Attributes:
        seconds: time from the beginning to the end of the last file.
        efficiency: seconds of useful work per second of each worker.
        lost_s: seconds of work lost with dead workers.
    """

    seconds: float
    efficiency: float
    lost_s: float


def simulate(
    durations: Sequence[float], count: int, size: int, workers: Workers, seed: int = 0
) -> Outcome:
    """Simulate a run.

    Args:
        durations: seconds of work of each file.
        count: number of workers.
        size: files in a share.
        workers: how these behave.
        seed: of the failures.
    """
    rng = np.random.default_rng(seed)
    queue = deque(sum(share) for share in itertools.batched(durations, size))
    slow = round(count * workers.slow_share)
    speeds = [workers.slowness if number < slow else 1.0 for number in range(count)]
    free = [(workers.start_s, number) for number in range(count)]
    driver_free = end = lost = 0.0
    while queue:
        now, number = heapq.heappop(free)
        begin = driver_free = max(now, driver_free) + workers.dispatch_s
        share = queue.popleft()
        needed = share * speeds[number]
        dies_after = math.inf
        if workers.failures_per_h:
            dies_after = rng.exponential(3600 / workers.failures_per_h)
        if dies_after < needed:
            lost += dies_after
            queue.appendleft(share)
            heapq.heappush(free, (begin + dies_after + workers.start_s, number))
        else:
            end = max(end, begin + needed)
            heapq.heappush(free, (begin + needed, number))
    return Outcome(end, sum(durations) / (count * end), lost)


def adding_up_s(processes: int, bytes_per_s: float, latency_s: float) -> float:
    """Return the seconds in which processes in a ring add up their gradients."""
    passes = 2 * (processes - 1)
    return passes * (GRADIENT_BYTES / processes / bytes_per_s + latency_s)


def some_durations(count: int, mean_s: float, seed: int = 0) -> list[float]:
    """Return typical durations of recordings: many short ones, a few several times as long."""
    spread = 0.7
    drawn = np.random.default_rng(seed).lognormal(-(spread**2) / 2, spread, count)
    return list(mean_s * drawn)


def run_here(durations: Sequence[float], count: int) -> float:
    """Return the seconds that processes of this machine need for work that only waits."""
    began = time.perf_counter()
    for _ in map_in_processes(time.sleep, durations, count, f"{count} processes"):
        pass
    return time.perf_counter() - began


def check_table() -> str:
    """Compare simulated and real runs."""
    durations = some_durations(400, 0.05)
    rows = []
    for count in CHECKED:
        measured = run_here(durations, count)
        # an empty run measures only the start
        start_s = run_here([0.0] * count, count) if count > 1 else 0.0
        size = share_size(len(durations), count)
        made = simulate(durations, count, size, Workers(start_s=start_s))
        error = made.seconds / measured - 1
        rows.append([str(count), f"{measured:.2f}", f"{made.seconds:.2f}", f"{error:+.0%}"])
    return markdown_table(["processes", "measured s", "simulated s", "difference"], rows)


def simulation_table() -> str:
    """Simulate a million recordings of ten seconds, separated at 50 times real time by a worker."""
    durations = some_durations(1_000_000, 10 / 50)
    usual = Workers(start_s=30, dispatch_s=0.002)
    kinds = {
        "undisturbed": usual,
        "one in ten half as fast": replace(usual, slow_share=0.1, slowness=2),
        "each dies once an hour": replace(usual, failures_per_h=1),
    }
    rows = []
    for count in SIMULATED:
        size = share_size(len(durations), count)
        row = [str(count)]
        for workers in kinds.values():
            made = simulate(durations, count, size, workers)
            row.append(f"{made.seconds / 3600:.2f} h ({made.efficiency:.0%})")
        rows.append(row)
    return markdown_table(["workers", *kinds], rows)


def communication_table() -> str:
    """Compare the time for adding up gradients with that of a training step."""
    step_s = 4 * 4 * 404e9 * 2 * 3 / 20e12  # 4 segments of 4 s for each GPU
    networks = {"PCIe, 10 GB/s": (10e9, 1e-5), "10 Gbit/s": (1.25e9, 5e-5)}
    networks["1 Gbit/s"] = (0.125e9, 1e-4)
    rows = []
    for count in (2, 8, 32, 256):
        shares = [adding_up_s(count, *network) for network in networks.values()]
        cells = (f"{1000 * seconds:.0f} ms ({seconds / step_s:.0%})" for seconds in shares)
        rows.append([str(count), *cells])
    return markdown_table(["GPUs", *networks], rows)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write the tables to this page")
    parser.add_argument("--only", choices=("communication", "check", "simulation"))
    args = parser.parse_args()
    # here, because the processes of the check import this module, and these import PyTorch
    from results import check_page, record

    makers = {
        "communication": communication_table,
        "check": check_table,
        "simulation": simulation_table,
    }
    makers = {name: make for name, make in makers.items() if args.only in (None, name)}
    for name in makers:
        check_page(args.page, name)
    for name, make in makers.items():
        made = make()
        sys.stdout.write(f"{name}\n\n{made}\n")
        if args.page:
            record(args.page, name, made)


if __name__ == "__main__":
    main()
