"""Front ends: from a spectrum to the feature map and, for every depth, back to spectra.

The published one is a convolution over every frequency bin. The band-split one gives each band of
bins one position on the frequency axis; all that runs between the two then costs as much less as
there are fewer bands than bins.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espnet2_tisdiss.blocks.splitter import blank_frames


class ConvEmbed(nn.Sequential):
    """Published embedding: 3x3 Conv2d over real and imaginary part, then a global norm.

    Args:
        emb_dim: number of channels h.
        eps: of the norm.
    """

    def __init__(self, emb_dim: int, eps: float):
        super().__init__(nn.Conv2d(2, emb_dim, 3, padding=1), GlobalNorm(emb_dim, eps))

    def forward(self, spectrum: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, f, h); ``frames`` (b, t) marks valid ones."""
        x = blank_frames(spectrum, frames).movedim(-1, 1)
        x = self[0](x.contiguous(memory_format=torch.channels_last))
        return self[1](x.movedim(1, -1).contiguous(), frames)


class ConvProject(nn.ConvTranspose2d):
    """Published projection: 3x3 ConvTranspose2d to real and imaginary part.

    Args:
        emb_dim: number of channels of a stream.
    """

    def __init__(self, emb_dim: int):
        super().__init__(emb_dim, 2, 3, padding=1)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Project ``x`` (b, t, f, h) to (b, t, f, 2); ``frames`` (b, t) marks valid ones."""
        return super().forward(blank_frames(x, frames).movedim(-1, 1)).movedim(1, -1)


class GlobalNorm(nn.GroupNorm):
    """Group norm with one group, over valid frames only, channels last.

    Args:
        dim: number of channels h.
        eps: added to the variance.
    """

    def __init__(self, dim: int, eps: float):
        super().__init__(1, dim, eps)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Normalise ``x`` (b, t, f, h) per item; ``frames`` (b, t) marks valid ones."""
        y = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        if frames is None:
            variance, mean = torch.var_mean(y, (1, 2, 3), correction=0, keepdim=True)
        else:
            # over the valid frames, so that an item's result does not depend on its batch
            count = frames.sum(1).view(-1, 1, 1, 1) * y.shape[2] * y.shape[3]
            mean = blank_frames(y, frames).sum((1, 2, 3), keepdim=True) / count
            variance = blank_frames(y - mean, frames).square().sum((1, 2, 3), keepdim=True) / count
        y = (y - mean) * (variance + self.eps).rsqrt()
        return y.to(x.dtype) * self.weight + self.bias


class BandLayout(nn.Module):
    """Which bins each band holds: index tables for gathering bins and adding them back.

    Args:
        widths: bins of each band, from low to high; they partition the bins.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.n_bins, self.n_bands, self.width = sum(widths), len(widths), max(widths)
        index = torch.full((self.n_bands, self.width), self.n_bins)  # n_bins: an empty place
        start = 0
        for band, width in enumerate(widths):
            index[band, :width] = torch.arange(start, start + width)
            start += width
        # where in the flattened (band, place) grid each bin is found again
        place = torch.nonzero(index.flatten() < self.n_bins).flatten()
        self.register_buffer("index", index.flatten(), persistent=False)
        self.register_buffer("place", place, persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """Gather ``x`` (b, t, f, 2) as (b, t, band, 2 * widest band), zero where no bin is."""
        x = nn.functional.pad(x, (0, 0, 0, 1))[:, :, self.index]
        return x.unflatten(2, (self.n_bands, self.width)).flatten(3)

    def merge(self, x: Tensor) -> Tensor:
        """Undo :meth:`split`: (b, t, band, 2 * widest band) to (b, t, f, 2)."""
        return x.unflatten(3, (self.width, 2)).flatten(2, 3)[:, :, self.place]


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

    def forward(self, spectrum: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, band, h); ``frames`` (b, t): valid ones."""
        x = self.layout.split(blank_frames(spectrum, frames))
        power = x.square().sum((1, 3), keepdim=True) / (x != 0).sum((1, 3), keepdim=True).clamp(1)
        x = x / (power.sqrt() + self.eps)
        x = torch.einsum("btkw,kwh->btkh", x, self.weight) + self.bias.view(x.shape[2], -1)
        return self.norm(x, frames)


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

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Project ``x`` (b, t, band, h) to (b, t, f, 2); frames do not mix, so all are computed."""
        x = torch.einsum("btkh,khw->btkw", x, self.weight) + self.bias.view(x.shape[2], -1)
        return self.layout.merge(x)
