"""Multi-head self-attention with rotary positions over the rows of a feature map."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from espnet2_tisdiss.blocks.linear import ChannelLinear
from espnet2_tisdiss.blocks.narrow import CACHED_WEIGHTS, NarrowAttention
from espnet2_tisdiss.precision import HALF_TYPES

ROTARY_THETA = 10000.0
# Up to this length (the speaker path: one position a speaker) attention is a few elementwise
# products; a fused kernel would be started once a row and cost many times more.
FEW_POSITIONS = 4
# Up to this length, plain matrix products train about twice as fast on a CPU as PyTorch's fused
# kernel, and their (length, length) weights are still small.
SHORT_LENGTH = 128
# Its backward pass is slow in half precision: there, training takes plain products for longer rows.
SHORT_HALF_LENGTH = 1024
# CUDA starts its fused kernels on a grid with the rows on an axis that is no longer than this.
MOST_ROWS = 2**16 - 1
# Heads up to this width, over at least so many positions, are NarrowAttention's.
NARROW, NARROW_LENGTH = 8, 48


class RotaryEmbedding(nn.Module):
    """Rotary position embedding on interleaved pairs (Su et al., 2021, equation 34).

    The frequencies are a buffer, not a parameter: they are constants, but published checkpoints
    store them.

    Args:
        head_dim: width of one head; even.
    """

    def __init__(self, head_dim: int):
        super().__init__()
        self.register_buffer("freqs", ROTARY_THETA ** -(torch.arange(0, head_dim, 2) / head_dim))

    def _apply(self, fn, recurse=True):
        # model.bfloat16() would round the frequencies, and the error grows with the position
        freqs = self.freqs
        super()._apply(fn, recurse)
        if self.freqs.dtype in HALF_TYPES:
            self.freqs = freqs.to(self.freqs.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Rotate ``x`` (b, rows, length, ..., head_dim) by its position; the shape stays."""
        position = torch.arange(x.shape[2], device=x.device, dtype=self.freqs.dtype)
        angle = torch.outer(position, self.freqs)  # (length, head_dim / 2)
        angle = angle.view(len(angle), *[1 for _ in range(x.dim() - 4)], -1)
        pairs = x.to(self.freqs.dtype).unflatten(-1, (-1, 2))
        if torch.compiler.is_compiling():  # it fuses no complex numbers
            first, second, cos, sin = *pairs.unbind(-1), angle.cos(), angle.sin()
            rotated = torch.stack((first * cos - second * sin, first * sin + second * cos), -1)
            return rotated.flatten(-2).to(x.dtype)
        pairs = torch.view_as_complex(pairs)
        rotated = pairs * torch.polar(torch.ones_like(angle), angle)
        return torch.view_as_real(rotated).flatten(-2).to(x.dtype)


class MultiHeadSelfAttention(nn.Module):
    """Self-attention among the positions of each row of a (b, rows, length, h) feature map.

    Args:
        emb_dim: number of channels h.
        attention_dim: width of queries, keys and values, all heads together.
        n_heads: number of heads; divides ``attention_dim`` into even head widths.
        dropout: applied to the attention weights and after the head projection.
        flash_attention: insist on the FlashAttention kernel (half precision on a GPU) where there
            are more than ``FEW_POSITIONS`` and no padding; by default PyTorch picks the fastest
            kernel that takes the input.
    """

    def __init__(
        self, emb_dim: int, attention_dim: int, n_heads: int, dropout: float, flash_attention: bool
    ):
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.flash_attention = flash_attention
        self.rope = RotaryEmbedding(attention_dim // n_heads)
        self.qkv = ChannelLinear(emb_dim, 3 * attention_dim, bias=False)
        self.aggregate_heads = nn.Sequential(
            ChannelLinear(attention_dim, emb_dim, bias=False), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attend within each row.

        Args:
            x: (b, rows, length, h).
            valid: (b, length) true where a position may be attended to; None for all.

        Returns:
            The same shape as ``x``.
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))  # (b, rows, length, 3, head, dim)
        q, k = self.rope(qkv[:, :, :, :2]).unbind(3)
        v = qkv[:, :, :, 2]
        y = self._kernel(q, valid)(q, k, v, valid)
        return self.aggregate_heads(y.flatten(-2))

    def _kernel(self, q: Tensor, valid: Tensor | None) -> Callable[..., Tensor]:
        """Return the fastest way to attend for these queries; all give the same numbers."""
        if valid is not None:
            return self._attend
        has_dropout = self.training and self.dropout > 0
        if q.shape[2] == 2 and not has_dropout:
            return self._attend_pair
        if q.shape[2] <= FEW_POSITIONS:
            return self._attend_few
        is_narrow = q.shape[-1] <= NARROW and q.shape[2] >= NARROW_LENGTH
        is_narrow &= q.shape[3] * q.shape[2] ** 2 <= CACHED_WEIGHTS  # longer rows leave the cache
        is_exact = q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64)
        is_narrow &= is_exact and not has_dropout and not self.flash_attention
        return self._attend_narrow if is_narrow else self._attend

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None) -> Tensor:
        """Attend over any length; q, k, v and the result are (b, rows, length, head, dim)."""
        b, n_rows = q.shape[:2]
        q, k, v = (z.flatten(0, 1).transpose(1, 2) for z in (q, k, v))
        # (b * rows, head, length, dim)
        mask = None
        if valid is not None:
            mask = valid[:, None, None, None].expand(-1, n_rows, -1, -1, -1).flatten(0, 1)
        dropout = self.dropout if self.training else 0.0
        if self.flash_attention and mask is None:  # that kernel takes no mask on a GPU
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                y = fused_attention(q, k, v, mask, dropout)
        elif q.device.type == "cpu" and q.shape[-2] <= _short_length(q):
            weight = (q * q.shape[-1] ** -0.5) @ k.mT  # (b * rows, head, query, key)
            if mask is not None:
                weight = weight.masked_fill(~mask, float("-inf"))
            y = F.dropout(weight.softmax(-1), dropout, self.training) @ v
        else:
            y = fused_attention(q, k, v, mask, dropout)
        return y.transpose(1, 2).unflatten(0, (b, n_rows))

    def _attend_narrow(self, q: Tensor, k: Tensor, v: Tensor, _: None) -> Tensor:
        """Attend with narrow heads on a CPU."""
        y = NarrowAttention.apply(*(z.flatten(0, 1) for z in (q, k, v)))
        return y.unflatten(0, q.shape[:2])

    def _attend_few(self, q: Tensor, k: Tensor, v: Tensor, _: None) -> Tensor:
        """Attend over very few positions, without padding: the same numbers as :meth:`_attend`."""
        q, k, v = q.unsqueeze(3), k.unsqueeze(2), v.unsqueeze(2)  # query x key
        weight = (q * k).sum(-1, keepdim=True) * q.shape[-1] ** -0.5
        weight = F.dropout(weight.softmax(3), self.dropout, self.training)
        return (weight * v).sum(3)

    def _attend_pair(self, q: Tensor, k: Tensor, v: Tensor, _: None) -> Tensor:
        """Attend between two positions, where a softmax is a sigmoid of the difference."""
        first, second = k.unbind(2)
        weight = (q * (second - first).unsqueeze(2)).sum(-1, keepdim=True) * q.shape[-1] ** -0.5
        first, second = v.split(1, 2)
        # CUDA's autocast sums in float32
        return torch.lerp(first, second, weight.sigmoid().to(v.dtype))


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Return PyTorch's fused attention of (rows, head, length, dim), of any number of rows."""
    if len(q) <= MOST_ROWS:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)
    masks = [None] * -(-len(q) // MOST_ROWS) if mask is None else mask.split(MOST_ROWS)
    parts = zip(*(z.split(MOST_ROWS) for z in (q, k, v)), masks, strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part, dropout) for part in parts])


def _short_length(q: Tensor) -> int:
    """Return up to which length plain matrix products are used for such queries on a CPU."""
    is_half_training = q.dtype in HALF_TYPES and torch.is_grad_enabled()
    return SHORT_HALF_LENGTH if is_half_training else SHORT_LENGTH
