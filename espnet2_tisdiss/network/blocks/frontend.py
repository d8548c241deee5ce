"""The published front end: convolutions between a spectrum and the feature map.

A front end is a pair of modules. The embedding maps the encoder's features and the mask of their
valid frames (None: no padding) to the feature map (b, t, f, h) and the mask of the map's axis t.
The projection maps streams (b, t, f, h), that mask and the number of encoder frames to features of
the embedding's input shape. ``bands`` and ``segments`` hold the other front ends.
"""

from typing import cast

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.causal import delayed
from espnet2_tisdiss.network.blocks.global_norm import build_global_norm
from espnet2_tisdiss.network.blocks.splitter import zero_padding


class ConvEmbed(nn.Sequential):
    """Published embedding: 3x3 Conv2d, then a global norm.

    Args:
        input_dim: channels of a map; 2 for the real and imaginary parts of a spectrum.
        emb_dim: number of channels h.
        eps: that of the norm.
        causal: whether it only looks back.
    """

    def __init__(self, input_dim: int, emb_dim: int, eps: float, causal: bool):
        norm = build_global_norm(emb_dim, eps, causal)
        super().__init__(nn.Conv2d(input_dim, emb_dim, 3, padding=1), norm)
        self.delay = 1 if causal else 0

    def forward(
        self, spectrum: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, f, h); ``frames`` (b, t) marks valid ones."""
        x = delayed(zero_padding(spectrum, frames), self.delay, axis=1).movedim(-1, 1)
        dtype = cast(nn.Conv2d, self[0]).weight.dtype
        x = self[0](x.to(dtype, memory_format=torch.channels_last))
        x = x[:, :, : spectrum.shape[1]].movedim(1, -1)
        return self[1](x.contiguous(), frames), frames


class ConvProject(nn.ConvTranspose2d):
    """Published projection: 3x3 ConvTranspose2d to real and imaginary parts.

    Its estimates start around 0 before training, whether spectra or masks.

    Args:
        emb_dim: number of channels of a stream.
        causal: whether it only looks back.
    """

    def __init__(self, emb_dim: int, causal: bool):
        super().__init__(emb_dim, 2, 3, padding=1)
        self.delay = 1 if causal else 0

    def forward(  # type: ignore[override]
        self, x: Tensor, frames: Tensor | None, n_frames: int
    ) -> Tensor:
        """Project ``x`` (b, t, f, h) to (b, t, f, 2); ``frames`` (b, t) marks valid ones."""
        x = delayed(zero_padding(x, frames), self.delay, axis=1)
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)[:, :n_frames]
