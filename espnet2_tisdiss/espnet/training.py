"""ESPnet's tasks with this package's trainer, mixtures made on the fly and several processes."""

import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from espnet2.enh.espnet_model import ESPnetEnhancementModel
from espnet2.tasks.abs_task import AbsTask, IteratorOptions
from espnet2.tasks.enh import EnhancementTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import get_node_rank, get_rank
from espnet2.train.trainer import Trainer
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.espnet import checkpoints
from espnet2_tisdiss.espnet.failures import failing_in_a_line
from espnet2_tisdiss.espnet.memory import keep_freed_memory
from espnet2_tisdiss.espnet.trainer import ResumableTrainer, depth_of_epoch
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory
from espnet2_tisdiss.network.assembly import check_fit, check_parts
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.network.loss import MultiDepthPIT
from espnet2_tisdiss.processes import exit_with_parent

# attribute of the options of a process that stores the user's values of the distributed options
USER_VALUES = "user_values"


class DepthTask(AbsTask):
    """Base of the tasks that train with :class:`ResumableTrainer`, except with DeepSpeed.

    DeepSpeed has its own trainer.

    Attributes:
        prefix: prefix of the separation's options: ``enh_`` in joint training.
    """

    prefix = ""

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Add this package's options to ESPnet's."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("TISDiSS")
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
            help="end a training after this many steps in a row without a finite loss and gradient",
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
                checkpoints.discard(folder)  # if the disk is full, this makes room

    @classmethod
    def build_model(cls, args: Namespace) -> AbsESPnetModel:
        """Build the model as ESPnet does.

        Afterwards ESPnet writes ``args`` to config.yaml. The options that connect the processes of
        this run do not belong there, so they are set to the user's values again.

        Raises:
            OptionError: encoder, separator, decoder and losses do not match.
        """
        vars(args).update(vars(args).pop(USER_VALUES, {}))
        if cls._has_tisdiss(args):
            check_parts(vars(args), cls.prefix)
            check_fit(vars(args), cls.prefix)
        model = super().build_model(args)
        if cls._has_tisdiss(args):
            check_losses(getattr(model, "enh_model", model))
        return model

    @classmethod
    def _has_tisdiss(cls, args: Namespace) -> bool:
        return bool(getattr(args, f"{cls.prefix}separator") == "tisdiss")

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
            if getattr(args, name) and not cls._has_tisdiss(args):
                kind = f"{cls.prefix}separator"
                raise ValueError(f"{name} needs {kind} tisdiss; got {kind} {getattr(args, kind)}")
        keep_freed_memory()
        if args.cpu_processes > 1 and not (args.ngpu or args.distributed or args.collect_stats):
            train_on_cpus(cls, args)
            return
        if cls.trainer is ResumableTrainer and not (args.collect_stats or args.dry_run):
            work = checkpoints.work_folder(Path(args.output_dir))
            args = Namespace(**vars(args) | {"output_dir": str(work)})
        super().main_worker(args)


class ResumableTask(DepthTask, EnhancementTask):
    """ESPnet's enhancement task with :class:`ResumableTrainer`.

    ``iterator_type: task`` trains on mixtures made on the fly, which ``mixing_conf`` describes.
    """

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Add this package's options to ESPnet's."""
        super().add_task_arguments(parser)
        parser.add_argument(
            "--mixing_conf",
            action=NestedDictAction,
            default={},
            help="how mixtures are made on the fly, with --iterator_type task",
        )

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
        rate = None  # separators of ESPnet have no sample rate
        if cls._has_tisdiss(args):
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


def train_on_cpus(task: type[AbsTask], args: Namespace) -> None:
    """Train in ``cpu_processes`` processes, which share the cores and the items of each batch.

    PyTorch's operators are too short to keep several cores busy, so two processes with one thread
    each are 1.5 times as fast as one process with two threads.

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


def _train_share(rank: int, task: type[AbsTask], args: Namespace, threads: int) -> None:
    """Train as one of several processes, which exits with its parent."""
    exit_with_parent()
    torch.set_num_threads(threads)
    args.dist_rank = rank
    task.main_worker(args)
    torch.distributed.destroy_process_group()


def check_losses(model: ESPnetEnhancementModel) -> None:
    """Check that the losses of a TISDiSS take all estimates of a training step.

    ESPnet's wrappers take one estimate per speaker and fail with an assertion if there are more. A
    criterion that is used only for tests gets one depth.

    Raises:
        OptionError: one takes the estimates of one depth only.
    """
    depths = model.separator.supervised_depths
    for wrapper in model.loss_wrappers:
        criterion = wrapper.criterion
        is_trained = not getattr(criterion, "only_for_test", False)
        if is_trained and depths > 1 and not isinstance(wrapper, MultiDepthPIT):
            raise OptionError(
                f"criterion {criterion.name}: its wrapper takes one depth, but TISDiSS is trained "
                f"at {depths}: write 'wrapper: multi_depth_pit'"
            )


def _is_first_process(args: Namespace) -> bool:
    """Whether this process is the first or only one that a launcher has started for a training.

    The other processes, which a launcher starts with the same options, train under its lock.
    """
    if args.multiprocessing_distributed:
        return not get_node_rank(args.dist_rank, args.dist_launcher)
    return not get_rank(args.dist_rank, args.dist_launcher)
