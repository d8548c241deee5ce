"""The published front end: convolutions between a spectrum and the feature map.

A front end is a pair of modules. The embedding maps the encoder's features and the mask of their
valid frames (None: no padding) to the feature map (b, t, f, h) and the mask of the map's axis t.
The projection maps streams (b, t, f, h), that mask and the number of encoder frames to features of
the embedding's input shape. ``bands`` and ``segments`` hold the other front ends.
"""

from typing import cast

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.splitter import zero_padding
from espnet2_tisdiss.network.precision import full_precision


class ConvEmbed(nn.Sequential):
    """Published embedding: 3x3 Conv2d over real and imaginary parts, then a global norm.

    Args:
        emb_dim: number of channels h.
        eps: of the norm.
    """

    def __init__(self, emb_dim: int, eps: float):
        super().__init__(nn.Conv2d(2, emb_dim, 3, padding=1), GlobalNorm(emb_dim, eps))

    def forward(
        self, spectrum: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, f, h); ``frames`` (b, t) marks valid ones."""
        x = zero_padding(spectrum, frames).movedim(-1, 1)
        dtype = cast(nn.Conv2d, self[0]).weight.dtype
        x = self[0](x.to(dtype, memory_format=torch.channels_last))
        return self[1](x.movedim(1, -1).contiguous(), frames), frames


class ConvProject(nn.ConvTranspose2d):
    """Published projection: 3x3 ConvTranspose2d to real and imaginary parts.

    Its estimates start around 0 before training, whether spectra or masks.

    Args:
        emb_dim: number of channels of a stream.
    """

    def __init__(self, emb_dim: int):
        super().__init__(emb_dim, 2, 3, padding=1)

    def forward(  # type: ignore[override]
        self, x: Tensor, frames: Tensor | None, n_frames: int
    ) -> Tensor:
        """Project ``x`` (b, t, f, h) to (b, t, f, 2); ``frames`` (b, t) marks valid ones."""
        return super().forward(zero_padding(x, frames).movedim(-1, 1)).movedim(1, -1)


class GlobalNorm(nn.GroupNorm):
    """Group norm with one group: over all axes except the batch, and over valid frames only.

    Args:
        dim: number of channels h.
        eps: added to the variance.
    """

    def __init__(self, dim: int, eps: float):
        super().__init__(1, dim, eps)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Normalise ``x`` (b, t, ..., h) per item; ``frames`` (b, t) marks valid ones."""
        y = full_precision(x)
        axes = tuple(range(1, y.dim()))
        if frames is None:
            variance, mean = torch.var_mean(y, axes, correction=0, keepdim=True)
        else:
            # statistics of valid frames only: an item's result must not depend on its batch
            count = frames.sum(1).view(-1, *[1 for _ in axes]) * y[0, 0].numel()
            mean = zero_padding(y, frames).sum(axes, keepdim=True) / count
            variance = zero_padding(y - mean, frames).square().sum(axes, keepdim=True) / count
        y = (y - mean) * (variance + self.eps).rsqrt()
        return y.to(x.dtype) * self.weight + self.bias
