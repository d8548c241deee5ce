"""Band-split front end: one position on the frequency axis for each band of bins.

All that runs between embedding and projection costs as much less as there are fewer bands than
bins. See ``frontend`` for what a front end is.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.frontend import GlobalNorm
from espnet2_tisdiss.network.blocks.splitter import blank_frames

BAND_SPLITS = ("fixed", "mel")
# Widths of the fixed bands in Hz, each up to a frequency in Hz: narrow where voices have their
# harmonics, wide above. To 8 kHz they are TIGER's (Xu et al., 2024, section 3.2).
FIXED_BANDS = ((1000, 25), (2000, 100), (4000, 250), (8000, 500), (16000, 1000), (24000, 2000))


def fixed_bands(n_bins: int, sample_rate: int, scale: float) -> list[list[int]]:
    """Partition the bins into bands that widen with the frequency.

    Args:
        n_bins: bins from 0 Hz to half the sample rate.
        sample_rate: in Hz.
        scale: factor on all widths of ``FIXED_BANDS``; larger means fewer bands.

    Returns:
        The bins of each band, at least one, from low to high.
    """
    bin_hz = sample_rate / 2 / (n_bins - 1)
    low, edges = 0, []
    for high, width in FIXED_BANDS:
        edges.extend(np.arange(low, high, width * scale))
        low = high
    starts = np.unique(np.round(np.array(edges) / bin_hz).astype(int))
    # a start past the last bin, or right on it, would leave a band of one bin or none
    starts = starts[starts < n_bins - 1]
    return [part.tolist() for part in np.split(np.arange(n_bins), starts[1:])]


def mel_bands(n_bins: int, sample_rate: int, num_bands: int) -> list[list[int]]:
    """Cover the bins with overlapping bands, equally wide on the mel scale.

    A band holds the bins in which a triangular mel filter is not zero (Wang et al., 2023,
    "Mel-Band RoFormer").

    Args:
        n_bins: bins from 0 Hz to half the sample rate.
        sample_rate: in Hz.
        num_bands: number of bands.

    Raises:
        ValueError: a band would hold no bin.
    """
    from torchaudio.functional import melscale_fbanks  # here, because few models need it

    filters = melscale_fbanks(n_bins, 0.0, sample_rate / 2, num_bands, sample_rate)
    holds = filters > 0  # (bin, band)
    holds[0, 0] = holds[-1, -1] = True  # the filters' ends, where they are zero
    if not holds.any(0).all():
        raise ValueError(
            f"num_bands is too large for {n_bins} bins at {sample_rate} Hz: a mel band would hold "
            f"no bin; got {num_bands}"
        )
    return [torch.nonzero(band).flatten().tolist() for band in holds.T]


class BandLayout(nn.Module):
    """Which bins each band holds: tables for gathering the bins and for merging them again.

    Args:
        bands: bins of each band; every bin is in at least one.
    """

    def __init__(self, bands: Sequence[Sequence[int]]):
        super().__init__()
        self.n_bins = 1 + max(max(band) for band in bands)
        self.n_bands, self.width = len(bands), max(len(band) for band in bands)
        index = torch.full((self.n_bands, self.width), self.n_bins)  # n_bins: an empty place
        for row, band in zip(index, bands, strict=True):
            row[: len(band)] = torch.tensor(band)
        index = index.flatten()
        # the places in which each bin is found; an empty one again where there are fewer
        found = [torch.nonzero(index == b).flatten() for b in range(self.n_bins)]
        places = torch.full((self.n_bins, max(map(len, found))), len(index))
        for row, place in zip(places, found, strict=True):
            row[: len(place)] = place
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("places", places, persistent=False)
        share = 1 / torch.tensor([len(place) for place in found])
        self.register_buffer("share", share.unsqueeze(1), persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """Gather ``x`` (b, t, f, 2) as (b, t, band, 2 * widest band), zero where no bin is."""
        x = F.pad(x, (0, 0, 0, 1))[:, :, self.index]
        return x.unflatten(2, (self.n_bands, self.width)).flatten(3)

    def merge(self, x: Tensor) -> Tensor:
        """Undo :meth:`split`, taking the mean over the bands that hold a bin: to (b, t, f, 2)."""
        x = x.unflatten(3, (self.width, 2)).flatten(2, 3)  # (b, t, place, 2)
        return F.pad(x, (0, 0, 0, 1))[:, :, self.places].sum(3) * self.share


class BandEmbed(nn.Module):
    """Band-split embedding: a linear map for each band (Luo and Yu, 2023, section II-A).

    Each band is first scaled to unit power over the item's valid frames: speech has 40 dB less of
    it at the top of the spectrum than at the bottom.

    Args:
        emb_dim: number of channels h.
        eps: of the norms.
        layout: the bands.
    """

    def __init__(self, emb_dim: int, eps: float, layout: BandLayout):
        super().__init__()
        self.layout = layout
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(layout.n_bands, 2 * layout.width, emb_dim))
        # flat, as initialisers know a bias by its one axis
        self.bias = nn.Parameter(torch.zeros(layout.n_bands * emb_dim))
        nn.init.normal_(self.weight, std=(2 * layout.width) ** -0.5)
        self.norm = GlobalNorm(emb_dim, eps)

    def forward(
        self, spectrum: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, band, h); ``frames`` (b, t): valid ones."""
        x = self.layout.split(blank_frames(spectrum, frames))
        power = x.square().sum((1, 3), keepdim=True) / (x != 0).sum((1, 3), keepdim=True).clamp(1)
        x = (x / (power.sqrt() + self.eps)).to(self.weight.dtype)
        x = torch.einsum("btkw,kwh->btkh", x, self.weight) + self.bias.view(x.shape[2], -1)
        return self.norm(x, frames), frames


class BandProject(nn.Module):
    """Band-merging projection: a linear map for each band.

    Args:
        emb_dim: number of channels of a stream.
        layout: the bands.
        start: real number around which the estimates begin before training: the even share of
            the mixture for masks, 0 for spectra.
    """

    def __init__(self, emb_dim: int, layout: BandLayout, start: float):
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.empty(layout.n_bands, emb_dim, 2 * layout.width))
        self.bias = nn.Parameter(torch.tensor([start, 0.0]).repeat(layout.n_bands * layout.width))
        nn.init.normal_(self.weight, std=emb_dim**-0.5)

    def forward(self, x: Tensor, frames: Tensor | None, n_frames: int) -> Tensor:
        """Project ``x`` (b, t, band, h) to (b, t, f, 2); frames do not mix, so all are computed."""
        x = torch.einsum("btkh,khw->btkw", x, self.weight) + self.bias.view(x.shape[2], -1)
        return self.layout.merge(x)
