"""Bands of frequency bins: their positions, and gathering and merging their bins."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.errors import OptionError

BandSplit = Literal["fixed", "mel"]
BAND_SPLITS: tuple[BandSplit, ...] = get_args(BandSplit)
# (upper edge, band width) in Hz of each range of the fixed bands: narrow where voices have their
# harmonics, wide above. Up to 8 kHz they are those of TIGER (Xu et al., 2024, section 3.2).
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
    low = 0
    edges: list[float] = []
    for high, width in FIXED_BANDS:
        edges.extend(np.arange(low, high, width * scale))
        low = high
    starts = np.unique(np.round(np.array(edges) / bin_hz).astype(int))
    # a start at or beyond the last bin would leave a band of one bin or none
    starts = starts[starts < n_bins - 1]
    return [part.tolist() for part in np.split(np.arange(n_bins), starts[1:])]


def mel_bands(n_bins: int, sample_rate: int, num_bands: int) -> list[list[int]]:
    """Cover the bins with overlapping bands, equally wide on the mel scale.

    A band holds the bins where a triangular mel filter is positive (Wang et al., 2023, "Mel-Band
    RoFormer").

    Args:
        n_bins: bins from 0 Hz to half the sample rate.
        sample_rate: in Hz.
        num_bands: number of bands.

    Returns:
        The bins of each band, from low to high.

    Raises:
        OptionError: a band would hold no bin.
    """
    from torchaudio.functional import melscale_fbanks  # imported here, because the import is slow

    filters = melscale_fbanks(n_bins, 0.0, sample_rate / 2, num_bands, sample_rate)
    holds = filters > 0  # (bin, band)
    holds[0, 0] = holds[-1, -1] = True  # the first and last bin, where every filter is 0
    if not holds.any(0).all():
        raise OptionError(
            f"num_bands is too large for {n_bins} bins at {sample_rate} Hz: a mel band would hold "
            f"no bin; got {num_bands}"
        )
    return [torch.nonzero(band).flatten().tolist() for band in holds.T]


class BandLayout(nn.Module):
    """Tables that gather the bins of each band and merge them again.

    A place is an entry of the array (band, bin within the band), padded to the widest band.

    Args:
        bands: bins of each band; every bin is in at least one.

    Attributes:
        n_bins: number of bins.
        n_bands: number of bands.
        width: bins of the widest band.
        index: bin of each place, (n_bands * width,); ``n_bins`` at empty places.
        sizes: bins of each band, (n_bands,).
    """

    index: Tensor
    sizes: Tensor
    places: Tensor
    share: Tensor

    def __init__(self, bands: Sequence[Sequence[int]]):
        super().__init__()
        self.n_bins = 1 + max(max(band) for band in bands)
        self.n_bands, self.width = len(bands), max(len(band) for band in bands)
        index = torch.full((self.n_bands, self.width), self.n_bins)
        for row, band in zip(index, bands, strict=True):
            row[: len(band)] = torch.tensor(band)
        index = index.flatten()
        # the places of each bin, padded with an index beyond the last place
        found = [torch.nonzero(index == b).flatten() for b in range(self.n_bins)]
        places = torch.full((self.n_bins, max(map(len, found))), len(index))
        for row, place in zip(places, found, strict=True):
            row[: len(place)] = place
        self.register_buffer("index", index, persistent=False)
        sizes = torch.tensor([len(band) for band in bands])
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("places", places, persistent=False)
        share = 1 / torch.tensor([len(place) for place in found])
        self.register_buffer("share", share.unsqueeze(1), persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """Gather ``x`` (b, t, f, 2) as (b, t, band, 2 * width), 0 at empty places."""
        x = F.pad(x, (0, 0, 0, 1))[:, :, self.index]
        return x.unflatten(2, (self.n_bands, self.width)).flatten(3)

    def merge(self, x: Tensor) -> Tensor:
        """Return the mean (b, t, f, 2) over the places of each bin: the inverse of `split`."""
        x = x.unflatten(3, (self.width, 2)).flatten(2, 3)  # (b, t, place, 2)
        return F.pad(x, (0, 0, 0, 1))[:, :, self.places].sum(3) * self.share
