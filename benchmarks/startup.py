"""Measure how long commands take from start to end on a little audio: mostly imports.

    python benchmarks/startup.py --page docs/performance.md

times separate processes, in alternation: warm, with their files in memory, and cold, reading from
disk. For cold times the machine's page cache is dropped before each process, which needs root;
otherwise they are left out. The unit is ``python -c "import torch"`` in the same state.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import soundfile
import torch
from measuring import begin, parser, run_main, seconds_of
from results import check_page, machine, number, record, table
from run_progress import RunProgress

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.bundled import bundled_model, example

SECTION = "startup-cpu"
PAGE_CACHE = Path("/proc/sys/vm/drop_caches")
TISDISS = "from espnet2_tisdiss.cli.app import main; main()"
LOAD = "from espnet2_tisdiss import SeparateSpeech; SeparateSpeech.from_pretrained()"
LOAD_ESPNETS = (
    "import sys, espnet2_tisdiss; from espnet2.bin.enh_inference import SeparateSpeech; "
    "SeparateSpeech(*sys.argv[1:])"
)
UNIT = "`import torch`"


def commands(folder: Path) -> dict[str, list[str]]:
    """Return name -> arguments of Python of the timed programs; their results go to ``folder``."""
    (recording,) = (example() / "mix").glob("*.wav")
    model = bundled_model()
    separated, swept = str(folder / "separated"), str(folder / "sweep")
    return {
        UNIT: ["import torch"],
        "`SeparateSpeech.from_pretrained()`": [LOAD],
        "the same by ESPnet's class": [LOAD_ESPNETS, f"{model}/config.yaml", f"{model}/model.pth"],
        f"`tisdiss separate`, {soundfile.info(recording).duration:.1f} s of audio": [
            *(TISDISS, "separate", str(recording), "-o", separated, "--overwrite")
        ],
        "`tisdiss info`": [TISDISS, "info"],
        "`tisdiss sweep`, one mixture": [TISDISS, "sweep", str(example()), "-o", swept],
    }


def run(arguments: list[str], threads: int) -> None:
    """Run a program given to Python's ``-c`` in a new process.

    Raises:
        TisdissError: it failed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        *_, reason = done.stderr.strip().splitlines() or ["no message"]
        raise TisdissError(f"{' '.join(arguments)}: failed: {reason}")


def drop_page_cache() -> bool:
    """Drop the page cache, so that files are read from disk; return whether that is allowed."""
    os.sync()
    try:
        PAGE_CACHE.write_text("1")
    except OSError:
        return False
    return True


def times(
    programs: Mapping[str, list[str]],
    args: argparse.Namespace,
    prepare: Callable[[], object],
    on_step: Callable[[float], None],
) -> dict[str, float]:
    """Return the median seconds of each program; programs alternate.

    Args:
        programs: by name.
        args: the benchmark's.
        prepare: called before each run, untimed.
        on_step: called after each run, with 1.
    """
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(args.repeats):
        for name, arguments in programs.items():
            prepare()
            found[name].append(seconds_of(partial(run, arguments, args.threads))[0])
            on_step(1)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def report(warm: Mapping[str, float], cold: Mapping[str, float] | None) -> str:
    """Return the table of seconds and ratios to the unit, and a line if there are no cold times."""
    states = {"warm": warm} | ({"cold": cold} if cold else {})
    header = ["", *(f"{state}, {what}" for state in states for what in ("s", "ratio"))]
    rows = [
        [name, *(number(x) for seconds in states.values() for x in _with_ratio(seconds, name))]
        for name in warm
    ]
    missing = "" if cold else "\nNot measured cold: only root may drop the page cache.\n"
    return f"Whole processes; the ratio is to {UNIT}\n\n{table(header, rows)}{missing}"


def _with_ratio(seconds: Mapping[str, float], name: str) -> tuple[float, float]:
    return seconds[name], seconds[name] / seconds[UNIT]


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.set_defaults(repeats=3)
    args = arguments.parse_args(argv)
    if args.device != "cpu":
        raise TisdissError(f"--device {args.device}: measures CPUs only")
    begin(args.threads, args.device)
    check_page(args.page, SECTION)
    with tempfile.TemporaryDirectory() as name:
        programs = commands(Path(name))
        is_cold = drop_page_cache()
        with RunProgress.shown((1 + is_cold) * args.repeats * len(programs), "startup") as progress:
            cold = times(programs, args, drop_page_cache, progress.advance) if is_cold else None
            warm = times(programs, args, lambda: None, progress.advance)
    content = f"{machine(torch.device('cpu'))}\n{report(warm, cold)}"
    print(content)
    if args.page:
        record(args.page, SECTION, content)


if __name__ == "__main__":
    run_main(main)
