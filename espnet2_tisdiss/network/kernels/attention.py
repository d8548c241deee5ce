"""Softmax attention with the kernel that is fastest for a shape and device.

Axis letters: b batch, l length, a head, d width of a head. Queries, keys, values and results are
(b, rows, l, a, d); positions attend within their row.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from espnet2_tisdiss.network.kernels.narrow_attention import CACHED_WEIGHTS, NarrowAttention
from espnet2_tisdiss.network.precision import HALF_TYPES

# Up to this length (the speaker path has one position per speaker), attention is a few elementwise
# products. A fused kernel has a fixed cost per row that is many times that of the arithmetic.
FEW_POSITIONS = 4
# Up to this length, plain matrix products train about twice as fast on a CPU as PyTorch's fused
# kernel, and their (l, l) weights are still small.
SHORT_LENGTH = 128
# In half precision, the fused kernel's backward is slow: training uses plain products up to a
# larger length.
SHORT_HALF_LENGTH = 1024
# CUDA launches its fused kernels with the rows on a grid axis of at most this length.
MOST_ROWS = 2**16 - 1
# NarrowAttention takes heads up to this width over at least this many positions.
NARROW, NARROW_LENGTH = 8, 48


def attend(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, dropout: float, flash: bool
) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v.

    Args:
        q: queries.
        k: keys.
        v: values.
        seen: (b, query, key), true where a query sees a key; an axis of length 1 applies to all
            items or queries. None: every query sees every key.
        dropout: probability with which a weight is dropped; 0 outside training.
        flash: force FlashAttention for more than ``FEW_POSITIONS`` that see each other.
    """
    if seen is None:
        if q.shape[2] == 2 and not dropout:
            return _attend_pair(q, k, v)
        if q.shape[2] <= FEW_POSITIONS:
            return _attend_few(q, k, v, dropout)
    if torch.compiler.is_exporting():
        return _attend_plainly(q, k, v, seen)
    if seen is None and _is_narrow(q) and not (dropout or flash):
        y = NarrowAttention.apply(*(z.flatten(0, 1) for z in (q, k, v)))
        return y.unflatten(0, q.shape[:2])
    return _attend_rows(q, k, v, seen, dropout, flash)


def _attend_pair(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend between two positions, where the softmax is the sigmoid of a difference."""
    first, second = k.unbind(2)
    weight = (q * (second - first).unsqueeze(2)).sum(-1, keepdim=True) * q.shape[-1] ** -0.5
    first, second = v.split(1, 2)
    # autocast on CUDA returns sums in float32
    return torch.lerp(first, second, weight.sigmoid().to(v.dtype))


def _attend_few(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Attend by elementwise products, (b, rows, query, key, a, d)."""
    q, k, v = q.unsqueeze(3), k.unsqueeze(2), v.unsqueeze(2)
    weight = (q * k).sum(-1, keepdim=True) * q.shape[-1] ** -0.5
    weight = F.dropout(weight.softmax(3), dropout)
    return (weight * v).sum(3)


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
    """Attend by matrix products, with code that does not depend on sizes."""
    q, k, v = (z.transpose(2, 3) for z in (q, k, v))  # (b, rows, a, l, d)
    weight = (q * q.shape[-1] ** -0.5) @ k.mT
    if seen is not None:
        weight = weight.masked_fill(~seen[:, None, None], float("-inf"))
    return (weight.softmax(-1) @ v).transpose(2, 3)


def _is_narrow(q: Tensor) -> bool:
    """Return whether NarrowAttention is the fastest for these queries."""
    _, _, length, heads, dim = q.shape
    fits_cache = heads * length**2 <= CACHED_WEIGHTS
    has_dtype = q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64)
    return dim <= NARROW and length >= NARROW_LENGTH and fits_cache and has_dtype


def _attend_rows(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, dropout: float, flash: bool
) -> Tensor:
    """Attend over any length, to all positions or to those in ``seen``."""
    b, n_rows = q.shape[:2]
    q, k, v = (z.flatten(0, 1).transpose(1, 2) for z in (q, k, v))  # (b * rows, a, l, d)
    mask = None
    if seen is not None:
        mask = seen[:, None, None].expand(b, n_rows, -1, -1, -1).flatten(0, 1)
    if flash and mask is None:  # FlashAttention supports no mask on a GPU
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            y = fused_attention(q, k, v, mask, dropout)
    elif q.device.type == "cpu" and q.shape[2] <= _short_length(q):
        weight = (q * q.shape[-1] ** -0.5) @ k.mT  # (b * rows, a, query, key)
        if mask is not None:
            weight = weight.masked_fill(~mask, float("-inf"))
        y = F.dropout(weight.softmax(-1), dropout) @ v
    else:
        y = fused_attention(q, k, v, mask, dropout)
    return y.transpose(1, 2).unflatten(0, (b, n_rows))


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Return PyTorch's fused attention of (rows, a, l, d), for any number of rows."""
    if len(q) <= MOST_ROWS:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)
    parts = [slice(first, first + MOST_ROWS) for first in range(0, len(q), MOST_ROWS)]
    masks = [None if mask is None else mask[part] for part in parts]
    return torch.cat(
        [
            F.scaled_dot_product_attention(q[part], k[part], v[part], part_mask, dropout)
            for part, part_mask in zip(parts, masks, strict=True)
        ]
    )


def _short_length(q: Tensor) -> int:
    """Return the length up to which plain matrix products are used on a CPU."""
    is_half_training = q.dtype in HALF_TYPES and torch.is_grad_enabled()
    return SHORT_HALF_LENGTH if is_half_training else SHORT_LENGTH
