"""ESPnet's training with safe resuming, mixtures made on the fly and a schedule of depths.

ESPnet overwrites ``checkpoint.pth`` after each epoch and then writes the epoch's weights. A
training killed in between leaves an unreadable checkpoint, or lacks weights that ESPnet's average
of epochs needs.
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

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.checks import check_integer, check_n_re
from espnet2_tisdiss.espnet.memory import keep_freed_memory
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory
from espnet2_tisdiss.mixing.scenes import MixingConfig
from espnet2_tisdiss.network.assembly import check_fit, check_parts
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.processes import exit_with_parent

BACKUP, BROKEN = "checkpoint.pth.kept", "checkpoint.pth.broken"
# attribute of a process's options that stores the user's values of the distributed options
USER_VALUES = "user_values"


@dataclass
class DepthTrainerOptions(TrainerOptions):
    """Options of ESPnet's trainer and of this package's.

    Attributes:
        depth_schedule: see :func:`depth_of_epoch`.
        valid_every_depth: whether validation computes the loss of every depth.
    """

    depth_schedule: Mapping[int, int]
    valid_every_depth: bool


class ResumableTrainer(Trainer):
    """ESPnet's trainer with a backup of the checkpoint and a schedule of depths.

    Before it resumes, it repairs the output folder; see :func:`repair`.
    """

    @classmethod
    def build_options(cls, args: Namespace) -> DepthTrainerOptions:
        """Return the options that training reads."""
        return build_dataclass(DepthTrainerOptions, args)

    @classmethod
    def run(cls, *args: Any, **options: Any) -> None:
        """Train as ESPnet does, after :func:`repair` if the training may resume."""
        settings, processes = options["trainer_options"], options["distributed_option"]
        if settings.resume and _is_main_process(processes):
            repair(Path(settings.output_dir))
        if processes.distributed:  # all processes read the repaired files
            torch.distributed.barrier()
        super().run(*args, **options)

    @classmethod
    def train_one_epoch(cls, *args: Any, **options: Any) -> bool:
        """Back up the previous epoch's checkpoint, then train one epoch as ESPnet does."""
        if _is_main_process(options["distributed_option"]):
            back_up(Path(options["options"].output_dir))
        if options["options"].depth_schedule:
            depth = depth_of_epoch(
                options["options"].depth_schedule, options["reporter"].get_epoch()
            )
            _unwrapped(options["model"]).separator.reconstructor_repeat_times = depth
            logging.info(f"training at N_re {depth}")
        return super().train_one_epoch(*args, **options)

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(cls, *args: Any, **options: Any) -> None:
        """Validate as ESPnet does, with ``valid_every_depth`` at every depth."""
        if not options["options"].valid_every_depth:
            super().validate_one_epoch(*args, **options)
            return
        separator = _unwrapped(options["model"]).separator
        separator.every_depth = True
        try:
            super().validate_one_epoch(*args, **options)
        finally:
            separator.every_depth = False


class ResumableTask(EnhancementTask):
    """ESPnet's enhancement task with :class:`ResumableTrainer`, except with DeepSpeed.

    DeepSpeed has another trainer. ``iterator_type: task`` trains on mixtures made on the fly, which
    ``mixing_conf`` describes.
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
            help="how mixtures are made on the fly, with --iterator_type task",
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

        ESPnet writes ``args`` to config.yaml next. The options that connect the processes of this
        run do not belong there: they get the user's values again.

        Raises:
            OptionError: encoder, separator and decoder do not fit each other.
        """
        vars(args).update(vars(args).pop(USER_VALUES, {}))
        if args.separator == "tisdiss":
            check_parts(vars(args))
            check_fit(vars(args))
        return super().build_model(args)

    @classmethod
    def build_task_iter_factory(
        cls, args: Namespace, iter_options: IteratorOptions, mode: str
    ) -> MixtureIterFactory:
        """Return the factory of the training's mixtures.

        Raises:
            ValueError: ``mode`` is not ``train``, or ``num_iters_per_epoch`` is not set.
        """
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
        """Train with parsed options; called in each process of a training.

        Raises:
            ValueError: one of this package's options has a wrong value; the message names it.
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
    """Train in ``cpu_processes`` processes, which share the cores and the items of each batch.

    PyTorch's operators are too short to keep several cores busy: two processes with one thread each
    are 1.5 times as fast as one process with two threads.

    Args:
        task: its ``main_worker`` trains.
        args: the training's options.

    Raises:
        torch.multiprocessing.ProcessException: a process failed; the others are terminated.
    """
    count = args.cpu_processes
    threads = max(1, torch.get_num_threads() // count)
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = {
            "distributed": True,
            "dist_backend": "gloo",
            "dist_world_size": count,
            "dist_init_method": f"file://{folder}/rendezvous",
            "dist_rank": None,  # each process sets its own
        }
        user_values = {name: getattr(args, name) for name in rendezvous}
        args = Namespace(**vars(args) | rendezvous | {USER_VALUES: user_values})
        context = torch.multiprocessing.start_processes(
            _train_share, (task, args, threads), count, join=False
        )
        try:
            while not context.join():
                pass
        finally:  # after an interrupt they would continue, and Python would wait for them
            for process in context.processes:
                process.terminate()
            for process in context.processes:
                process.join()


def _train_share(rank: int, task: type[EnhancementTask], args: Namespace, threads: int) -> None:
    """Train as one of several processes, which exits with its parent."""
    exit_with_parent()
    torch.set_num_threads(threads)
    args.dist_rank = rank
    task.main_worker(args)
    torch.distributed.destroy_process_group()


def depth_of_epoch(schedule: Mapping[int, int], epoch: int) -> int:
    """Return the number of repetitions N_re of an epoch.

    Repetitions share their weights, so the first epochs learn as much from few repetitions, at a
    fraction of the cost.

    Args:
        schedule: N_re >= 1 by the first epoch that trains with it; includes epoch 1.
        epoch: number of the epoch, from 1.

    Raises:
        ValueError: the schedule is not of that form.
    """
    by_epoch = {}
    for first, depth in schedule.items():
        # epochs given on the command line are strings
        number = int(first) if str(first).isdecimal() else first
        check_integer("depth_schedule: epoch", number, 1)
        by_epoch[number] = check_n_re(f"depth_schedule: N_re of epoch {number}", depth)
    if 1 not in by_epoch:
        raise ValueError(f"depth_schedule must begin with epoch 1; got {dict(schedule)}")
    return by_epoch[max(first for first in by_epoch if first <= epoch)]


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return ESPnet's model from PyTorch's wrapper for distributed training, if there is one."""
    return getattr(model, "module", model)


def back_up(output_dir: Path) -> None:
    """Copy the checkpoint of a training, if it exists, to ``BACKUP`` in the same folder."""
    checkpoint = output_dir / "checkpoint.pth"
    if checkpoint.exists():
        with replacing(output_dir / BACKUP) as temporary:
            shutil.copyfile(checkpoint, temporary)


def repair(output_dir: Path) -> None:
    """Restore a training's folder to the state of its last complete checkpoint.

    An incomplete checkpoint is renamed to ``BROKEN`` and replaced by the backup, if there is one.
    If the weights of the checkpoint's epoch are missing or incomplete, they are written from it.
    """
    checkpoint, backup = output_dir / "checkpoint.pth", output_dir / BACKUP
    # a zip file's table of contents is written last: without it the file is incomplete
    if checkpoint.exists() and not is_zipfile(checkpoint):
        checkpoint.replace(output_dir / BROKEN)
        if is_zipfile(backup):
            backup.replace(checkpoint)
            action = "resuming from the previous epoch"
        else:
            action = "starting from scratch"
        logging.warning(f"{checkpoint} was incomplete (renamed to {BROKEN}): {action}")
    if not checkpoint.exists():
        return
    states = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights = output_dir / f"{states['reporter']['epoch']}epoch.pth"
    if not is_zipfile(weights):
        logging.warning(f"{weights} was missing or incomplete: written from {checkpoint}")
        with replacing(weights) as temporary:
            torch.save(states["model"], temporary)
    with replacing(output_dir / "latest.pth") as temporary:
        temporary.symlink_to(weights.name)


def _is_main_process(processes: Any) -> bool:
    return not processes.distributed or processes.dist_rank == 0
