"""Band-split front end: one position on the frequency axis for each band of bins.

The cost of everything between embedding and projection falls with the number of positions.
``frontend`` defines what a front end is.
"""

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.band_layout import BandLayout
from espnet2_tisdiss.network.blocks.global_norm import build_global_norm
from espnet2_tisdiss.network.blocks.splitter import zero_padding


class BandEmbed(nn.Module):
    """Band-split embedding: a linear map for each band (Luo and Yu, 2023, section II-A).

    Instead of that paper's norm, each band is first scaled to unit power over the item's valid
    frames: speech has 40 dB less power at the top of the spectrum than at the bottom.

    Args:
        emb_dim: number of channels h.
        eps: that of the norms.
        layout: the bands.
        causal: whether the power and the norm of a frame are computed over the frames so far.
    """

    def __init__(self, emb_dim: int, eps: float, layout: BandLayout, causal: bool):
        super().__init__()
        self.layout = layout
        self.causal = causal
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(layout.n_bands, 2 * layout.width, emb_dim))
        # with one axis, because ESPnet's initialisers recognise a bias by that
        self.bias = nn.Parameter(torch.zeros(layout.n_bands * emb_dim))
        nn.init.normal_(self.weight, std=(2 * layout.width) ** -0.5)
        self.norm = build_global_norm(emb_dim, eps, causal)

    def forward(
        self, spectrum: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, band, h); ``frames`` (b, t): valid ones."""
        x = self.layout.split(zero_padding(spectrum, frames))
        x = (x / (self._power(x).sqrt() + self.eps)).to(self.weight.dtype)
        x = torch.einsum("btkw,kwh->btkh", x, self.weight) + self.bias.view(x.shape[2], -1)
        return self.norm(x, frames), frames

    def _power(self, x: Tensor) -> Tensor:
        """Return the mean square of each band of ``x`` (b, t, band, place) over non-silent frames.

        It is over all frames (b, 1, band, 1) or, if causal, over those so far (b, t, band, 1).
        """
        if not self.causal:
            return x.square().sum((1, 3), keepdim=True) / (x != 0).sum((1, 3), keepdim=True).clamp(
                1
            )
        # in a frame with sound, zeros count: the imaginary parts of the first frame, which is its
        # own mirror image, are zeros except for rounding
        square = x.square().sum(3, keepdim=True)
        places = (square > 0) * 2 * self.layout.sizes.view(-1, 1)
        return square.cumsum(1) / places.cumsum(1).clamp(1)


class BandProject(nn.Module):
    """Band-merging projection: a linear map for each band.

    Args:
        emb_dim: number of channels of a stream.
        layout: the bands.
        start: real value around which estimates start before training: 1 / num_spk for masks (an
            even share of the mixture), 0 for spectra.
    """

    def __init__(self, emb_dim: int, layout: BandLayout, start: float):
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.empty(layout.n_bands, emb_dim, 2 * layout.width))
        self.bias = nn.Parameter(torch.tensor([start, 0.0]).repeat(layout.n_bands * layout.width))
        nn.init.normal_(self.weight, std=emb_dim**-0.5)

    def forward(self, x: Tensor, frames: Tensor | None, n_frames: int) -> Tensor:
        """Project ``x`` (b, t, band, h) to (b, t, f, 2), frame by frame."""
        x = torch.einsum("btkh,khw->btkw", x, self.weight) + self.bias.view(x.shape[2], -1)
        return self.layout.merge(x)
