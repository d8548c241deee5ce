"""Splitter: from the mixture's stream to one stream per speaker (TISDiSS, section 2.2)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.causal import delayed
from espnet2_tisdiss.network.kernels.cache import by_frames

SplitterType = Literal["swiglu_conv_deconv2d", "conv2d"]


class Splitter(nn.Module):
    """Expand (b, t, f, h) to ``num_spk`` streams of h / compression channels each.

    Args:
        spliter_type: ``swiglu_conv_deconv2d``: 3x3 convolution, a * SiLU(g) of the two halves of
            its channels, 3x3 transposed convolution; ``conv2d``: one 3x3 convolution.
        emb_dim: number of channels h.
        num_spk: number of speakers j.
        compression: factor by which a stream is narrower than the mixture's.
        dropout: probability, applied to the streams.
        causal: whether it only looks back.
    """

    def __init__(
        self,
        spliter_type: SplitterType,
        emb_dim: int,
        num_spk: int,
        compression: int,
        dropout: float,
        causal: bool = False,
    ):
        super().__init__()
        self.num_spk = num_spk
        self.dropout = nn.Dropout(dropout)
        out_dim = emb_dim // compression * num_spk
        self.gated = spliter_type == "swiglu_conv_deconv2d"
        if self.gated:
            hidden_dim = 2 * out_dim
            self.conv2d = nn.Conv2d(emb_dim, 2 * hidden_dim, 3, padding=1)
            self.deconv2d = nn.ConvTranspose2d(hidden_dim, out_dim, 3, padding=1)
        else:
            self.conv2d = nn.Conv2d(emb_dim, out_dim, 3, padding=1)
        # frames to either side that a stream's frame depends on: one for each convolution
        self.context = 1 + self.gated
        self.delay = self.context if causal else 0

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Split the mixture's stream.

        Args:
            x: (b, t, f, h).
            frames: (b, t), false at padded frames; None: no padding.

        Returns:
            (b, j, t, f, h / compression).
        """
        # in parts, because the hidden map is several times as large as the streams
        streams = by_frames(self._split, delayed(x, self.delay, axis=1), frames, self.context)
        return streams[:, :, : x.shape[1]] if self.delay else streams

    def _split(self, x: Tensor, frames: Tensor | None) -> Tensor:
        """Split all frames of ``x`` in one part."""
        x = self.conv2d(zero_padding(x, frames).movedim(-1, 1))
        if self.gated:
            x, gate = x.chunk(2, dim=1)
            x = x * F.silu(gate)
            x = self.deconv2d(zero_padding(x.movedim(1, -1), frames).movedim(-1, 1))
        x = self.dropout(x)  # (b, j * h, t, f)
        return x.unflatten(1, (self.num_spk, -1)).movedim(2, -1).contiguous()


def zero_padding(x: Tensor, frames: Tensor | None) -> Tensor:
    """Set the padded frames of ``x`` (b, t, ...) to 0, what convolutions see beyond the end."""
    return x if frames is None else x * frames.view(*frames.shape, *[1] * (x.dim() - 2))
