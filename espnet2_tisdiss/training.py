"""ESPnet's training for this package: resumable, on mixtures made as it goes, deeper by steps.

ESPnet overwrites ``checkpoint.pth`` after each epoch and then writes the epoch's weights: one that
is stopped there leaves a checkpoint that cannot be read, or lacks weights that its average needs.
"""

import logging
import multiprocessing
import os
import shutil
import tempfile
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.tasks.enh import EnhancementTask
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction
from torch import nn

from espnet2_tisdiss.memory import keep_freed_memory
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory
from espnet2_tisdiss.mixing.scenes import MixingConfig
from espnet2_tisdiss.textfiles import written_aside

KEPT, BROKEN = "checkpoint.pth.kept", "checkpoint.pth.broken"


@dataclass
class DepthTrainerOptions(TrainerOptions):
    """ESPnet's options, and ``depth_schedule``; see :func:`depth_of_epoch`."""

    depth_schedule: Mapping[int, int]


class ResumableTrainer(Trainer):
    """ESPnet's trainer, which keeps a second checkpoint and mends a folder before it goes on.

    It also trains at fewer repetitions at first, where ``depth_schedule`` asks for it.
    """

    @classmethod
    def build_options(cls, args: Namespace) -> DepthTrainerOptions:
        """Return the options that training reads."""
        return build_dataclass(DepthTrainerOptions, args)

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
        if options["options"].depth_schedule:
            depth = depth_of_epoch(
                options["options"].depth_schedule, options["reporter"].get_epoch()
            )
            _inner(options["model"]).separator.reconstructor_repeat_times = depth
            logging.info(f"training at N_re {depth}")
        return super().train_one_epoch(*args, **options)


class ResumableTask(EnhancementTask):
    """ESPnet's enhancement task with that trainer, but for DeepSpeed, which brings its own.

    ``iterator_type: task`` trains on mixtures that ``mixing_conf`` describes.
    """

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Add this package's options to ESPnet's."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("TISDiSS")
        group.add_argument(
            "--mixing_conf",
            action=NestedDictAction,
            default={},
            help="mixtures made in training, with --iterator_type task",
        )
        group.add_argument(
            "--cpu_processes",
            type=int,
            default=1,
            help="processes that share each batch of a training on CPUs",
        )
        group.add_argument(
            "--depth_schedule",
            action=NestedDictAction,
            default={},
            help="repetitions in training by first epoch, such as {1: 2, 10: 4, 20: 6}",
        )

    @classmethod
    def build_task_iter_factory(
        cls, args: Namespace, iter_options: IteratorOptions, mode: str
    ) -> MixtureIterFactory:
        """Return what makes the training's mixtures; ``--valid_iterator_type`` is another one."""
        if mode != "train":
            raise ValueError(
                f"iterator_type task makes no {mode} batches: set valid_iterator_type, and "
                "num_att_plot to 0"
            )
        if not args.num_iters_per_epoch:
            raise ValueError("iterator_type task needs num_iters_per_epoch")
        distributed = iter_options.distributed
        return MixtureIterFactory(
            MixingConfig.from_options(args.mixing_conf),
            seed=args.seed,
            batch_size=args.batch_size,
            num_iters=args.num_iters_per_epoch,
            collate=iter_options.collate_fn,
            num_workers=args.num_workers,
            pin_memory=args.ngpu > 0,
            rank=torch.distributed.get_rank() if distributed else 0,
            world_size=torch.distributed.get_world_size() if distributed else 1,
        )

    @classmethod
    def main_worker(cls, args: Namespace) -> None:
        """Train with parsed options, in each of a training's processes."""
        cls.trainer = Trainer if args.use_deepspeed else ResumableTrainer
        keep_freed_memory()
        if args.cpu_processes > 1 and not (args.ngpu or args.distributed or args.collect_stats):
            train_on_cpus(cls, args)
        else:
            super().main_worker(args)


def train_on_cpus(task: type[EnhancementTask], args: Namespace) -> None:
    """Train by ``cpu_processes`` processes, each with its share of the cores and of every batch.

    PyTorch's operators are too short to keep several cores busy: two processes of one thread get
    half as much again done as one process of two threads.

    Args:
        task: whose ``main_worker`` trains.
        args: the training's options.
    """
    count = args.cpu_processes
    threads = max(1, torch.get_num_threads() // count)
    with tempfile.TemporaryDirectory() as folder:
        args.distributed, args.dist_backend, args.dist_world_size = True, "gloo", count
        args.dist_init_method = f"file://{folder}/rendezvous"
        torch.multiprocessing.start_processes(_train_share, (task, args, threads), count)


def _train_share(rank: int, task: type[EnhancementTask], args: Namespace, threads: int) -> None:
    """Train as one of several processes, which ends when its parent is gone."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    args.dist_rank = rank
    task.main_worker(args)
    torch.distributed.destroy_process_group()


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def depth_of_epoch(schedule: Mapping[int, int], epoch: int) -> int:
    """Return the repetitions of an epoch.

    The first epochs of a deep model learn as much from few repetitions, at a fraction of the cost:
    the repetitions share their weights.

    Args:
        schedule: N_re by the first epoch that has it; the first one of all must be 1.
        epoch: number of the epoch, from 1.

    Raises:
        ValueError: the schedule says nothing of the epoch.
    """
    by_epoch = {int(first): depth for first, depth in schedule.items()}
    begun = [first for first in by_epoch if first <= epoch]
    if not begun:
        raise ValueError(f"depth_schedule must begin with epoch 1; got {dict(schedule)}")
    return by_epoch[max(begun)]


def _inner(model: nn.Module) -> nn.Module:
    """Return the model that ESPnet wraps for several processes."""
    return getattr(model, "module", model)


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
