"""ESPnet's trainer with safe resuming, detection of divergence, and a schedule of depths."""

import logging
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from torch import nn

from espnet2_tisdiss.checks import check_integer, check_n_re, whole_number
from espnet2_tisdiss.espnet import checkpoints
from espnet2_tisdiss.espnet.divergence import StepWatch, WatchedIterFactory, spread_non_finite
from espnet2_tisdiss.network.separator import TISDiSSSeparator


@dataclass
class DepthTrainerOptions(TrainerOptions):
    """Options of ESPnet's trainer and of this package's.

    Attributes:
        depth_schedule: see :func:`depth_of_epoch`.
        valid_every_depth: whether validation computes the loss of every depth.
        max_skipped_steps: number of consecutive steps without a finite loss and gradient that ends
            the training.
    """

    depth_schedule: Mapping[int, int]
    valid_every_depth: bool
    max_skipped_steps: int


class ResumableTrainer(Trainer):
    """ESPnet's trainer with safe files, detection of divergence, and a schedule of depths.

    ESPnet writes to a working folder in the training's folder; see
    :mod:`espnet2_tisdiss.espnet.checkpoints`. ESPnet never instantiates its trainer, so the state
    is stored in attributes of the class.
    """

    watch: ClassVar[StepWatch]

    @classmethod
    def build_options(cls, args: Namespace) -> DepthTrainerOptions:
        """Return the options that training reads."""
        return build_dataclass(DepthTrainerOptions, args)

    @classmethod
    def run(cls, *args: Any, **options: Any) -> None:
        """Train as ESPnet does; each epoch's files are moved to the folder when they are complete.

        Raises:
            TisdissError: the training has diverged, or its files are damaged.
        """
        settings, processes = options["trainer_options"], options["distributed_option"]
        folder = Path(settings.output_dir).parent
        if _is_main_process(processes):
            checkpoints.publish_config(folder)
            kept = settings.keep_nbest_models
            keep = kept if isinstance(kept, int) else max(kept, default=1)
            checkpoints.begin(folder, settings.best_model_criterion, keep, settings.resume)
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
        """Secure the files of the previous epoch, then train one epoch as ESPnet does.

        Returns:
            False: an epoch of skipped steps does not end the training; :class:`StepWatch` decides.
        """
        settings = options["options"]
        if _is_main_process(options["distributed_option"]):
            checkpoints.begin_epoch(Path(settings.output_dir).parent)
        if settings.depth_schedule:
            depth = depth_of_epoch(settings.depth_schedule, options["reporter"].get_epoch())
            separator_of(options["model"]).reconstructor_repeat_times = depth
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
        every_depth = options["options"].valid_every_depth
        if every_depth:
            separator_of(options["model"]).every_depth = True
        try:
            super().validate_one_epoch(*args, **options)
        finally:
            if every_depth:
                separator_of(options["model"]).every_depth = False
        cls.watch.check_epoch(_unwrapped(options["model"]), options["reporter"])


def depth_of_epoch(schedule: Mapping[int, int], epoch: int) -> int:
    """Return the number of repetitions N_re of an epoch.

    Because repetitions share their weights, the first epochs learn as much with few repetitions, at
    a fraction of the cost.

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


def separator_of(model: Any) -> TISDiSSSeparator:
    """Return the separator of ESPnet's model, separate or joint, in PyTorch's wrapper or not."""
    model = _unwrapped(model)
    separator: TISDiSSSeparator = getattr(model, "enh_model", model).separator
    return separator


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return ESPnet's model from PyTorch's wrapper for distributed training, if there is one."""
    return getattr(model, "module", model)


def _is_main_process(processes: Any) -> bool:
    return not processes.distributed or processes.dist_rank == 0
