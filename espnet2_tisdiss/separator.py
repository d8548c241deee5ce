"""The TISDiSS separator for ESPnet's enhancement task (arXiv 2509.15666).

waveform -> STFT -> embed -> separator block x N_sep -> splitter -> reconstructor block x N_re
-> project -> inverse STFT. All repetitions share the blocks' weights and one projection serves
every depth, so the depth can be chosen after training: see ``reconstructor_repeat_times``.

Axis letters: b batch, j speaker, h feature channel, t frame, f frequency bin or band.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from espnet2.enh.separator.abs_separator import AbsSeparator
from torch import Tensor, nn
from torch_complex.tensor import ComplexTensor

from espnet2_tisdiss.blocks.bands import (
    BandEmbed,
    BandLayout,
    BandProject,
    fixed_bands,
    mel_bands,
)
from espnet2_tisdiss.blocks.block import ReconstructorBlock, RepeatResidual, SeparatorBlock
from espnet2_tisdiss.blocks.frontend import ConvEmbed, ConvProject, GlobalNorm
from espnet2_tisdiss.blocks.path import recomputed
from espnet2_tisdiss.blocks.segments import SegmentEmbed, SegmentProject
from espnet2_tisdiss.blocks.splitter import Splitter, blank_frames
from espnet2_tisdiss.checks import check_integer, some_of
from espnet2_tisdiss.config import TISDiSSConfig
from espnet2_tisdiss.precision import half_precision


class TISDiSSSeparator(AbsSeparator):
    """Separator with shared blocks, an early split and a loss at every depth.

    Args:
        input_dim: frequency bins f of the encoder's spectrum, or features of a frame.
        **options: see :class:`~espnet2_tisdiss.config.TISDiSSConfig`.

    Raises:
        TypeError: an option is unknown; the message lists the known ones.
        ValueError: an option's value is; the message names it and the values allowed.

    Attributes:
        half_dtype: half-precision type that :meth:`forward` computes in by autocast, whatever
            autocast it is called in; None: the weights' type, or the caller's autocast.
        is_compiled: whether ``torch.compile`` fuses the blocks.
        every_depth: whether :meth:`forward` returns every supervised depth in eval mode, too.

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

        # module names are the published ones: checkpoints store them
        self.conv, self.reconstructor_deconv = self._front_end(stream_dim)
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
        )
        self.reconstructor_blocks = nn.ModuleList(
            ReconstructorBlock(config.stream_path, config.tf_order, config.speaker_path)
            for _ in range(config.reconstructor_n_layers)
        )
        if config.repeat_residual_module:
            # also where it is not run (one separator layer, once): published checkpoints store it
            self.concat_block = RepeatResidual(config.emb_dim)
        if config.reconstructor_residual and config.compression > 1:
            self.compress_conv = nn.Sequential(
                nn.Conv2d(config.emb_dim, stream_dim, 3, padding=1),
                GlobalNorm(stream_dim, config.eps),
            )
            self.reconstructor_concat_block = RepeatResidual(stream_dim)
        self._repeat_times = config.reconstructor_repeat_times
        self.half_dtype: torch.dtype | None = None
        self.is_compiled = False
        self.every_depth = False

    def _front_end(self, stream_dim: int) -> tuple[nn.Module, nn.Module]:
        """Return the embedding and the projection that the options ask for."""
        config = self.config
        # masks begin as an even share of the mixture: what training then has to learn is a change
        start = 1 / config.num_spk if config.mask else 0.0
        if config.segment_size is not None:
            embed = SegmentEmbed(self.input_dim, config.emb_dim, config.eps, config.segment_size)
            return embed, SegmentProject(stream_dim, self.input_dim, start)
        if config.band_split is None:
            return ConvEmbed(config.emb_dim, config.eps), ConvProject(stream_dim)
        layout = self._band_layout()
        embed = BandEmbed(config.emb_dim, config.eps, layout)
        return embed, BandProject(stream_dim, layout, start)

    def _band_layout(self) -> BandLayout:
        """Return the bands of ``band_split``."""
        config = self.config
        if self.input_dim < 2:
            raise ValueError(
                f"input_dim must be an integer >= 2 with band_split; got {self.input_dim}"
            )
        if config.band_split == "fixed":
            return BandLayout(fixed_bands(self.input_dim, config.sample_rate, config.band_scale))
        if config.band_split == "mel":
            return BandLayout(mel_bands(self.input_dim, config.sample_rate, config.num_bands))
        if sum(config.band_split) != self.input_dim:
            raise ValueError(
                f"band_split must add up to the spectrum's {self.input_dim} bins; "
                f"got {config.band_split}, {sum(config.band_split)} in all"
            )
        bins = torch.arange(self.input_dim).split(config.band_split)
        return BandLayout([band.tolist() for band in bins])

    @property
    def num_spk(self) -> int:
        """Number of speakers j."""
        return self.config.num_spk

    @property
    def reconstructor_repeat_times(self) -> int:
        """N_re, the depth of the next call; may be set at any time to an integer >= 0.

        0 gives the splitter's output. No parameter depends on it, and ``config`` keeps the depth
        that the model was made with. Within :func:`depth_of_call` it is the one given there.
        """
        n_re = _depth_of_call.get()
        return self._repeat_times if n_re is None else n_re

    @reconstructor_repeat_times.setter
    def reconstructor_repeat_times(self, value: int) -> None:
        self._repeat_times = check_integer("reconstructor_repeat_times", value, 0)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Load weights as PyTorch does, but all or none of them.

        Also where ESPnet loads with strict=False, which would skip what does not fit. (Other shapes
        are an error of PyTorch's in any case.)
        """
        given = {name for name in state_dict if name.startswith(prefix)}
        names = {prefix + name for name in self.state_dict()}
        refuse_mismatch(names - given, given - names)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def compile_blocks(self) -> None:
        """Have ``torch.compile`` fuse the separator and reconstructor blocks from now on.

        That is nearly all of the work, and as the repetitions share the blocks it is compiled once
        whatever the depth. The numbers change by rounding alone; state dicts stay as they are.
        """
        if not self.is_compiled:
            for block in (*self.encoder_blocks, *self.reconstructor_blocks):
                block.compile()
        self.is_compiled = True

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
            ilens: (b,) valid frames of each item, or None where all are.
            additional: unused; ESPnet passes it.

        Returns:
            Spectra (b, t, f), or features, of the speakers: in training mode of EVERY supervised
            depth, shallow first, as one flat list of depths * num_spk (the form in which ESPnet's
            model decodes and denormalises each); in eval mode those of the last depth, unless
            ``every_depth`` is set. Then
            ``ilens``, and an empty dict.
        """
        if self.training and self.config.compile:
            self.compile_blocks()
        with self.autocast(input.device.type):
            return self._estimates(self._checked(input, ilens), ilens), ilens, OrderedDict()

    def autocast(self, device_type: str) -> AbstractContextManager:
        """Return a context of autocast to ``half_dtype`` or in training ``training_dtype``."""
        half_dtype = self.half_dtype
        if self.training and half_dtype is None:
            half_dtype = _training_dtype(self.config.training_dtype, device_type)
        return nullcontext() if half_dtype is None else torch.autocast(device_type, half_dtype)

    def _estimates(self, mixture: Tensor, ilens: Tensor | None) -> list[Tensor]:
        """Return the spectra of :meth:`forward`."""
        embedded, frames = self._embed(mixture, ilens)
        depths = self._streams(embedded, frames)
        if not (self.training or self.every_depth):
            depths = deque(depths, maxlen=1)  # the last one, the others freed as it goes
        return [
            estimate
            for streams in depths
            for estimate in self._project(streams, frames, mixture).unbind(1)
        ]

    def anytime(
        self,
        input: Tensor | ComplexTensor,
        ilens: Tensor | None = None,
        repeat_times: int | None = None,
    ) -> Iterator[list[Tensor]]:
        """Separate a batch of spectra, depth by depth, each as soon as it is done.

        Nothing beyond the estimates taken is computed: to stop early costs nothing.

        Args:
            input: as for :meth:`forward`.
            ilens: as for :meth:`forward`.
            repeat_times: the last depth; None: ``reconstructor_repeat_times``.

        Yields:
            The speakers' spectra (b, t, f) after 0 (the splitter's output), 1, 2, ... up to
            ``repeat_times`` repetitions, whether supervised or not.
        """
        if repeat_times is None:
            repeat_times = self.reconstructor_repeat_times
        mixture = self._checked(input, ilens)
        embedded, frames = self._embed(mixture, ilens)
        split, _ = deque(self._splits(embedded, frames), maxlen=1).pop()
        yield list(self._project(split, frames, mixture).unbind(1))
        layers = self._reconstruct(split, embedded, frames, repeat_times)
        for step, streams in enumerate(layers, start=1):
            if step % self.config.reconstructor_n_layers == 0:
                yield list(self._project(streams, frames, mixture).unbind(1))

    def _checked(self, input: Tensor | ComplexTensor, ilens: Tensor | None) -> Tensor:
        """Return ``input`` as a tensor (b, t, f), checked."""
        if isinstance(input, ComplexTensor):
            input = torch.complex(input.real, input.imag)
        if torch.is_complex(input) == (self.config.segment_size is not None):
            raise TypeError(
                "TISDiSS needs a complex spectrum (encoder: stft), or with segment_size real "
                f"features (encoder: conv); got {input.dtype}"
            )
        if input.dim() == 4 and input.shape[2] == 1:
            input = input.squeeze(2)
        if input.dim() != 3 or input.shape[2] != self.input_dim or not input.numel():
            raise ValueError(
                f"TISDiSS needs single-channel features (batch, frames, {self.input_dim}) or "
                f"(batch, frames, 1, {self.input_dim}); got {tuple(input.shape)}"
            )
        # ESPnet's normalize_variance divides digital silence by its zero deviation. Such an item,
        # not a number in all of its frames, is separated as silence; a NaN among numbers stays.
        no_number = input.isnan().all(2)  # (b, t)
        if ilens is not None:
            no_number |= ~_frame_mask(ilens, input)
        return input.masked_fill(no_number.all(1)[:, None, None], 0)

    def _embed(self, mixture: Tensor, ilens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the feature map (b, t, f, h) of ``mixture`` (b, t, f) and its valid frames.

        The valid frames are (b, t), false at padding, for the MAP's axis t; None: no padding.
        """
        features = torch.view_as_real(mixture) if mixture.is_complex() else mixture
        return self.conv(features, _valid_frames(ilens, mixture))

    def _streams(self, embedded: Tensor, frames: Tensor | None) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) at every supervised depth, shallow first."""
        for split, supervised in self._splits(embedded, frames):
            if supervised:
                yield split
        steps = self._reconstructor_steps()
        layers = self._reconstruct(split, embedded, frames, self.reconstructor_repeat_times)
        for supervised, streams in zip(steps, layers, strict=True):
            if supervised:
                yield streams

    def _splits(self, embedded: Tensor, frames: Tensor | None) -> Iterator[tuple[Tensor, bool]]:
        """Yield each split of the mixture's stream and whether it is supervised.

        The last one is what the reconstructor receives.
        """
        config = self.config
        for x, supervised in self._separate(embedded, frames):
            if config.encoder_decoder and supervised:  # the end of the last repetition always is
                yield self._run(self.spk_spliter, x, frames), True
        if not config.encoder_decoder:
            is_output = not self._reconstructor_steps()
            yield self._run(self.spk_spliter, x, frames), config.spliter_loss or is_output

    def _run(self, part: nn.Module, x: Tensor, frames: Tensor | None) -> Tensor:
        """Return ``part`` of ``x``, keeping what the option ``checkpoint`` says."""
        keeps_all = self.config.checkpoint == "none"
        if self.is_compiled:
            # each order in memory would be compiled anew, and a block's first step is this copy
            x = x.contiguous()
        # a block of "block" has its paths recomputed one by one; the splitter is one itself
        keeps_all |= self.config.checkpoint == "block" and part is not self.spk_spliter
        return (part if keeps_all else recomputed(part))(x, frames)

    def _separate(self, x: Tensor, frames: Tensor | None) -> Iterator[tuple[Tensor, bool]]:
        """Yield the mixture's stream after each separator layer, and whether it is supervised."""
        config, mixture = self.config, x
        supervised = _supervised_steps(
            config.encoder_n_layers,
            config.encoder_repeat_times,
            config.encoder_multi_decoder,
            config.encoder_n_layers_multi_decoder,
        )
        for step, is_supervised in enumerate(supervised):
            if step and config.repeat_residual_module:
                x = self.concat_block(x, mixture)
            x = self._run(self.encoder_blocks[step % config.encoder_n_layers], x, frames)
            yield x, is_supervised

    def _reconstructor_steps(self) -> list[bool]:
        """Say of each reconstructor layer to be run whether its output is supervised."""
        return _supervised_steps(
            self.config.reconstructor_n_layers,
            self.reconstructor_repeat_times,
            self.config.reconstructor_multi_decoder,
            self.config.reconstructor_n_layers_multi_decoder,
        )

    def _reconstruct(
        self, x: Tensor, mixture: Tensor, frames: Tensor | None, repeat_times: int
    ) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) after each reconstructor layer.

        Args:
            x: the splitter's streams (b, j, t, f, h).
            mixture: the embedded mixture (b, t, f, h).
            frames: valid frames (b, t), or None.
            repeat_times: how often all layers are run.
        """
        config = self.config
        if config.reconstructor_residual:
            residual = self.concat_block
            if config.compression > 1:
                residual = self.reconstructor_concat_block
                conv, norm = self.compress_conv
                mixture = conv(blank_frames(mixture, frames).movedim(-1, 1)).movedim(1, -1)
                mixture = norm(mixture, frames)
            mixture = mixture.unsqueeze(1)  # the same for every speaker: (b, 1, t, f, h)
        for _ in range(repeat_times):
            for block in self.reconstructor_blocks:
                if config.reconstructor_residual:
                    x = residual(x, mixture)
                x = self._run(block, x, frames)
                yield x

    def _project(self, streams: Tensor, frames: Tensor | None, mixture: Tensor) -> Tensor:
        """Return the estimates (b, j, t, f) of ``streams`` (b, j, t, f, h), like ``mixture``."""
        if frames is not None:
            frames = frames.repeat_interleave(self.num_spk, dim=0)
        estimate = self.reconstructor_deconv(streams.flatten(0, 1), frames, mixture.shape[1])
        # half precision ends here: there are no complex half kernels
        estimate = estimate.to(mixture.real.dtype)
        if mixture.is_complex():
            estimate = torch.view_as_complex(estimate.contiguous())
        estimate = estimate.unflatten(0, (-1, self.num_spk))
        return estimate * mixture.unsqueeze(1) if self.config.mask else estimate


# in a context variable, so that calls of several threads do not see each other's
_depth_of_call: ContextVar[int | None] = ContextVar("depth_of_call", default=None)


@contextmanager
def depth_of_call(n_re: int | None) -> Iterator[None]:
    """Let the separators that run in this block, in this thread, run at a depth.

    Args:
        n_re: repetitions, >= 0; None: each its own ``reconstructor_repeat_times``.
    """
    if n_re is not None:
        check_integer("n_re", n_re, 0)
    token = _depth_of_call.set(n_re)
    try:
        yield
    finally:
        _depth_of_call.reset(token)


def refuse_mismatch(missing: Collection[str], left_over: Collection[str]) -> None:
    """Refuse weights of other names than the model's.

    Raises:
        RuntimeError: naming what is missing and what is left over.
    """
    if missing or left_over:
        raise RuntimeError(
            "the weights do not fit this TISDiSS configuration; "
            f"missing: {some_of(missing) or 'none'}; left over: {some_of(left_over) or 'none'}"
        )


@cache
def _training_dtype(dtype: str, device_type: str) -> torch.dtype | None:
    """Return what :func:`half_precision` does; its warning comes once, not at every step."""
    return half_precision(dtype, device_type)


def _supervised_steps(
    n_layers: int, repeat_times: int, every_repeat: bool, every_layer: bool
) -> list[bool]:
    """Say of each layer application, in order, whether its output is supervised.

    The end of the last repetition always is, the end of the others with ``every_repeat``; within
    the repetitions whose end is supervised, every layer is with ``every_layer``.
    """
    return [
        (every_repeat or repeat == repeat_times - 1) and (every_layer or layer == n_layers - 1)
        for repeat in range(repeat_times)
        for layer in range(n_layers)
    ]


def _valid_frames(ilens: Tensor | None, mixture: Tensor) -> Tensor | None:
    """Return (b, t), false at padded frames of ``mixture`` (b, t, f), or None where none are.

    Lengths on a GPU are waited for, once a call: attention without a mask is worth it. Who must
    not wait (a CUDA graph) gives them on the CPU, or None.
    """
    n_frames = mixture.shape[1]
    if ilens is None or bool((ilens >= n_frames).all()):
        return None
    return _frame_mask(ilens, mixture)


def _frame_mask(ilens: Tensor, mixture: Tensor) -> Tensor:
    """Return (b, t), true at the first ``ilens`` (b,) frames of each item of ``mixture``."""
    # a copy that blocks would wait for all that the GPU has still to do
    ilens = ilens.to(mixture.device, non_blocking=True)
    return torch.arange(mixture.shape[1], device=mixture.device) < ilens[:, None]
