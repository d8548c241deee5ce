"""What the separator is to ESPnet and to a loaded model, apart from its equations.

A depth that can be set at any time, precision, compilation, gradients, and the loading of weights.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from espnet2.enh.separator.abs_separator import AbsSeparator
from torch import Tensor, nn

from espnet2_tisdiss.checks import check_integer, check_n_re
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.network.depth import n_re_of_call
from espnet2_tisdiss.network.precision import training_precision
from espnet2_tisdiss.network.supervision import parts_that_run, supervised_depths
from espnet2_tisdiss.network.weights import check_names


class AdjustableSeparator(AbsSeparator):
    """A separator whose repetitions can be chosen after training; subclasses have the equations.

    Args:
        input_dim: frequency bins f of the encoder's spectrum, or features of a frame.
        **options: see :class:`~espnet2_tisdiss.network.config.TISDiSSConfig`.

    Raises:
        UnknownOptionError: an option does not exist; the message lists the known ones.
        OptionError: an option has a wrong value; the message names it and the values allowed.

    Attributes:
        config: the options.
        input_dim: frequency bins, or features of a frame.
        half_dtype: half-precision type of the autocast of calls, which overrides that of the
            caller; None: the weights' type, or the caller's autocast.
        is_compiled: whether ``torch.compile`` fuses the blocks.
        every_depth: whether calls also return every supervised depth in eval mode.
    """

    encoder_blocks: nn.ModuleList
    reconstructor_blocks: nn.ModuleList

    def __init__(self, input_dim: int, **options: Any):
        super().__init__()
        self.config = TISDiSSConfig.from_options(options)
        self.input_dim = check_integer("input_dim", input_dim, 1)
        self.half_dtype: torch.dtype | None = None
        self.is_compiled = False
        self.every_depth = False
        self._repeat_times = self.config.reconstructor_repeat_times
        self._has_logged_depths = False

    @property
    def num_spk(self) -> int:
        """Number of speakers j."""
        return self.config.num_spk

    @property
    def reconstructor_repeat_times(self) -> int:
        """N_re, the depth of the next call: an integer >= 0, which may be set at any time.

        0 returns the splitter's output. No parameter depends on the depth; ``config`` keeps the
        initial depth. Within :func:`depth_of_call` this is the depth given there.

        Raises:
            ValueError: set to anything else.
        """
        n_re = n_re_of_call.get()
        return self._repeat_times if n_re is None else n_re

    @reconstructor_repeat_times.setter
    def reconstructor_repeat_times(self, value: int) -> None:
        self._repeat_times = check_n_re("reconstructor_repeat_times", value, 0)
        if not self.config.reconstructor_repeat_times:
            self._set_gradients()

    @property
    def supervised_depths(self) -> int:
        """Number of depths whose estimates calls return in training mode."""
        return supervised_depths(self.config, self.reconstructor_repeat_times)

    def compile_blocks(self) -> None:
        """Fuse the separator and reconstructor blocks with ``torch.compile`` from now on.

        The blocks do nearly all of the work. Repetitions share them, so they are compiled once for
        all depths. Results change only by rounding; state dicts do not change.
        """
        if not self.is_compiled:
            for block in (*self.encoder_blocks, *self.reconstructor_blocks):
                block.compile()
        self.is_compiled = True

    def autocast(self, device_type: str) -> AbstractContextManager:
        """Return an autocast context for ``half_dtype``, or in training ``training_dtype``."""
        half_dtype = self.half_dtype
        if self.training and half_dtype is None:
            half_dtype = training_precision(self.config.training_dtype, device_type)
        return nullcontext() if half_dtype is None else torch.autocast(device_type, half_dtype)

    def _begin_training(self) -> None:
        """Compile the blocks if the options say so, and log once which losses a training needs."""
        if self.config.compile:
            self.compile_blocks()
        depths = self.supervised_depths
        if depths > 1 and not self._has_logged_depths:
            # with other losses, ESPnet fails with a bare assertion, (2, 6)
            logging.info(
                "the separator returns %d estimates in training, of %d depths for %d speakers; "
                "criterions need 'wrapper: multi_depth_pit'",
                depths * self.num_spk,
                depths,
                self.num_spk,
            )
        self._has_logged_depths = True

    def _set_gradients(self) -> None:
        """Require gradients only of parts that run: distributed training would wait for others.

        Parts that never run exist because published checkpoints store their weights.
        """
        for name, runs in parts_that_run(self.config, self._repeat_times).items():
            self.get_submodule(name).requires_grad_(runs)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Load weights as PyTorch does, but require all names to match, also with strict=False.

        Raises:
            WeightsError: names are missing or unknown.
        """
        found = [name for name in state_dict if name.startswith(prefix)]
        check_names([prefix + name for name in self.state_dict()], found)
        super()._load_from_state_dict(state_dict, prefix, *args)
