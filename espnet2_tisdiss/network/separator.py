"""The TISDiSS separator for ESPnet's enhancement task (arXiv 2509.15666).

From the mixture's spectrum X to the speakers' spectra E_k after k repetitions:

    Z_0 = embed(X)            one stream, that of the mixture
    Z_i = S(Z_{i-1})          separator layers, i = 1 .. B
    Y_0 = split(Z_B)          one stream per speaker
    Y_k = R(Y_{k-1})          reconstructor layers, k = 1 .. N_re
    E_k = project(Y_k)

All repetitions share the layers' weights and all depths share the projection, so N_re can be chosen
after training. Z_0 may be added before S and R. ``docs/method.md`` explains the equations;
``reference`` has them in full.

Axis letters: b batch, j speaker, h feature channel, t frame, f frequency bin or band.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch_complex.tensor import ComplexTensor

from espnet2_tisdiss.network.adjustable import AdjustableSeparator
from espnet2_tisdiss.network.blocks.block import ReconstructorBlock, RepeatResidual, SeparatorBlock
from espnet2_tisdiss.network.blocks.frontend import ConvEmbed
from espnet2_tisdiss.network.blocks.locoformer import recomputed
from espnet2_tisdiss.network.blocks.splitter import Splitter
from espnet2_tisdiss.network.front_ends import build_front_end
from espnet2_tisdiss.network.inputs import checked_input, valid_frames
from espnet2_tisdiss.network.supervision import reconstructor_steps, split_steps


class TISDiSSSeparator(AdjustableSeparator):
    """Separator with shared blocks, an early split and a loss at every depth.

    Arguments, errors and attributes are those of
    :class:`~espnet2_tisdiss.network.adjustable.AdjustableSeparator`.

    Example:
        >>> separator = TISDiSSSeparator(65, emb_dim=64, attention_dim=64).eval()
        >>> spectrum = torch.randn(1, 100, 65, dtype=torch.complex64)
        >>> shallow, _, _ = separator(spectrum, None)
        >>> separator.reconstructor_repeat_times = 8
        >>> deep, _, _ = separator(spectrum, None)
    """

    def __init__(self, input_dim: int, **options: Any):
        super().__init__(input_dim, **options)
        config = self.config
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
        self._set_gradients()

    def anytime(
        self,
        input: Tensor | ComplexTensor,
        ilens: Tensor | None = None,
        repeat_times: int | None = None,
    ) -> Iterator[list[Tensor]]:
        """Separate a batch of spectra, yielding each depth as soon as it is computed.

        Depths that the caller does not request are not computed.

        Args:
            input: complex spectrum (b, t, f) or (b, t, 1, f) of the mixture; real features with
                ``segment_size``.
            ilens: (b,) valid frames of each item; None: all frames.
            repeat_times: the last depth; None: ``reconstructor_repeat_times``.

        Yields:
            The speakers' spectra (b, t, f), or features, after 0 (the splitter's output), 1, 2, ...
            up to ``repeat_times`` repetitions, supervised or not.

        Raises:
            TypeError: ``input`` is real without ``segment_size``, or complex with it.
            ValueError: ``input`` has another shape, or no frames.
        """
        if repeat_times is None:
            repeat_times = self.reconstructor_repeat_times
        mixture = self._checked(input, ilens)
        embedded, frames = self._embed(mixture, ilens)
        split = self.split(embedded, frames)
        yield self._project(split, frames, mixture)
        layers = self._reconstruct(split, embedded, frames, repeat_times)
        for step, streams in enumerate(layers, start=1):
            if step % self.config.reconstructor_n_layers == 0:
                yield self._project(streams, frames, mixture)

    def _checked(self, input: Tensor | ComplexTensor, ilens: Tensor | None) -> Tensor:
        """Check ``input`` and return it as a tensor (b, t, f)."""
        return checked_input(input, ilens, self.input_dim, self.config.segment_size is not None)

    # --- the equations

    def _embed(self, mixture: Tensor, ilens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return Z_0 (b, t, f, h) of a mixture (b, t, f), and its mask.

        The mask (b, t) refers to the axis t of Z_0 and is false at padding. It is None without
        padding, and in a causal separator, where padding has no influence because it comes last.
        """
        features = torch.view_as_real(mixture) if mixture.is_complex() else mixture
        frames = None if self.config.causal else valid_frames(ilens, mixture)
        return self.conv(features, frames)

    def _separate(self, embedded: Tensor, frames: Tensor | None) -> Iterator[Tensor]:
        """Yield the mixture's stream (b, t, f, h) after each separator layer, up to Z_B."""
        x = embedded
        layers = [*self.encoder_blocks] * self.config.encoder_repeat_times
        for step, block in enumerate(layers):
            if step and self.config.repeat_residual_module:
                x = self.concat_block(x, embedded)
            x = self._run(block, x, frames)
            yield x

    def split(self, embedded: Tensor, frames: Tensor | None) -> Tensor:
        """Return Y_0, the streams (b, j, t, f, h) before the repetitions.

        Args:
            embedded: Z_0 (b, t, f, h), the output of :attr:`conv`.
            frames: (b, t), false at padded frames; None: no padding.
        """
        return self._run(self.spk_spliter, _last(self._separate(embedded, frames)), frames)

    def _reconstruct(
        self, x: Tensor, embedded: Tensor, frames: Tensor | None, repeat_times: int
    ) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) after each reconstructor layer, of Y_0 and Z_0."""
        reference = self.reference(embedded, frames)
        for _ in range(repeat_times):
            for layer in self.repetition(x, reference, frames):
                x = layer
                yield x

    def reference(self, embedded: Tensor, frames: Tensor | None) -> Tensor | None:
        """Return the reference added to the streams before each layer, (b, 1, t, f, h), or None.

        Args:
            embedded: Z_0 (b, t, f, h).
            frames: (b, t), false at padded frames; None: no padding.
        """
        if not self.config.reconstructor_residual:
            return None
        if self.config.compression > 1:
            embedded, _ = self.compress_conv(embedded, frames)
        return embedded.unsqueeze(1)  # the same for every speaker

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

    def _project(self, streams: Tensor, frames: Tensor | None, mixture: Tensor) -> list[Tensor]:
        """Return E_k, a spectrum (b, t, f) per speaker, of Y_k (b, j, t, f, h).

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
        if self.config.mask:
            estimate = estimate * mixture.unsqueeze(1)
        return list(estimate.unbind(1))

    def _run(self, part: nn.Module, x: Tensor, frames: Tensor | None) -> Tensor:
        """Return ``part(x, frames)``, recomputed in the backward if ``checkpoint`` says so."""
        if self.is_compiled:
            # each memory format would be compiled separately, and a block copies its input anyway
            x = x.contiguous()
        checkpoint = self.config.checkpoint
        # with "block", blocks recompute their paths one by one; the splitter has none
        recomputes = checkpoint == "repetition" or (
            checkpoint == "block" and part is self.spk_spliter
        )
        return (recomputed(part) if recomputes else part)(x, frames)

    # --- what ESPnet calls

    def forward(
        self,
        input: Tensor | ComplexTensor,
        ilens: Tensor | None,
        additional: dict | None = None,
    ) -> tuple[list[Tensor], Tensor | None, OrderedDict]:
        """Separate a batch of spectra.

        Args:
            input: as for :meth:`anytime`.
            ilens: as for :meth:`anytime`.
            additional: unused; ESPnet passes it.

        Returns:
            The estimates, ``ilens`` and an empty dict. In training mode, or with ``every_depth``,
            the estimates are a flat list of depths * num_spk items with every supervised depth,
            shallow first (ESPnet's model decodes and denormalises each item). In eval mode they
            are those of the last depth.

        Raises:
            TypeError, ValueError: as for :meth:`anytime`.
        """
        if self.training:
            self._begin_training()
        with self.autocast(input.device.type):
            mixture = self._checked(input, ilens)
            embedded, frames = self._embed(mixture, ilens)
            depths = self._supervised(embedded, frames)
            if not (self.training or self.every_depth):
                depths = iter([_last(depths)])
            estimates = [one for y in depths for one in self._project(y, frames, mixture)]
        return estimates, ilens, OrderedDict()

    def _supervised(self, embedded: Tensor, frames: Tensor | None) -> Iterator[Tensor]:
        """Yield the streams (b, j, t, f, h) at every depth with a loss, from shallow to the last.

        Depending on the options, these are Y_k after every reconstructor layer or repetition, and
        splits of Z_B or of each Z_i.
        """
        n_re = self.reconstructor_repeat_times
        layers = self._separate(embedded, frames)
        for x, is_supervised in zip(layers, split_steps(self.config, n_re), strict=True):
            if is_supervised:
                split = self._run(self.spk_spliter, x, frames)
                yield split
        if not is_supervised:
            split = self._run(self.spk_spliter, x, frames)
        steps = reconstructor_steps(self.config, n_re)
        layers = self._reconstruct(split, embedded, frames, n_re)
        for streams, is_supervised in zip(layers, steps, strict=True):
            if is_supervised:
                yield streams


def _last(streams: Iterator[Tensor]) -> Tensor:
    """Return the last of some streams, holding one at a time."""
    return deque(streams, maxlen=1).pop()
