"""ESPnet's training for this package: resumable, on mixtures made as it goes, deeper by steps.

ESPnet overwrites ``checkpoint.pth`` after each epoch and then writes the epoch's weights: one that
is stopped there leaves a checkpoint that cannot be read, or lacks weights that its average needs.
"""

import logging
import shutil
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.tasks.enh import EnhancementTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from torch import nn

from espnet2_tisdiss.atomic import write_aside
from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.espnet.memory import keep_freed_memory
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory
from espnet2_tisdiss.mixing.scenes import MixingConfig
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.processes import leave_with_parent

KEPT, BROKEN = "checkpoint.pth.kept", "checkpoint.pth.broken"
# attribute of the options of a process of several: what was given for those it meets the others by
GIVEN = "given_before_processes"


@dataclass
class DepthTrainerOptions(TrainerOptions):
    """ESPnet's options and this package's.

    Attributes:
        depth_schedule: see :func:`depth_of_epoch`.
        valid_every_depth: whether the loss of every depth is validated.
    """

    depth_schedule: Mapping[int, int]
    valid_every_depth: bool


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

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(cls, *args: Any, **options: Any) -> None:
        """Validate as ESPnet does, at every depth where ``valid_every_depth`` asks for it."""
        if not options["options"].valid_every_depth:
            super().validate_one_epoch(*args, **options)
            return
        separator = _inner(options["model"]).separator
        separator.every_depth = True
        try:
            super().validate_one_epoch(*args, **options)
        finally:
            separator.every_depth = False


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
        group.add_argument(
            "--valid_every_depth",
            type=str2bool,
            default=False,
            help="validate the loss of every supervised depth, as in training",
        )

    @classmethod
    def build_model(cls, args: Namespace) -> AbsESPnetModel:
        """Build the model as ESPnet does.

        ESPnet writes ``args`` to config.yaml next: how this run's processes have met is no option
        of the training.
        """
        vars(args).update(vars(args).pop(GIVEN, {}))
        return super().build_model(args)

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
        rate = args.separator_conf.get("sample_rate", TISDiSSConfig.sample_rate)
        distributed = iter_options.distributed
        return MixtureIterFactory(
            MixingConfig.from_options(args.mixing_conf),
            rate=rate,
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
        """Train with parsed options, in each of a training's processes.

        Raises:
            ValueError: an option of this package's cannot be used; the message names it.
        """
        cls.trainer = Trainer if args.use_deepspeed else ResumableTrainer
        check_integer("cpu_processes", args.cpu_processes, 1)
        if args.depth_schedule:
            depth_of_epoch(args.depth_schedule, 1)
        for name in ("depth_schedule", "valid_every_depth"):
            if getattr(args, name) and args.separator != "tisdiss":
                raise ValueError(f"{name} needs separator tisdiss; got separator {args.separator}")
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

    Raises:
        torch.multiprocessing.ProcessException: a process failed; the others are ended.
    """
    count = args.cpu_processes
    threads = max(1, torch.get_num_threads() // count)
    with tempfile.TemporaryDirectory() as folder:
        meeting = {
            "distributed": True,
            "dist_backend": "gloo",
            "dist_world_size": count,
            "dist_init_method": f"file://{folder}/rendezvous",
            "dist_rank": None,  # each process sets its own
        }
        given = {name: getattr(args, name) for name in meeting}
        args = Namespace(**vars(args) | meeting | {GIVEN: given})
        context = torch.multiprocessing.start_processes(
            _train_share, (task, args, threads), count, join=False
        )
        try:
            while not context.join():
                pass
        finally:  # interrupted: they would train on, and Python wait for them
            for process in context.processes:
                process.terminate()
            for process in context.processes:
                process.join()


def _train_share(rank: int, task: type[EnhancementTask], args: Namespace, threads: int) -> None:
    """Train as one of several processes, which ends when its parent is gone."""
    leave_with_parent()
    torch.set_num_threads(threads)
    args.dist_rank = rank
    task.main_worker(args)
    torch.distributed.destroy_process_group()


def depth_of_epoch(schedule: Mapping[int, int], epoch: int) -> int:
    """Return the repetitions of an epoch.

    The first epochs of a deep model learn as much from few repetitions, at a fraction of the cost:
    the repetitions share their weights.

    Args:
        schedule: N_re, 1 or more, by the first epoch that has it; the first one of all must be 1.
        epoch: number of the epoch, from 1.

    Raises:
        ValueError: the schedule is none.
    """
    by_epoch = {}
    for first, depth in schedule.items():
        # epochs given on the command line are strings
        number = int(first) if str(first).isdecimal() else first
        check_integer("depth_schedule: epoch", number, 1)
        by_epoch[number] = check_integer(f"depth_schedule: N_re of epoch {number}", depth, 1)
    if 1 not in by_epoch:
        raise ValueError(f"depth_schedule must begin with epoch 1; got {dict(schedule)}")
    return by_epoch[max(first for first in by_epoch if first <= epoch)]


def _inner(model: nn.Module) -> nn.Module:
    """Return the model that ESPnet wraps for several processes."""
    return getattr(model, "module", model)


def keep(output_dir: Path) -> None:
    """Copy a training's checkpoint, where there is one, beside it."""
    checkpoint = output_dir / "checkpoint.pth"
    if checkpoint.exists():
        with write_aside(output_dir / KEPT) as aside:
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
        with write_aside(weights) as aside:
            torch.save(states["model"], aside)
    with write_aside(output_dir / "latest.pth") as aside:
        aside.symlink_to(weights.name)


def _is_first(processes: Any) -> bool:
    return not processes.distributed or processes.dist_rank == 0
