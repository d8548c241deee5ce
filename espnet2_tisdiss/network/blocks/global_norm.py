"""Norms over all axes of a feature map except the batch, for the embeddings."""

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.causal import running_mean
from espnet2_tisdiss.network.blocks.splitter import zero_padding
from espnet2_tisdiss.network.precision import full_precision


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
        mean, variance = self._statistics(y, frames)
        y = (y - mean) * (variance + self.eps).rsqrt()
        return y.to(x.dtype) * self.weight + self.bias

    def _statistics(self, y: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance, which broadcast against ``y``."""
        axes = tuple(range(1, y.dim()))
        if frames is None:
            variance, mean = torch.var_mean(y, axes, correction=0, keepdim=True)
            return mean, variance
        # statistics of valid frames only: an item's result must not depend on its batch
        count = frames.sum(1).view(-1, *[1 for _ in axes]) * y[0, 0].numel()
        mean = zero_padding(y, frames).sum(axes, keepdim=True) / count
        variance = zero_padding(y - mean, frames).square().sum(axes, keepdim=True) / count
        return mean, variance


class CumulativeNorm(GlobalNorm):
    """Global norm that at each frame uses the statistics of the frames so far.

    Luo and Mesgarani (2019, Conv-TasNet, section II-D) call it cumulative layer norm.
    """

    def _statistics(self, y: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance (b, t, 1, ...); padding, which comes last, has no influence."""
        axes = tuple(range(2, y.dim()))
        variance, mean = torch.var_mean(y, axes, correction=0, keepdim=True)  # of each frame
        mean_square, mean = running_mean(variance + mean.square()), running_mean(mean)
        return mean, (mean_square - mean.square()).clamp(min=0)


def build_global_norm(dim: int, eps: float, causal: bool) -> GlobalNorm:
    """Return a norm over all frames or, if ``causal``, over the frames so far."""
    return (CumulativeNorm if causal else GlobalNorm)(dim, eps)
