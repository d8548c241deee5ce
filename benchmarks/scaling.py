"""Train the same small model at several depths, and without multi-loss or sharing of weights.

Every model is trained with every seed under equal conditions, run at all depths, and scored; tables
and a picture compare them. When the same command is given again, finished work is skipped and
interrupted work continues. Options that are not listed here, such as --ngpu 1, are passed to
run.sh.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from depth_gain import read_epochs
from results import check_page, record
from scaling_report import collect, draw, report_text, trainings
from scaling_variants import VARIANTS, Run, plan
from tqdm import tqdm

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.processes import LogTail, failure, stop
from espnet2_tisdiss.recipes.program import positive, run_main
from espnet2_tisdiss.user_files import read_yaml

EGS2 = Path(__file__).absolute().parents[1] / "egs2"
CONFIG = "conf/train_scaling.yaml"
POLL_S = 0.5
EPOCH = re.compile(r"epoch \d+/\d+: train loss")
BAR = "{n_fmt}/{total_fmt} runs |{bar:20}| {elapsed} {desc}"


class Recipe(NamedTuple):
    """A recipe that the experiment runs with.

    Attributes:
        folder: with run.sh.
        size: of the corpus, unless --size names another.
        section: of the page, and name of the picture.
    """

    folder: Path
    size: str
    section: str


RECIPES = {
    "mini_2mix": Recipe(EGS2 / "mini_2mix/enh1", "full", "scaling"),
    "voices_2mix": Recipe(EGS2 / "voices_2mix/enh1", "default", "scaling-voices"),
}


@dataclass
class Task:
    """A running step of a run: a process of run.sh with its output in a log.

    Attributes:
        run: that the step belongs to.
        step: "train" or "evaluate".
        process: of run.sh.
        tail: reads new lines of the log.
        latest: last line of the log.
    """

    run: Run
    step: str
    process: subprocess.Popen[bytes]
    tail: LogTail
    latest: str = ""

    def follow(self) -> None:
        """Read the new lines of the log, and report every epoch."""
        for line in self.tail.new_lines():
            self.latest = line.rpartition("(enh.sh) ")[2].strip() or self.latest
            if EPOCH.match(line):
                tqdm.write(f"{self.run.name}: {line}", file=sys.stderr)


class Experiment:
    """Starts the runs.

    Args:
        args: of the command line.
        options: for run.sh.
    """

    def __init__(self, args: argparse.Namespace, options: Sequence[str]):
        self.args = args
        self.recipe = RECIPES[args.recipe].folder
        config = read_yaml(self.recipe / CONFIG)
        self.steps_args = steps_args(args.steps, config["num_iters_per_epoch"])
        steps = f"_{args.steps}steps" if args.steps else ""
        size = args.size or RECIPES[args.recipe].size
        self.folder = Path("exp") / f"{size}_{args.seed}" / f"scaling{steps}"
        self.command = ["./run.sh", "--python", sys.executable, "--size", size]
        self.command += ["--seed", str(args.seed), "--enh_config", CONFIG, *options]

    def options_of(self, run: Run, step: str) -> list[str]:
        """Return the options of run.sh for a step of a run."""
        words = [*run.variant.enh_args(), f"--seed {run.seed}", *self.steps_args]
        depths = run.variant.separated_at(self.args.n_re)
        stages = ("6", "6") if step == "train" else ("7", "8")
        return [
            *("--enh_exp", str(self.folder / run.name), "--enh_args", " ".join(words)),
            *("--n_re", " ".join(map(str, depths))),
            *("--stage", stages[0], "--stop_stage", stages[1]),
        ]

    def environment_of(self, step: str) -> Mapping[str, str]:
        """Return the environment of a step: simultaneous trainings share the threads.

        Only one run is evaluated at a time; run.sh sets the threads of its processes.
        """
        if step != "train" or self.args.jobs == 1:
            return os.environ
        given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
        threads = int(given) if given.isdecimal() else os.cpu_count() or 1
        return os.environ | {"OMP_NUM_THREADS": str(max(1, threads // self.args.jobs))}

    def prepare(self) -> None:
        """Make the corpus and its statistics, which all runs share.

        Raises:
            TisdissError: run.sh failed, and has said why.
        """
        command = [*self.command, "--stop_stage", "5"]
        process = subprocess.Popen(command, cwd=self.recipe, stdout=sys.stderr)
        try:
            if process.wait():
                raise TisdissError("the corpus could not be prepared")
        finally:
            stop([process])

    def begin(self, run: Run, step: str) -> Task:
        """Start a step of a run."""
        log = log_of(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            start = output.tell()
            process = subprocess.Popen(
                [*self.command, *self.options_of(run, step)],
                cwd=self.recipe,
                env=self.environment_of(step),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return Task(run, step, process, LogTail(log, start))


def log_of(run: Run) -> Path:
    """Return the log of a run, to which every start appends."""
    return run.folder / "scaling.log"


def steps_args(steps: int | None, epoch_steps: int) -> list[str]:
    """Return options of enh_train for about ``steps`` steps, ``epoch_steps`` at most an epoch."""
    if steps is None:
        return []
    epochs = -(-steps // epoch_steps)
    each = -(-steps // epochs)
    return [
        f"--max_epoch {epochs}",
        f"--num_iters_per_epoch {each}",
        f"--scheduler_conf max_steps={epochs * each}",
    ]


def carry_out(runs: Sequence[Run], jobs: int, begin: Callable[[Run, str], Task]) -> list[str]:
    """Train and evaluate all runs, the first ones first.

    Up to ``jobs`` runs are under way at once. They share a folder of scores, so only one of them is
    evaluated at a time.

    Returns:
        The failures, one text each; they do not stop the other runs.
    """
    waiting = deque(runs)
    failures: list[str] = []
    active: list[Task] = []
    is_hidden = not sys.stderr.isatty()
    with tqdm(total=len(runs), bar_format=BAR, dynamic_ncols=True, disable=is_hidden) as bar:
        try:
            while waiting or active:
                while waiting and len(active) < jobs:
                    active.append(begin(waiting.popleft(), "train"))
                active = _advance(active, begin, failures)
                bar.n = len(runs) - len(waiting) - len(active)
                bar.set_description_str("; ".join(f"{t.run.name}: {t.latest}" for t in active))
                time.sleep(POLL_S)
        finally:
            stop([task.process for task in active])
            for task in active:
                task.tail.close()
    return failures


def _advance(
    active: Sequence[Task], begin: Callable[[Run, str], Task], failures: list[str]
) -> list[Task]:
    """Look at all steps under way, start those that follow, and return the steps then under way."""
    left: list[Task] = []
    evaluating = any(task.step == "evaluate" for task in active)
    for task in active:
        ended = task.process.poll() is not None
        task.follow()
        if not ended or (task.step == "train" and task.process.returncode == 0 and evaluating):
            left.append(task)
            continue
        task.tail.close()
        if task.process.returncode:
            failures.append(
                failure(f"{task.run.name}: {task.step}", task.process, log_of(task.run))
            )
            tqdm.write(f"{task.run.name}: failed", file=sys.stderr)
        elif task.step == "train":
            evaluating = True
            left.append(begin(task.run, "evaluate"))
        else:
            try:
                tqdm.write(f"{task.run.name}: {scores_line(task.run)}", file=sys.stderr)
            except TisdissError as error:  # counts as a failure; the other runs continue
                failures.append(f"{task.run.name}: {error}")
    return left


def scores_line(run: Run) -> str:
    """Return the scores of a finished run as one line."""
    (outcome,) = collect([run])
    each = ", ".join(f"{outcome.mean(n_re):.2f} dB at N_re {n_re}" for n_re in outcome.depths)
    return f"finished: SI-SNRi {each}"


def write_report(
    runs: Sequence[Run], longer: Sequence[Path], page: Path | None, section: str
) -> None:
    """Print the tables of the finished runs, and write them and the picture to a page.

    Args:
        runs: of the experiment.
        longer: folders of other experiments, whose gain from depth is reported as well.
        page: a page with the section, or None.
        section: of the page.
    """
    outcomes, trained = collect(runs), trainings(runs, longer)
    content = report_text(runs, outcomes, trained)
    print(content)
    if page is not None:
        name = f"images/{section}.png"
        write_atomically(page.parent / name, draw(outcomes, trained))
        picture = f"![SI-SNRi against N_re, a line for each model]({name})"
        record(page, section, f"{content}\n{picture}")


def _names(text: str) -> list[str]:
    names = text.split()
    for name in names:
        if name not in VARIANTS:
            raise argparse.ArgumentTypeError(f"{name!r}: must be of {', '.join(VARIANTS)}")
    return _not_empty(names)


def _numbers(text: str) -> list[int]:
    if not all(word.isascii() and word.isdigit() for word in text.split()):
        raise argparse.ArgumentTypeError(f"{text!r}: must be whole numbers")
    return _not_empty([int(word) for word in text.split()])


def _depths(text: str) -> list[int]:
    if 0 in (depths := _numbers(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: must be numbers from 1 on")
    return depths


def _not_empty(values: list) -> list:
    if not values:
        raise argparse.ArgumentTypeError("must not be empty")
    return list(dict.fromkeys(values))


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        "scaling.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--recipe", choices=RECIPES, default="mini_2mix", help="whose corpus (%(default)s)")
    add("--size", help="of the corpus, as for run.sh (mini_2mix: full, voices_2mix: default)")
    add("--seed", type=int, default=0, help="of the corpus (%(default)s)")
    add("--seeds", type=_numbers, default="0 1", help='of the trainings ("%(default)s")')
    add(
        "--variants",
        type=_names,
        default=" ".join(VARIANTS),
        help='models to train ("%(default)s"); --list says what they are',
    )
    add("--n_re", type=_depths, default="1 2 3 4 5 6 7 8", help='depths ("%(default)s")')
    add("--steps", type=positive, help="of training, instead of the configuration's")
    add(
        "--jobs",
        type=positive,
        default=1,
        help="runs at a time, each with its share of the threads (%(default)s)",
    )
    add(
        "--longer",
        type=Path,
        nargs="+",
        default=[],
        metavar="EXP_DIR",
        help="other trainings, such as that of the full size, whose gain from depth is reported",
    )
    add("--page", type=Path, help="page whose section gets the report, *.md")
    add("--report_only", action="store_true", help="report the finished runs; train nothing")
    add("--list", action="store_true", help="print models and their options; train nothing")
    return parser


def main() -> None:
    """Run the command line."""
    args, options = get_parser().parse_known_args()
    if args.list:
        for variant in VARIANTS.values():
            print(f"{variant.name}: {variant.meaning}\n    {' '.join(variant.enh_args())}")
        return
    section = RECIPES[args.recipe].section
    check_page(args.page, section)
    for folder in args.longer:
        read_epochs(folder)  # an error is reported before the work
    experiment = Experiment(args, options)
    runs = plan(experiment.recipe / experiment.folder, args.variants, args.seeds)
    failures = []
    if not args.report_only:
        # the runs in the folder have locks themselves
        with holding(experiment.recipe / experiment.folder, clean=False):
            experiment.prepare()
            failures = carry_out(runs, args.jobs, experiment.begin)
    try:
        if not failures or any(run.finished for run in runs):
            # a failed run may have older scores, which are printed, but not written to the page
            write_report(runs, args.longer, None if failures else args.page, section)
    except TisdissError as error:
        failures.append(str(error))
    if failures:
        raise TisdissError("\n".join(failures))


if __name__ == "__main__":
    sys.exit(run_main("scaling.sh", main))
