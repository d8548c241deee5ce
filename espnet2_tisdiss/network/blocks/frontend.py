"""The published front end: convolutions between a spectrum and the feature map.

Every front end is a pair of modules. The embedding takes the encoder's features, with the mask of
their valid frames or None, and returns the feature map (b, t, f, h) and the mask of ITS axis t. The
projection takes a speaker's streams, their mask and the number of frames, and returns features
like those that the embedding took. The others are in ``bands`` and ``segments``.
"""

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.splitter import blank_frames
from espnet2_tisdiss.network.precision import full_precision


class ConvEmbed(nn.Sequential):
    """Published embedding: 3x3 Conv2d over real and imaginary part, then a global norm.

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
        x = blank_frames(spectrum, frames).movedim(-1, 1)
        x = self[0](x.to(self[0].weight.dtype, memory_format=torch.channels_last))
        return self[1](x.movedim(1, -1).contiguous(), frames), frames


class ConvProject(nn.ConvTranspose2d):
    """Published projection: 3x3 ConvTranspose2d to real and imaginary part.

    Args:
        emb_dim: number of channels of a stream.
    """

    def __init__(self, emb_dim: int):
        super().__init__(emb_dim, 2, 3, padding=1)

    def forward(self, x: Tensor, frames: Tensor | None, n_frames: int) -> Tensor:
        """Project ``x`` (b, t, f, h) to (b, t, f, 2); ``frames`` (b, t) marks valid ones."""
        return super().forward(blank_frames(x, frames).movedim(-1, 1)).movedim(1, -1)


class GlobalNorm(nn.GroupNorm):
    """Group norm with one group over all axes but the batch, over valid frames only.

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
            # over the valid frames, so that an item's result does not depend on its batch
            count = frames.sum(1).view(-1, *[1 for _ in axes]) * y[0, 0].numel()
            mean = blank_frames(y, frames).sum(axes, keepdim=True) / count
            variance = blank_frames(y - mean, frames).square().sum(axes, keepdim=True) / count
        y = (y - mean) * (variance + self.eps).rsqrt()
        return y.to(x.dtype) * self.weight + self.bias
