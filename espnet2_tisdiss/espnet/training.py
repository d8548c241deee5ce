"""ESPnet's training with safe resuming, mixtures made on the fly and a schedule of depths."""

import logging
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.tasks.enh import EnhancementTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import get_node_rank, get_rank
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from torch import nn

from espnet2_tisdiss.checks import check_integer, check_n_re, whole_number
from espnet2_tisdiss.espnet import checkpoints
from espnet2_tisdiss.espnet.divergence import StepWatch, WatchedIterFactory, spread_non_finite
from espnet2_tisdiss.espnet.failures import failing_in_a_line
from espnet2_tisdiss.espnet.memory import keep_freed_memory
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory
from espnet2_tisdiss.mixing.scenes import MixingConfig
from espnet2_tisdiss.network.assembly import check_fit, check_parts
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.processes import exit_with_parent

# attribute of a process's options that stores the user's values of the distributed options
USER_VALUES = "user_values"


@dataclass
class DepthTrainerOptions(TrainerOptions):
    """Options of ESPnet's trainer and of this package's.

    Attributes:
        depth_schedule: see :func:`depth_of_epoch`.
        valid_every_depth: whether validation computes the loss of every depth.
        max_skipped_steps: so many steps in a row without a finite loss and gradient end it.
    """

    depth_schedule: Mapping[int, int]
    valid_every_depth: bool
    max_skipped_steps: int


class ResumableTrainer(Trainer):
    """ESPnet's trainer with safe files, an end to divergence, and a schedule of depths.

    ESPnet writes to a working folder in the training's folder; see
    :mod:`espnet2_tisdiss.espnet.checkpoints`. The trainer is never an object: what it remembers is
    an attribute of the class.
    """

    watch: ClassVar[StepWatch]

    @classmethod
    def build_options(cls, args: Namespace) -> DepthTrainerOptions:
        """Return the options that training reads."""
        return build_dataclass(DepthTrainerOptions, args)

    @classmethod
    def run(cls, *args: Any, **options: Any) -> None:
        """Train as ESPnet does; the folder gets each epoch's files when they are complete.

        Raises:
            TisdissError: the training has diverged, or its files are damaged.
        """
        settings, processes = options["trainer_options"], options["distributed_option"]
        folder = Path(settings.output_dir).parent
        if _is_main_process(processes):
            checkpoints.publish_config(folder)
            checkpoints.begin(folder, settings.best_model_criterion, settings.resume)
        if processes.distributed:  # all processes read the repaired files
            torch.distributed.barrier()
        cls.watch = StepWatch(
            options["optimizers"], settings.max_skipped_steps, settings.accum_grad
        )
        spread_non_finite(options["model"])
        if not settings.no_forward_run:
            options["train_iter_factory"] = WatchedIterFactory(
                options["train_iter_factory"], cls.watch
            )
        super().run(*args, **options)
        if _is_main_process(processes):
            checkpoints.finish(folder)

    @classmethod
    def train_one_epoch(cls, *args: Any, **options: Any) -> bool:
        """Secure the files of the epoch before, then train one epoch as ESPnet does.

        Returns:
            False: an epoch of skipped steps is no end; :class:`StepWatch` decides that.
        """
        settings = options["options"]
        if _is_main_process(options["distributed_option"]):
            checkpoints.begin_epoch(Path(settings.output_dir).parent)
        if settings.depth_schedule:
            depth = depth_of_epoch(settings.depth_schedule, options["reporter"].get_epoch())
            _unwrapped(options["model"]).separator.reconstructor_repeat_times = depth
            logging.info(f"training at N_re {depth}")
        super().train_one_epoch(*args, **options)
        return False

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(cls, *args: Any, **options: Any) -> None:
        """Validate as ESPnet does, with ``valid_every_depth`` at every depth.

        Raises:
            TisdissError: weights or losses are not finite; ESPnet would save them next.
        """
        model = _unwrapped(options["model"])
        every_depth = options["options"].valid_every_depth
        if every_depth:
            model.separator.every_depth = True
        try:
            super().validate_one_epoch(*args, **options)
        finally:
            if every_depth:
                model.separator.every_depth = False
        cls.watch.check_epoch(model, options["reporter"])


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
            "--max_skipped_steps",
            type=int,
            default=20,
            help="end a training after so many steps in a row without a finite loss and gradient",
        )
        group.add_argument(
            "--valid_every_depth",
            type=str2bool,
            default=False,
            help="validate the loss of every supervised depth, as in training",
        )

    @classmethod
    def main(cls, args: Namespace | None = None, cmd: Sequence[str] | None = None) -> None:
        """Train as ESPnet does, with the lock of the output folder.

        Raises:
            TisdissError: another process trains there, the training has diverged, or its files
                cannot be written or are damaged.
        """
        if args is None:
            args = cls.get_parser().parse_args(cmd)
        if args.output_dir is None or args.print_config or not _is_first_process(args):
            super().main(args=args)
            return
        folder = Path(args.output_dir)
        with holding(folder), failing_in_a_line(folder):
            checkpoints.discard(folder)
            try:
                super().main(args=args)
            finally:
                checkpoints.discard(folder)  # where the disk is full, this makes room

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
        check_integer("max_skipped_steps", args.max_skipped_steps, 1)
        if args.depth_schedule:
            depth_of_epoch(args.depth_schedule, 1)
        for name in ("depth_schedule", "valid_every_depth"):
            if getattr(args, name) and args.separator != "tisdiss":
                raise ValueError(f"{name} needs separator tisdiss; got separator {args.separator}")
        keep_freed_memory()
        if args.cpu_processes > 1 and not (args.ngpu or args.distributed or args.collect_stats):
            train_on_cpus(cls, args)
            return
        if cls.trainer is ResumableTrainer and not (args.collect_stats or args.dry_run):
            work = checkpoints.work_folder(Path(args.output_dir))
            args = Namespace(**vars(args) | {"output_dir": str(work)})
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
        number = whole_number(first) if isinstance(first, str) else None
        number = check_integer("depth_schedule: epoch", first if number is None else number, 1)
        by_epoch[number] = check_n_re(f"depth_schedule: N_re of epoch {number}", depth)
    if 1 not in by_epoch:
        raise ValueError(f"depth_schedule must begin with epoch 1; got {dict(schedule)}")
    return by_epoch[max(first for first in by_epoch if first <= epoch)]


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return ESPnet's model from PyTorch's wrapper for distributed training, if there is one."""
    return getattr(model, "module", model)


def _is_first_process(args: Namespace) -> bool:
    """Whether a launcher has started this process as the first of a training, or as the only one.

    The others, which a launcher starts with the same options, train under its lock.
    """
    if args.multiprocessing_distributed:
        return not get_node_rank(args.dist_rank, args.dist_launcher)
    return not get_rank(args.dist_rank, args.dist_launcher)


def _is_main_process(processes: Any) -> bool:
    return not processes.distributed or processes.dist_rank == 0
