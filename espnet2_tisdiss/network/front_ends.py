"""Choose the embedding and the projection of a separator."""

from collections.abc import Sequence

import torch
from torch import nn

from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.network.blocks.band_layout import (
    BandLayout,
    BandSplit,
    fixed_bands,
    mel_bands,
)
from espnet2_tisdiss.network.blocks.bands import BandEmbed, BandProject
from espnet2_tisdiss.network.blocks.frontend import ConvEmbed, ConvProject
from espnet2_tisdiss.network.blocks.segments import SegmentEmbed, SegmentProject
from espnet2_tisdiss.network.config import TISDiSSConfig


def build_front_end(config: TISDiSSConfig, input_dim: int) -> tuple[nn.Module, nn.Module]:
    """Return the embedding and the projection; ``blocks.frontend`` defines both.

    Args:
        config: the separator's options.
        input_dim: frequency bins of the spectrum, or features of a frame.

    Raises:
        OptionError: the bands do not match ``input_dim``.
    """
    stream_dim, causal = config.emb_dim // config.compression, config.causal
    # masks start as an even share of the mixture: training learns a deviation from it
    start = 1 / config.num_spk if config.mask else 0.0
    if config.segment_size is not None:
        embed = SegmentEmbed(input_dim, config.emb_dim, config.eps, config.segment_size)
        return embed, SegmentProject(stream_dim, input_dim, start)
    if config.band_split is None:
        return ConvEmbed(2, config.emb_dim, config.eps, causal), ConvProject(stream_dim, causal)
    layout = BandLayout(_bands(config, config.band_split, input_dim))
    return (
        BandEmbed(config.emb_dim, config.eps, layout, causal),
        BandProject(stream_dim, layout, start),
    )


def _bands(
    config: TISDiSSConfig, band_split: BandSplit | Sequence[int], n_bins: int
) -> list[list[int]]:
    """Return the bins of each band of the option ``band_split``."""
    if n_bins < 2:
        raise OptionError(f"input_dim must be an integer >= 2 with band_split; got {n_bins}")
    if band_split == "fixed":
        return fixed_bands(n_bins, config.sample_rate, config.band_scale)
    if isinstance(band_split, str):  # mel
        return mel_bands(n_bins, config.sample_rate, config.num_bands)
    if sum(band_split) != n_bins:
        raise OptionError(
            f"band_split must add up to the spectrum's {n_bins} bins; "
            f"got {band_split}, which add up to {sum(band_split)}"
        )
    return [band.tolist() for band in torch.arange(n_bins).split(list(band_split))]
