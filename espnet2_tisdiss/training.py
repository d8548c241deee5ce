"""Trainings that go on however they were stopped, even while they were writing.

ESPnet overwrites ``checkpoint.pth`` after each epoch and then writes the epoch's weights: one that
is stopped there leaves a checkpoint that cannot be read, or lacks weights that its average needs.
"""

import logging
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from espnet2.tasks.enh import EnhancementTask
from espnet2.train.trainer import Trainer

from espnet2_tisdiss.textfiles import written_aside

KEPT, BROKEN = "checkpoint.pth.kept", "checkpoint.pth.broken"


class ResumableTrainer(Trainer):
    """ESPnet's trainer, which keeps a second checkpoint and mends a folder before it goes on."""

    @classmethod
    def run(cls, *args: Any, **options: Any) -> None:
        """Train as ESPnet does, after :func:`mend` where a training may go on."""
        settings, processes = options["trainer_options"], options["distributed_option"]
        if settings.resume and _is_first(processes):
            mend(Path(settings.output_dir))
        if processes.distributed:  # the others wait for what they are going to read
            torch.distributed.barrier()
        super().run(*args, **options)

    @classmethod
    def train_one_epoch(cls, *args: Any, **options: Any) -> bool:
        """Keep the checkpoint of the epoch before, then train one as ESPnet does."""
        if _is_first(options["distributed_option"]):
            keep(Path(options["options"].output_dir))
        return super().train_one_epoch(*args, **options)


class ResumableTask(EnhancementTask):
    """ESPnet's enhancement task with that trainer, but for DeepSpeed, which brings its own."""

    @classmethod
    def main_worker(cls, args: Namespace) -> None:
        """Train with parsed options, in each of a training's processes."""
        cls.trainer = Trainer if args.use_deepspeed else ResumableTrainer
        super().main_worker(args)


def keep(output_dir: Path) -> None:
    """Copy a training's checkpoint, where there is one, beside it."""
    checkpoint = output_dir / "checkpoint.pth"
    if checkpoint.exists():
        with written_aside(output_dir / KEPT) as aside:
            shutil.copyfile(checkpoint, aside)


def mend(output_dir: Path) -> None:
    """Bring a training's folder to where its last whole checkpoint says it is.

    A checkpoint that was not written to its end gets another name, and the one kept takes its place
    where there is one; weights that the checkpoint's epoch lacks are written from it.
    """
    checkpoint, kept = output_dir / "checkpoint.pth", output_dir / KEPT
    if checkpoint.exists() and not is_zipfile(checkpoint):  # its table of contents comes last
        checkpoint.replace(output_dir / BROKEN)
        if is_zipfile(kept):
            kept.replace(checkpoint)
        before = "going on from the epoch before" if checkpoint.exists() else "beginning anew"
        logging.warning(f"{checkpoint} was not whole (it is now {BROKEN}): {before}")
    if not checkpoint.exists():
        return
    states = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights = output_dir / f"{states['reporter']['epoch']}epoch.pth"
    if not is_zipfile(weights):
        logging.warning(f"{weights} was not whole: written from {checkpoint}")
        with written_aside(weights) as aside:
            torch.save(states["model"], aside)
    with written_aside(output_dir / "latest.pth") as aside:
        aside.symlink_to(weights.name)


def _is_first(processes: Any) -> bool:
    return not processes.distributed or processes.dist_rank == 0
