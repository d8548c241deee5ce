"""Multi-head self-attention with rotary positions over the rows of a feature map."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.causal import window_behind
from espnet2_tisdiss.network.kernels.attention import attend
from espnet2_tisdiss.network.kernels.channel_linear import ChannelLinear
from espnet2_tisdiss.network.precision import HALF_TYPES

ROTARY_THETA = 10000.0


class RotaryEmbedding(nn.Module):
    """Rotary position embedding on interleaved pairs (Su et al., 2021, equation 34).

    At position n the pair (x[2i], x[2i + 1]) is rotated by the angle n * 10000^(-2i / head_dim).

    The frequencies are constants, but published checkpoints store them, so they are a buffer.

    Args:
        head_dim: width of one head; even.
    """

    freqs: Tensor

    def __init__(self, head_dim: int):
        super().__init__()
        self.register_buffer("freqs", ROTARY_THETA ** -(torch.arange(0, head_dim, 2) / head_dim))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # separator.bfloat16() would round the frequencies, an error that grows with the position
        freqs = self.freqs
        super()._apply(fn, recurse)
        if self.freqs.dtype in HALF_TYPES:
            self.freqs = freqs.to(self.freqs.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Rotate ``x`` (b, rows, length, ..., head_dim) by its positions; the shape stays."""
        position = torch.arange(x.shape[2], device=x.device, dtype=self.freqs.dtype)
        angle = torch.outer(position, self.freqs)  # (length, head_dim / 2)
        angle = angle.view(angle.shape[0], *[1 for _ in range(x.dim() - 4)], -1)
        pairs = x.to(self.freqs.dtype).unflatten(-1, (-1, 2))
        if torch.compiler.is_compiling():  # torch.compile does not fuse complex numbers
            first, second = pairs.unbind(-1)
            cos, sin = angle.cos(), angle.sin()
            rotated = torch.stack((first * cos - second * sin, first * sin + second * cos), -1)
            return rotated.flatten(-2).to(x.dtype)
        pairs = torch.view_as_complex(pairs)
        rotated = pairs * torch.polar(torch.ones_like(angle), angle)
        return torch.view_as_real(rotated).flatten(-2).to(x.dtype)


class MultiHeadSelfAttention(nn.Module):
    """Self-attention among the positions of each row of a (b, rows, length, h) feature map.

        y = softmax(rope(q) rope(k)' / sqrt(head_dim)) v, for each head

    Args:
        emb_dim: number of channels h.
        attention_dim: width of queries, keys and values, all heads together.
        n_heads: number of heads; divides ``attention_dim`` into even head widths.
        dropout: probability, applied to the attention weights and after the head projection.
        flash_attention: force FlashAttention (half precision on a GPU; more than 4 positions;
            padding masks unsupported). By default PyTorch picks the fastest kernel.
        window: number of positions that each position attends to, the last ones up to itself;
            None: all.
    """

    def __init__(
        self,
        emb_dim: int,
        attention_dim: int,
        n_heads: int,
        dropout: float,
        flash_attention: bool,
        window: int | None = None,
    ):
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.flash_attention = flash_attention
        self.window = window
        self.rope = RotaryEmbedding(attention_dim // n_heads)
        self.qkv = ChannelLinear(emb_dim, 3 * attention_dim, bias=False)
        self.aggregate_heads = nn.Sequential(
            ChannelLinear(attention_dim, emb_dim, bias=False), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attend within each row.

        Args:
            x: (b, rows, length, h).
            valid: (b, length), true where a position may be attended to; None: all. With
                ``window`` padding, which comes last, has no influence in any case.

        Returns:
            The same shape as ``x``.
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))  # (b, rows, length, 3, head, dim)
        q, k = self.rope(qkv[:, :, :, :2]).unbind(3)
        v = qkv[:, :, :, 2]
        dropout = self.dropout if self.training else 0.0
        seen = None if valid is None else valid.unsqueeze(1)
        if self.window is not None:
            seen = window_behind(x.shape[2], self.window, x.device)
        y = attend(q, k, v, seen, dropout, self.flash_attention)
        return self.aggregate_heads(y.flatten(-2))
