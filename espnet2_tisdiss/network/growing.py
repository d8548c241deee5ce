"""Start a larger separator from the weights of a smaller, trained one.

At first the wider separator returns the outputs of the smaller one: weights that write to new
channels, heads and hidden units start at 0, and weights that read from them start at random, so
that they receive gradients from the first step on. So most of the training can run while the
separator is small and cheap, and growing it loses nothing.
"""

import math
from functools import singledispatchmethod

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.attention import MultiHeadSelfAttention
from espnet2_tisdiss.network.blocks.band_layout import BandLayout
from espnet2_tisdiss.network.blocks.bands import BandEmbed, BandProject
from espnet2_tisdiss.network.blocks.block import RepeatResidual
from espnet2_tisdiss.network.blocks.feedforward import ConvFeedForward
from espnet2_tisdiss.network.blocks.norm import RMSGroupNorm
from espnet2_tisdiss.network.blocks.splitter import Splitter
from espnet2_tisdiss.network.separator import TISDiSSSeparator


@torch.no_grad()
def grow(small: TISDiSSSeparator, large: TISDiSSSeparator) -> None:
    """Copy the weights of ``small`` into ``large`` and initialise the others of ``large``.

    ``large`` may have more channels, heads (of the same width) and hidden units, other bands and
    another sample rate; ``num_groups``, the kernels and the types of the parts are the same. The
    outputs equal those of ``small`` if the bands are the same and ``emb_dim`` is a multiple of the
    small one; otherwise approximately.

    Args:
        small: the trained separator.
        large: a newly constructed separator, whose weights are overwritten.

    Raises:
        ValueError: ``large`` cannot hold ``small``; the message names the option.
    """
    growth = Growth(small, large)
    for name, part in large.named_modules():
        if not isinstance(part, BandLayout):
            growth.fill(part, small.get_submodule(name))


class Growth:
    """Maps the channels of a small separator to those of a large one, and fills its modules.

    Args:
        small: the trained separator.
        large: the separator to fill.

    Raises:
        ValueError: ``large`` cannot hold ``small``.
    """

    def __init__(self, small: TISDiSSSeparator, large: TISDiSSSeparator):
        _check(small, large)
        groups, old, new = large.config.num_groups, small.config.emb_dim, large.config.emb_dim
        self.share = old / new
        # each group of the group norms keeps its channels; its new channels come after them
        group, place = torch.arange(old) // (old // groups), torch.arange(old) % (old // groups)
        self.channels = group * (new // groups) + place
        self.new_channels = _complement(self.channels, new)
        self.rates = small.config.sample_rate, large.config.sample_rate

    @singledispatchmethod
    def fill(self, large: nn.Module, small: nn.Module) -> None:
        """Fill a module of ``large`` from that of ``small``; other types stay unchanged."""

    @fill.register
    def _(self, large: RMSGroupNorm, small: RMSGroupNorm) -> None:
        # new channels are 0 at first, which lowers the mean square over a group by the share
        large.gamma.fill_(small.gamma.mean())
        large.gamma[self.channels] = small.gamma
        large.gamma.mul_(math.sqrt(self.share))

    @fill.register
    def _(self, large: MultiHeadSelfAttention, small: MultiHeadSelfAttention) -> None:
        old, new = (part.qkv.weight.shape[0] // 3 for part in (small, large))
        heads = torch.arange(old)
        _copy(large, small, "qkv.weight", _stacked(heads, 3, new), self.channels)
        _copy_into_zeros(large, small, "aggregate_heads.0.weight", self.channels, heads)

    @fill.register
    def _(self, large: ConvFeedForward, small: ConvFeedForward) -> None:
        old, new = (part.deconv1d.weight.shape[0] for part in (small, large))
        units = torch.arange(old)
        rows = _stacked(units, 1 + large.gated, new)
        _copy(large, small, "conv1d.weight", rows, self.channels)
        _copy_into_zeros(large, small, "conv1d.bias", rows)
        _copy_into_zeros(large, small, "deconv1d.weight", units, self.channels)
        _copy_into_zeros(large, small, "deconv1d.bias", self.channels)

    @fill.register
    def _(self, large: Splitter, small: Splitter) -> None:
        width = len(self.channels) + len(self.new_channels)
        streams = _stacked(self.channels, large.num_spk, width)
        if not large.gated:
            _copy_into_zeros(large, small, "conv2d.weight", streams, self.channels)
            _copy_into_zeros(large, small, "conv2d.bias", streams)
            return
        old, new = (part.deconv2d.weight.shape[0] for part in (small, large))
        units = torch.arange(old)
        rows = _stacked(units, 2, new)
        _copy(large, small, "conv2d.weight", rows, self.channels)
        _copy_into_zeros(large, small, "conv2d.bias", rows)
        _copy_into_zeros(large, small, "deconv2d.weight", units, streams)
        _copy_into_zeros(large, small, "deconv2d.bias", streams)

    @fill.register
    def _(self, large: RepeatResidual, small: RepeatResidual) -> None:
        _copy(large, small, "0.weight", self.channels)
        _copy_into_zeros(large, small, "0.bias", self.channels)
        large.get_parameter("1.weight").copy_(small.get_parameter("1.weight"))

    @fill.register
    def _(self, large: BandEmbed, small: BandEmbed) -> None:
        bands, places, found = self._nearest(large.layout, small.layout)
        weight = small.weight.unflatten(1, (-1, 2))[bands[:, None], places] * found[..., None, None]
        # The norm covers all channels: new ones repeat old ones, which keeps its statistics, and
        # the norm's own weights set them to 0.
        repeated = torch.arange(len(self.new_channels)) % len(self.channels)
        bias = small.bias.view(small.layout.n_bands, -1)[bands]
        for part, target in ((weight.flatten(1, 2), large.weight), (bias, large.bias)):
            view = target.view(*part.shape[:-1], -1)
            view[..., self.channels] = part
            view[..., self.new_channels] = part[..., repeated]
        _copy_into_zeros(large, small, "norm.weight", self.channels)
        _copy_into_zeros(large, small, "norm.bias", self.channels)

    @fill.register
    def _(self, large: BandProject, small: BandProject) -> None:
        bands, places, _ = self._nearest(large.layout, small.layout)
        weight = small.weight.unflatten(2, (-1, 2))[bands[:, None], :, places]  # band, bin, h, 2
        large.weight[:, self.channels] = weight.transpose(1, 2).flatten(2)
        bias = small.bias.view(small.layout.n_bands, -1, 2)[bands[:, None], places]
        large.bias.copy_(bias.flatten())

    def _nearest(self, large: BandLayout, small: BandLayout) -> tuple[Tensor, Tensor, Tensor]:
        """Return the place of the small layout whose weights each place of the large one gets.

        It is in the band nearest in frequency, at the same fraction of the band.

        Returns:
            The band (band,), the place in it (band, place), and a factor (band, place): 0 where the
            large layout has no bin, otherwise one that keeps the size of the embedding when a band
            has more bins to sum.
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
    """Return ``index`` repeated for each of ``times`` consecutive parts of ``size`` entries."""
    return torch.cat([index + part * size for part in range(times)])


def _complement(index: Tensor, size: int) -> Tensor:
    """Return the numbers below ``size`` that are not in ``index``."""
    return torch.tensor([i for i in range(size) if i not in set(index.tolist())], dtype=torch.long)


def _copy(large: nn.Module, small: nn.Module, name: str, *index: Tensor) -> None:
    """Copy a parameter of ``small`` to the entries of that of ``large`` at ``index``.

    Args:
        large: the module to fill.
        small: the module to copy from.
        name: of the parameter.
        *index: of the entries, one for each leading axis.
    """
    grid = torch.meshgrid(*index, indexing="ij")
    large.get_parameter(name)[grid] = small.get_parameter(name)


def _copy_into_zeros(large: nn.Module, small: nn.Module, name: str, *index: Tensor) -> None:
    """Copy like :func:`_copy`, and set all other entries to 0."""
    large.get_parameter(name).zero_()
    _copy(large, small, name, *index)
