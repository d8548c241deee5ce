"""Start a larger separator from the weights of a smaller, trained one.

A wider separator gives the outputs of the smaller one at first: what writes into its new channels,
heads and hidden units begins at zero, and what reads from them at random, so that they receive
gradients from the first step on. Training then costs little while the model is small, and nothing
is lost when it grows.
"""

import math
from functools import singledispatchmethod

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.attention import MultiHeadSelfAttention
from espnet2_tisdiss.network.blocks.bands import BandEmbed, BandLayout, BandProject
from espnet2_tisdiss.network.blocks.block import RepeatResidual
from espnet2_tisdiss.network.blocks.feedforward import ConvFeedForward
from espnet2_tisdiss.network.blocks.norm import RMSGroupNorm
from espnet2_tisdiss.network.blocks.splitter import Splitter
from espnet2_tisdiss.network.separator import TISDiSSSeparator


@torch.no_grad()
def grow(small: TISDiSSSeparator, large: TISDiSSSeparator) -> None:
    """Give ``large`` the weights of ``small``; its other weights begin as in the module text.

    ``large`` may have more channels, heads (of the same width) and hidden units, other bands and
    another sample rate; ``num_groups``, the kernels and the types of the parts are the same. The
    outputs are those of ``small`` where the bands are the same and ``emb_dim`` is a multiple of
    its; otherwise about those.

    Args:
        small: the trained separator.
        large: one with the weights it was constructed with, which are overwritten.

    Raises:
        ValueError: ``large`` cannot hold ``small``; the message names the option.
    """
    growth = Growth(small, large)
    for name, part in large.named_modules():
        if not isinstance(part, BandLayout):
            growth.fill(part, small.get_submodule(name))


class Growth:
    """How the channels of a small separator lie in a large one.

    Args:
        small: the trained separator.
        large: the one to fill.

    Raises:
        ValueError: ``large`` cannot hold ``small``.
    """

    def __init__(self, small: TISDiSSSeparator, large: TISDiSSSeparator):
        _check(small, large)
        groups, old, new = large.config.num_groups, small.config.emb_dim, large.config.emb_dim
        self.share = old / new
        # each group of the group norms keeps its channels, and gets new ones behind them
        group, place = torch.arange(old) // (old // groups), torch.arange(old) % (old // groups)
        self.channels = group * (new // groups) + place
        self.new_channels = _others(self.channels, new)
        self.rates = small.config.sample_rate, large.config.sample_rate

    @singledispatchmethod
    def fill(self, large: nn.Module, small: nn.Module) -> None:
        """Fill a module of ``large`` from that of ``small``; types not listed stay as they are."""

    @fill.register
    def _(self, large: RMSGroupNorm, small: RMSGroupNorm) -> None:
        # new channels are silent at first: the mean square over a group falls with its width
        large.gamma.fill_(small.gamma.mean())
        large.gamma[self.channels] = small.gamma
        large.gamma.mul_(math.sqrt(self.share))

    @fill.register
    def _(self, large: MultiHeadSelfAttention, small: MultiHeadSelfAttention) -> None:
        old, new = (part.qkv.weight.shape[0] // 3 for part in (small, large))
        heads = torch.arange(old)
        _place(large.qkv.weight, small.qkv.weight, _stacked(heads, 3, new), self.channels)
        _fresh(
            large.aggregate_heads[0].weight, small.aggregate_heads[0].weight, self.channels, heads
        )

    @fill.register
    def _(self, large: ConvFeedForward, small: ConvFeedForward) -> None:
        old, new = (part.deconv1d.weight.shape[0] for part in (small, large))
        units = torch.arange(old)
        rows = _stacked(units, 1 + large.gated, new)
        _place(large.conv1d.weight, small.conv1d.weight, rows, self.channels)
        _fresh(large.conv1d.bias, small.conv1d.bias, rows)
        _fresh(large.deconv1d.weight, small.deconv1d.weight, units, self.channels)
        _fresh(large.deconv1d.bias, small.deconv1d.bias, self.channels)

    @fill.register
    def _(self, large: Splitter, small: Splitter) -> None:
        width = len(self.channels) + len(self.new_channels)
        streams = _stacked(self.channels, large.num_spk, width)
        if not large.gated:
            _fresh(large.conv2d.weight, small.conv2d.weight, streams, self.channels)
            _fresh(large.conv2d.bias, small.conv2d.bias, streams)
            return
        old, new = (part.deconv2d.weight.shape[0] for part in (small, large))
        units = torch.arange(old)
        rows = _stacked(units, 2, new)
        _place(large.conv2d.weight, small.conv2d.weight, rows, self.channels)
        _fresh(large.conv2d.bias, small.conv2d.bias, rows)
        _fresh(large.deconv2d.weight, small.deconv2d.weight, units, streams)
        _fresh(large.deconv2d.bias, small.deconv2d.bias, streams)

    @fill.register
    def _(self, large: RepeatResidual, small: RepeatResidual) -> None:
        _place(large[0].weight, small[0].weight, self.channels)
        _fresh(large[0].bias, small[0].bias, self.channels)
        large[1].weight.copy_(small[1].weight)

    @fill.register
    def _(self, large: BandEmbed, small: BandEmbed) -> None:
        bands, places, found = self._nearest(large.layout, small.layout)
        weight = small.weight.unflatten(1, (-1, 2))[bands[:, None], places] * found[..., None, None]
        # The norm is over all channels: new ones repeat old ones, so that it stays, and are
        # silenced behind it.
        repeated = torch.arange(len(self.new_channels)) % len(self.channels)
        bias = small.bias.view(small.layout.n_bands, -1)[bands]
        for part, target in ((weight.flatten(1, 2), large.weight), (bias, large.bias)):
            target = target.view(*part.shape[:-1], -1)
            target[..., self.channels] = part
            target[..., self.new_channels] = part[..., repeated]
        _fresh(large.norm.weight, small.norm.weight, self.channels)
        _fresh(large.norm.bias, small.norm.bias, self.channels)

    @fill.register
    def _(self, large: BandProject, small: BandProject) -> None:
        bands, places, _ = self._nearest(large.layout, small.layout)
        weight = small.weight.unflatten(2, (-1, 2))[bands[:, None], :, places]  # band, bin, h, 2
        large.weight[:, self.channels] = weight.transpose(1, 2).flatten(2)
        bias = small.bias.view(small.layout.n_bands, -1, 2)[bands[:, None], places]
        large.bias.copy_(bias.flatten())

    def _nearest(self, large: BandLayout, small: BandLayout) -> tuple[Tensor, Tensor, Tensor]:
        """Return the small layout's place that each place of the large layout starts from.

        That is the band nearest in frequency, and in it the same share of the way up.

        Returns:
            The band (band,), the place in it (band, place), and a factor (band, place): 0 where the
            large layout has no bin, else one that keeps the embedding's size where more bins are
            added up.
        """
        centre, count = _bands(large, self.rates[1])
        small_centre, small_count = _bands(small, self.rates[0])
        bands = (centre[:, None] - small_centre).abs().argmin(1)
        last, small_last = (count - 1)[:, None], (small_count[bands] - 1)[:, None]
        place = torch.arange(large.width)
        places = (place / last.clamp(1) * small_last).round().long().minimum(small_last)
        scale = (small_count[bands] / count).clamp(max=1).sqrt()[:, None]
        return bands, places, (place <= last) * scale


def _check(small: TISDiSSSeparator, large: TISDiSSSeparator) -> None:
    """Raise ValueError unless ``large`` can hold ``small``."""
    for name in ("num_spk", "num_groups", "norm_type", "tf_order", "conv1d_kernel", "conv1d_shift"):
        old, new = getattr(small.config, name), getattr(large.config, name)
        if old != new:
            raise ValueError(f"{name} must stay {old}; got {new}")
    for name in ("emb_dim", "attention_dim"):
        old, new = getattr(small.config, name), getattr(large.config, name)
        if new < old:
            raise ValueError(f"{name} must be at least {old}; got {new}")
    for config in (small.config, large.config):
        if (
            config.band_split is None
            or config.norm_type != "rmsgroupnorm"
            or config.compression > 1
        ):
            raise ValueError("only band_split, rmsgroupnorm and no split_compress can grow")
    head, new_head = (c.attention_dim // c.n_heads for c in (small.config, large.config))
    if head != new_head:
        raise ValueError(f"attention_dim / n_heads must stay {head}; got {new_head}")
    names = [{name for name, _ in separator.named_parameters()} for separator in (small, large)]
    if missing := names[0] ^ names[1]:
        raise ValueError(f"the separators must have the same parts; only one has {min(missing)}")


def _bands(layout: BandLayout, rate: int) -> tuple[Tensor, Tensor]:
    """Return the centre of each band in Hz and its number of bins."""
    bins = layout.index.view(layout.n_bands, -1)
    count = (bins < layout.n_bins).sum(1)
    last = bins.gather(1, (count - 1)[:, None]).squeeze(1)
    return (bins[:, 0] + last) / 2 * (rate / 2 / (layout.n_bins - 1)), count


def _stacked(index: Tensor, times: int, size: int) -> Tensor:
    """Return ``index`` into each of ``times`` parts of ``size``, one after the other."""
    return torch.cat([index + part * size for part in range(times)])


def _others(index: Tensor, size: int) -> Tensor:
    """Return the numbers below ``size`` that are not in ``index``."""
    return torch.tensor([i for i in range(size) if i not in set(index.tolist())], dtype=torch.long)


def _place(large: Tensor, small: Tensor, *index: Tensor) -> None:
    """Set the entries of ``large`` at an index for each leading axis to ``small``."""
    large[torch.meshgrid(*index, indexing="ij")] = small


def _fresh(large: Tensor, small: Tensor, *index: Tensor) -> None:
    """Set them, and all others to zero."""
    large.zero_()
    _place(large, small, *index)
