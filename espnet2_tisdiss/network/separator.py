"""The TISDiSS separator for ESPnet's enhancement task (arXiv 2509.15666).

waveform -> STFT -> embed -> separator block x N_sep -> splitter -> reconstructor block x N_re
-> project -> inverse STFT. All repetitions share the blocks' weights and all depths share one
projection, so the depth can be chosen after training: see ``reconstructor_repeat_times``.

Axis letters: b batch, j speaker, h feature channel, t frame, f frequency bin or band.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from espnet2.enh.separator.abs_separator import AbsSeparator
from torch import Tensor, nn
from torch_complex.tensor import ComplexTensor

from espnet2_tisdiss.checks import check_integer, check_n_re
from espnet2_tisdiss.network.blocks.block import ReconstructorBlock, RepeatResidual, SeparatorBlock
from espnet2_tisdiss.network.blocks.frontend import ConvEmbed
from espnet2_tisdiss.network.blocks.locoformer import recomputed
from espnet2_tisdiss.network.blocks.splitter import Splitter
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.network.depth import n_re_of_call
from espnet2_tisdiss.network.front_ends import build_front_end
from espnet2_tisdiss.network.inputs import checked_input, valid_frames
from espnet2_tisdiss.network.precision import training_precision
from espnet2_tisdiss.network.supervision import (
    reconstructor_steps,
    separator_steps,
    supervised_depths,
)
from espnet2_tisdiss.network.weights import check_names


class TISDiSSSeparator(AbsSeparator):
    """Separator with shared blocks, an early split and a loss at every depth.

    Args:
        input_dim: frequency bins f of the encoder's spectrum, or features of a frame.
        **options: see :class:`~espnet2_tisdiss.network.config.TISDiSSConfig`.

    Raises:
        UnknownOptionError: an option does not exist; the message lists the known ones.
        OptionError: an option has a wrong value; the message names it and the values allowed.

    Attributes:
        config: the options.
        input_dim: frequency bins, or features of a frame.
        half_dtype: half-precision type of the autocast of :meth:`forward`, which overrides that of
            the caller; None: the weights' type, or the caller's autocast.
        is_compiled: whether ``torch.compile`` fuses the blocks.
        every_depth: whether :meth:`forward` also returns every supervised depth in eval mode.

    Example:
        >>> separator = TISDiSSSeparator(65, emb_dim=64, attention_dim=64).eval()
        >>> spectrum = torch.randn(1, 100, 65, dtype=torch.complex64)
        >>> shallow, _, _ = separator(spectrum, None)
        >>> separator.reconstructor_repeat_times = 8
        >>> deep, _, _ = separator(spectrum, None)
    """

    def __init__(self, input_dim: int, **options: Any):
        super().__init__()
        config = TISDiSSConfig.from_options(options)
        self.config = config
        self.input_dim = check_integer("input_dim", input_dim, 1)
        stream_dim = config.emb_dim // config.compression

        # published checkpoints store these module names
        self.conv, self.reconstructor_deconv = build_front_end(config, self.input_dim)
        self.encoder_blocks = nn.ModuleList(
            SeparatorBlock(config.mixture_path, config.tf_order)
            for _ in range(config.encoder_n_layers)
        )
        self.spk_spliter = Splitter(
            config.spk_spliter_type,
            config.emb_dim,
            config.num_spk,
            config.compression,
            config.dropout,
            config.causal,
        )
        self.reconstructor_blocks = nn.ModuleList(
            ReconstructorBlock(config.stream_path, config.tf_order, config.speaker_path)
            for _ in range(config.reconstructor_n_layers)
        )
        if config.repeat_residual_module:
            self.concat_block = RepeatResidual(config.emb_dim)
        if config.reconstructor_residual and config.compression > 1:
            self.compress_conv = ConvEmbed(config.emb_dim, stream_dim, config.eps, config.causal)
            self.reconstructor_concat_block = RepeatResidual(stream_dim)
        self._repeat_times = config.reconstructor_repeat_times
        self._set_gradients()
        self.half_dtype: torch.dtype | None = None
        self.is_compiled = False
        self.every_depth = False
        self._has_logged_depths = False

    def forward(
        self,
        input: Tensor | ComplexTensor,
        ilens: Tensor | None,
        additional: dict | None = None,
    ) -> tuple[list[Tensor], Tensor | None, OrderedDict]:
        """Separate a batch of spectra.

        Args:
            input: complex spectrum (b, t, f) or (b, t, 1, f) of the mixture; real features with
                ``segment_size``.
            ilens: (b,) valid frames of each item; None: all frames.
            additional: unused; ESPnet passes it.

        Returns:
            The estimates, ``ilens`` and an empty dict. Estimates are spectra (b, t, f), or
            features. In training mode, or with ``every_depth``, they are a flat list of
            depths * num_spk items with every supervised depth, shallow first (ESPnet's model
            decodes and denormalises each item). In eval mode they are those of the last depth.

        Raises:
            TypeError: ``input`` is real without ``segment_size``, or complex with it.
            ValueError: ``input`` has another shape, or no frames.
        """
        if self.training:
            self._log_depths()
            if self.config.compile:
                self.compile_blocks()
        with self.autocast(input.device.type):
            return self._estimates(self._checked(input, ilens), ilens), ilens, OrderedDict()

    def anytime(
        self,
        input: Tensor | ComplexTensor,
        ilens: Tensor | None = None,
        repeat_times: int | None = None,
    ) -> Iterator[list[Tensor]]:
        """Separate a batch of spectra, yielding each depth as soon as it is computed.

        Depths that the caller does not request are not computed.

        Args:
            input: as for :meth:`forward`.
            ilens: as for :meth:`forward`.
            repeat_times: the last depth; None: ``reconstructor_repeat_times``.

        Yields:
            The speakers' spectra (b, t, f) after 0 (the splitter's output), 1, 2, ... up to
            ``repeat_times`` repetitions, supervised or not.

        Raises:
            TypeError, ValueError: as for :meth:`forward`.
        """
        if repeat_times is None:
            repeat_times = self.reconstructor_repeat_times
        mixture = self._checked(input, ilens)
        embedded, frames = self._embed(mixture, ilens)
        split = self.split(embedded, frames)
        yield list(self._project(split, frames, mixture).unbind(1))
        layers = self._reconstruct(split, embedded, frames, repeat_times)
        for step, streams in enumerate(layers, start=1):
            if step % self.config.reconstructor_n_layers == 0:
                yield list(self._project(streams, frames, mixture).unbind(1))

    # --- from the mixture to the estimates

    def _estimates(self, mixture: Tensor, ilens: Tensor | None) -> list[Tensor]:
        """Return the spectra of :meth:`forward`."""
        embedded, frames = self._embed(mixture, ilens)
        depths: Iterable[Tensor] = self._streams(embedded, frames)
        if not (self.training or self.every_depth):
            # keeps the last one; frees each before the next is computed
            depths = deque(depths, maxlen=1)
        return [
            estimate
            for streams in depths
            for estimate in self._project(streams, frames, mixture).unbind(1)
        ]

    def _checked(self, input: Tensor | ComplexTensor, ilens: Tensor | None) -> Tensor:
        """Check ``input`` and return it as a tensor (b, t, f)."""
        return checked_input(input, ilens, self.input_dim, self.config.segment_size is not None)

    def _embed(self, mixture: Tensor, ilens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the feature map (b, t, f, h) of ``mixture`` (b, t, f) and its mask.

        The mask (b, t) refers to the map's axis t and is false at padding. It is None without
        padding, and in a causal separator, where padding has no influence because it comes last.
        """
        features = torch.view_as_real(mixture) if mixture.is_complex() else mixture
        frames = None if self.config.causal else valid_frames(ilens, mixture)
        return self.conv(features, frames)

    def _streams(self, embedded: Tensor, frames: Tensor | None) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) at every supervised depth, shallow first."""
        for split, supervised in self._splits(embedded, frames):
            if supervised:
                yield split
        n_re = self.reconstructor_repeat_times
        steps = reconstructor_steps(self.config, n_re)
        layers = self._reconstruct(split, embedded, frames, n_re)
        for supervised, streams in zip(steps, layers, strict=True):
            if supervised:
                yield streams

    def split(self, embedded: Tensor, frames: Tensor | None) -> Tensor:
        """Return the streams (b, j, t, f, h) before the repetitions of a feature map and its mask.

        Args:
            embedded: (b, t, f, h), the output of :attr:`conv`.
            frames: (b, t), false at padded frames; None: no padding.
        """
        streams, _ = deque(self._splits(embedded, frames), maxlen=1).pop()
        return streams

    def _separate(self, x: Tensor, frames: Tensor | None) -> Iterator[tuple[Tensor, bool]]:
        """Yield the mixture's stream after each separator layer, and whether it is supervised."""
        config, mixture = self.config, x
        for step, is_supervised in enumerate(separator_steps(config)):
            if step and config.repeat_residual_module:
                x = self.concat_block(x, mixture)
            x = self._run(self.encoder_blocks[step % config.encoder_n_layers], x, frames)
            yield x, is_supervised

    def _splits(self, embedded: Tensor, frames: Tensor | None) -> Iterator[tuple[Tensor, bool]]:
        """Yield each split of the mixture's stream, and whether it is supervised.

        The reconstructor receives the last one.
        """
        config = self.config
        for x, supervised in self._separate(embedded, frames):
            # the last step is always supervised, so this yields at least one split
            if config.encoder_decoder and supervised:
                yield self._run(self.spk_spliter, x, frames), True
        if not config.encoder_decoder:
            is_output = not reconstructor_steps(config, self.reconstructor_repeat_times)
            yield self._run(self.spk_spliter, x, frames), config.spliter_loss or is_output

    def _reconstruct(
        self, x: Tensor, mixture: Tensor, frames: Tensor | None, repeat_times: int
    ) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) after each reconstructor layer.

        Args:
            x: the splitter's streams (b, j, t, f, h).
            mixture: the embedded mixture (b, t, f, h).
            frames: (b, t), false at padded frames; None: no padding.
            repeat_times: repetitions of all layers.
        """
        reference = self.reference(mixture, frames)
        for _ in range(repeat_times):
            for layer in self.repetition(x, reference, frames):
                x = layer
                yield x

    def reference(self, mixture: Tensor, frames: Tensor | None) -> Tensor | None:
        """Return the reference added to the streams before each layer, (b, 1, t, f, h), or None.

        Args:
            mixture: the embedded mixture (b, t, f, h).
            frames: (b, t), false at padded frames; None: no padding.
        """
        if not self.config.reconstructor_residual:
            return None
        if self.config.compression > 1:
            mixture, _ = self.compress_conv(mixture, frames)
        return mixture.unsqueeze(1)  # the same for every speaker

    def repetition(
        self, x: Tensor, reference: Tensor | None, frames: Tensor | None
    ) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) after each layer of one repetition.

        Args:
            x: the streams before it.
            reference: the result of :meth:`reference`.
            frames: (b, t), false at padded frames; None: no padding.
        """
        compressed = self.config.compression > 1
        for block in self.reconstructor_blocks:
            if reference is not None:
                residual = self.reconstructor_concat_block if compressed else self.concat_block
                x = residual(x, reference)
            x = self._run(block, x, frames)
            yield x

    def _project(self, streams: Tensor, frames: Tensor | None, mixture: Tensor) -> Tensor:
        """Return the estimates (b, j, t, f) of ``streams`` (b, j, t, f, h).

        They have the type of ``mixture`` (b, t, f).
        """
        if frames is not None:
            frames = frames.repeat_interleave(self.num_spk, dim=0)
        estimate = self.reconstructor_deconv(streams.flatten(0, 1), frames, mixture.shape[1])
        # half precision ends here, because PyTorch has no complex half kernels
        estimate = estimate.to(mixture.real.dtype)
        if mixture.is_complex():
            estimate = torch.view_as_complex(estimate.contiguous())
        estimate = estimate.unflatten(0, (-1, self.num_spk))
        return estimate * mixture.unsqueeze(1) if self.config.mask else estimate

    def _run(self, part: nn.Module, x: Tensor, frames: Tensor | None) -> Tensor:
        """Return ``part(x, frames)``, recomputed in the backward if ``checkpoint`` says so."""
        keeps_all = self.config.checkpoint == "none"
        if self.is_compiled:
            # each memory format would be compiled separately, and a block copies its input anyway
            x = x.contiguous()
        # with "block", blocks recompute their paths one by one; the splitter has none
        keeps_all |= self.config.checkpoint == "block" and part is not self.spk_spliter
        return (part if keeps_all else recomputed(part))(x, frames)

    # --- the depth

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
        """Number of depths whose estimates :meth:`forward` returns in training mode."""
        return supervised_depths(self.config, self.reconstructor_repeat_times)

    # --- training and loading

    def _set_gradients(self) -> None:
        """Require gradients only of parts that run: distributed training would wait for others.

        Parts that never run exist because published checkpoints store their weights.
        """
        config = self.config
        has_streams = config.reconstructor_n_layers * self._repeat_times > 0
        self.reconstructor_blocks.requires_grad_(has_streams)
        if config.repeat_residual_module:
            is_repeated = config.encoder_n_layers * config.encoder_repeat_times > 1
            in_streams = has_streams and config.reconstructor_residual and config.compression == 1
            self.concat_block.requires_grad_(is_repeated or in_streams)
        if config.reconstructor_residual and config.compression > 1:
            self.compress_conv.requires_grad_(has_streams)
            self.reconstructor_concat_block.requires_grad_(has_streams)

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

    def _log_depths(self) -> None:
        """Log once which losses a training needs: ESPnet's fail with a bare assertion, (2, 6)."""
        depths = self.supervised_depths
        if depths > 1 and not self._has_logged_depths:
            logging.info(
                "the separator returns %d estimates in training, of %d depths for %d speakers; "
                "criterions need 'wrapper: multi_depth_pit'",
                depths * self.num_spk,
                depths,
                self.num_spk,
            )
        self._has_logged_depths = True
