"""Run a step of local/enh.sh unless it is done: check its inputs, run it, write its marker.

enh.sh calls it as ``run_step STAGE STEP [ARGUMENT]... -- COMMAND...``; the driver's options are in
an environment variable. In the command, names in braces stand for values known only now.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.data_directories import read_lengths
from espnet2_tisdiss.recipes.program import run_main, run_or_exit
from espnet2_tisdiss.recipes.stages import steps
from espnet2_tisdiss.recipes.stages.marker import Step, digest
from espnet2_tisdiss.recipes.stages.recipe import Recipe, handed_on, name_all
from espnet2_tisdiss.recipes.stages.run_jobs import Plan, fill, run_jobs
from espnet2_tisdiss.recipes.stages.run_training import train

log = logging.getLogger(__name__)


def prepare_statistics(recipe: Recipe, command: list[str]) -> None:
    """Stage 5: collect the statistics in jobs and join them."""
    step, stats, nj = steps.statistics(recipe), Path(recipe.stats), int(recipe.opt["nj"])
    work, jobs, joined = stats / "work", stats / "work" / "jobs", stats / "work" / "joined"

    def collect() -> None:
        from espnet2.bin.aggregate_stats_dirs import aggregate_stats_dirs  # slow to import

        train, valid = Path(recipe.raw, recipe.train), Path(recipe.raw, recipe.valid)
        keys = [list(read_scp(folder / "wav.scp")) for folder in (train, valid)]
        logs, lengths = stats / "logs" / "stats", read_lengths(train) | read_lengths(valid)
        plan = Plan(jobs, logs, keys, nj, command, "statistics", "Niter: ", step.values, lengths)
        run_jobs(plan)
        outs = sorted(jobs.glob("*/out"), key=lambda out: int(out.parent.name))
        aggregate_stats_dirs(outs, joined, "WARNING", skip_sum_stats=True)
        for part in ("train", "valid"):
            shutil.rmtree(stats / part, ignore_errors=True)
            (joined / part).rename(stats / part)

    step.do_once(collect, lambda: shutil.rmtree(work))


def separate(recipe: Recipe, command: list[str], name: str) -> None:
    """Stage 7: separate a test set, in one run for all depths that are not done."""
    made = {n_re: steps.separation(recipe, name, n_re) for n_re in recipe.depths}
    for step in made.values():
        step.check_needs()
    check_formatted(recipe)
    pending = {n_re: step for n_re, step in made.items() if not step.is_done()}
    if not pending:
        return
    with next(iter(pending.values())).lock():
        separate_pending(recipe, command, name, pending)


def separate_pending(
    recipe: Recipe, command: list[str], name: str, pending: Mapping[str, Step]
) -> None:
    """Separate a test set at the depths that are not done, N_re -> step."""
    from espnet2_tisdiss.recipes.stages import collect_separated  # slow to import
    from espnet2_tisdiss.recipes.stages.check_inference import check_inference

    check_inference(recipe)
    work = Path(recipe.exp, "inference", recipe.separation(name))
    claim(work, next(iter(pending.values())))
    parts = {n_re: f"re{n_re}" if n_re else "default" for n_re in pending}
    data, num_spk = Path(recipe.raw, name), int(recipe.opt["ref_num"])
    if collect_separated.todo(work, data, num_spk, [*parts.values()]):
        depths = f" (N_re {' '.join(pending)})" if any(pending) else ""
        keys, nj = [list(read_scp(work / "todo.scp"))], int(recipe.opt["inference_nj"])
        label, filled = f"inference {work.name}{depths}", fill(command, {"n_re": [*pending]})
        lengths = read_lengths(data)
        run_jobs(Plan(work / "jobs", work, keys, nj, filled, label, "Enhancing", {}, lengths))
    for n_re, step in pending.items():
        folder = step.marker.parent
        count = collect_separated.collect(work, data, num_spk, parts[n_re], folder)
        log.info("%s: %d mixtures separated", folder, count)
        step.mark_done()


def check_formatted(recipe: Recipe) -> None:
    """Check that the files of all test sets are those that stage 3 has checked."""
    for name in recipe.tests:
        # without data/ (a copied dump), and for a set made by stage 4, there is nothing to compare
        if Path("data", name).is_dir() and name not in (recipe.train, recipe.valid):
            steps.formatting(recipe, name).require("stage 3 checked it", steps.run_first(3))


def claim(work: Path, step: Step) -> None:
    """Keep the results of an interrupted run of a step, if the facts are the same at any depth."""
    facts = [fact for fact in step.facts if fact.name != "--n_re"]
    claimed = Step(what=str(work), marker=work / "facts", facts=facts)
    if claimed.changes() != []:
        shutil.rmtree(work, ignore_errors=True)
        claimed.mark_done()


def score(recipe: Recipe, command: list[str], name: str, n_re: str | None = None) -> None:
    """Stage 8: score a test set separated at a depth or, without a depth, its mixtures."""
    step = steps.scoring(recipe, name, n_re)
    step.check_needs()
    if n_re is not None:
        separated = steps.separation(recipe, name, n_re)
        separated.require("it was separated", steps.run_first(7))
        command = fill(command, {"separated": separated.marker.parent})
    out, data = step.marker.parent, Path(recipe.raw, name)
    work = out.with_name(f"{out.name}.work")
    jobs = work / "jobs"

    def score_and_join() -> None:
        from espnet2_tisdiss.recipes.stages.join_scores import join_scores  # slow to import

        silent = data / "silent_utts"
        skipped = read_scp(silent) if silent.is_file() else {}
        keys = [[key for key in read_scp(data / "wav.scp") if key not in skipped]]
        logs, nj, label = out.parent / "logs" / out.name, int(recipe.opt["nj"]), f"scoring {out}"
        lengths = read_lengths(data)
        run_jobs(Plan(jobs, logs, keys, nj, command, label, "Scoring ", step.values, lengths))
        means = join_scores(jobs, out)
        log.info("%s: %s", out, ", ".join(f"{key} {mean:.2f}" for key, mean in means.items()))

    step.do_once(score_and_join, lambda: shutil.rmtree(work))


def report(recipe: Recipe, command: list[str]) -> None:
    """Stage 8: write the tables and print them."""
    words = []
    for (name, n_re), step in steps.scorings(recipe).items():
        folder = step.marker.parent
        if n_re is None:
            words += ["--mixture", name, str(folder)]
        else:
            words += ["--scored", name, n_re or "default", str(folder.parent)]
    command = fill(command, {"scored": words})
    if not steps.report(recipe).do_once(lambda: run_or_exit(command)):
        run_or_exit([*command, "--only_print"])


def pack(recipe: Recipe, command: list[str]) -> None:
    """Stage 11: pack the model with the scores of its weights."""
    step = steps.packing(recipe)
    step.check_needs()
    weights = Path(recipe.exp, recipe.opt["inference_model"])
    scored = steps.report(recipe).recorded() or {}
    if scored.get(str(weights)) != digest(weights):
        raise TisdissError(
            f"{recipe.exp}/RESULTS.md is not of the weights {weights}: {steps.run_first(8)}"
        )
    archive = Path(step.what)

    def pack_aside() -> None:
        with replacing(archive) as temporary:
            run_or_exit(fill(command, {"out": temporary}), stdout=subprocess.DEVNULL)

    if step.do_once(pack_aside):
        log.info("packed model: %s", archive)


# steps that do more than run a command
SPECIAL: dict[str, Callable[..., None]] = {
    "statistics": prepare_statistics,
    "training": train,
    "separation": separate,
    "scoring": score,
    "report": report,
    "packing": pack,
}


def check_singles(recipe: Recipe) -> None:
    """Refuse to mix a training set's mixtures with each other."""
    folder = Path("data", recipe.opt["train_set"])
    if recipe.opt["dynamic_mixing"] == "true" and (folder / "spk1.scp").exists():
        raise TisdissError(
            f"{folder} holds mixtures (spk1.scp); dynamic mixing needs single utterances: name a "
            "--train_set with only wav.scp and utt2spk, or leave out --dynamic_mixing"
        )


def do_step(
    recipe: Recipe, stage: int, name: str, arguments: list[str], command: list[str]
) -> None:
    """Do a step unless it is done."""
    if 2 <= stage <= 6:  # stage 1 may make the training set, and from stage 7 on it is not read
        check_singles(recipe)
    if name in SPECIAL:
        SPECIAL[name](recipe, command, *arguments)
    else:
        getattr(steps, name)(recipe, *arguments).do_once(lambda: run_or_exit(command))


def main() -> None:
    """Run the command line."""
    stage, name, *rest = sys.argv[1:]
    split = rest.index("--")
    logging.basicConfig(
        format=f"%(asctime)s (enh.sh) stage {stage}: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=logging.INFO,
    )
    try:
        do_step(name_all(handed_on()), int(stage), name, rest[:split], rest[split + 1 :])
    except (TisdissError, OSError) as error:
        log.error("error: %s", error)
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(run_main("run_step", main))
