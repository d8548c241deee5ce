"""Stage 6: train, on this machine only or together with others."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from espnet2_tisdiss.recipes.program import run_or_exit
from espnet2_tisdiss.recipes.stages import follow_training, steps
from espnet2_tisdiss.recipes.stages.launching import launched
from espnet2_tisdiss.recipes.stages.marker import check_beginning
from espnet2_tisdiss.recipes.stages.recipe import Recipe, is_helper, node_rank
from espnet2_tisdiss.recipes.stages.run_jobs import fill

PROGRAMS = "espnet2_tisdiss.recipes.stages"

log = logging.getLogger(__name__)


def train(recipe: Recipe, command: list[str]) -> None:
    """Stage 6: train, or resume a training that began with the same facts."""
    step, begun, exp = steps.training(recipe), steps.beginning(recipe), Path(recipe.exp)
    if is_helper(recipe.opt):
        help_to_train(recipe, command)
        return

    def begin_and_train() -> None:
        has_begun = check_beginning(begun, exp, "name this one with --enh_tag, or ")
        segment = check_training(recipe, command)
        if not has_begun:
            begun.mark_done()
        checkpoint = exp / "checkpoint.pth"
        if checkpoint.is_file():
            log.info("training continues from %s (to start again, remove %s)", checkpoint, exp)
        train_log = exp / "train.log"
        log.info("training in %s, log %s", exp, train_log)
        filled = launched(recipe, fill(command, {"segment": segment}))
        follow_training.train(filled, train_log, exp / "config.yaml")
        run_or_exit([sys.executable, "-m", f"{PROGRAMS}.draw_training", str(exp)])

    step.do_once(begin_and_train)


def help_to_train(recipe: Recipe, command: list[str]) -> None:
    """Stage 6 on a machine other than the first, which keeps the training's folder."""
    steps.training(recipe).check_needs()
    exp = Path(recipe.exp)
    train_log = exp / f"train.node{node_rank()}.log"
    log.info("helping with the training in %s, log %s", exp, train_log)
    filled = fill(command, {"segment": check_training(recipe, command)})
    follow_training.train(launched(recipe, filled), train_log, exp / "config.yaml")


def check_training(recipe: Recipe, command: list[str]) -> str:
    """Check the options of a training; return the length of its segments with dynamic mixing."""
    check = [sys.executable, "-m", f"{PROGRAMS}.check_training", "--fs", recipe.rate]
    if recipe.opt["dynamic_mixing"] == "true":
        check += ["--singles", f"{recipe.raw}/{recipe.train}", "--ref_num", recipe.opt["ref_num"]]
    words = command[command.index("-m") + 2 :]
    return run_or_exit([*check, "--", *words], stdout=subprocess.PIPE).strip()
