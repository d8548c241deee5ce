"""Run all steps within a number of minutes; see benchmarks/gpu.sh."""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from measuring import ROOT

from gpu.sizes import Sizes, sizes_of
from gpu.steps import Outcome, run_step, write_outcomes

# shares of the time; the training gets the rest
SHARES = {"correctness": 0.2, "inference": 0.18, "training": 0.2}
CORPUS_S = 240.0  # for unpacking the corpus, meanwhile
# reserved for start and end of the training; minimum for it
START_S, END_S, LEAST_S = 20.0, 10.0, 10.0


def run(args: argparse.Namespace) -> list[Outcome]:
    """Run the steps one after the other, while the corpus is unpacked."""
    args.out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    deadline = args.began + 60 * args.minutes
    available_s = deadline - time.time()
    options = [str(args.out), "--device", args.device]

    def step(name: str, limit_s: float, *more: str) -> None:
        command = [sys.executable, "-m", f"gpu.{name}", *options, *more]
        outcomes.append(run_step(name, command, limit_s, args.out))
        write_outcomes(args.out, outcomes)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        # the steps share compiled kernels
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(folder, "compiled")))
        bank = Path(folder, "bank")
        unpacking: Future[Outcome] | None = None
        if args.corpus:
            program = str(ROOT / "benchmarks/pack_corpus.py")
            command = [sys.executable, program, "--unpack", str(args.corpus), str(bank)]
            limit_s = min(CORPUS_S, available_s)
            unpacking = pool.submit(run_step, "corpus", command, limit_s, args.out)
        for name, share in SHARES.items():
            step(name, share * available_s)
        more = []
        if unpacking is not None:
            outcomes.append(unpacking.result())
            if outcomes[-1].code == 0:
                more = ["--bank", str(bank)]
        if args.init:
            more += ["--init", str(args.init)]
        left = max(deadline - time.time(), START_S + LEAST_S + END_S)
        step("fit", left, "--seconds", str(_training_seconds(left, sizes_of(args.device))), *more)
    return outcomes


def _training_seconds(left: float, sizes: Sizes) -> float:
    """Return the seconds left for training, without its start and end."""
    return min(sizes.most_fit_s, max(LEAST_S, left - START_S - END_S))


def main() -> None:
    """Run the command line."""
    arguments = argparse.ArgumentParser(prog="gpu.sh", description=__doc__)
    arguments.add_argument("out", type=Path, help="folder of the results")
    arguments.add_argument("--minutes", type=float, default=10.0, help="for all [%(default)g]")
    arguments.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments.add_argument("--corpus", type=Path, help="packed by pack_corpus.py [noise]")
    arguments.add_argument("--init", type=Path, help="weights to start the training from")
    arguments.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    args = arguments.parse_args()
    for path in (args.corpus, args.init):
        if path is not None and not path.is_file():
            sys.exit(f"gpu.sh: {path}: no such file")
    outcomes = run(args)
    sys.stdout.write((args.out / "steps.md").read_text())
    sys.exit(any(outcome.code != 0 or outcome.timed_out for outcome in outcomes))


if __name__ == "__main__":
    main()
