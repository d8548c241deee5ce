"""Attention with narrow heads on a CPU, faster than the fused kernel if it fits in the cache.

With narrow heads the products of the (length, length) weights with queries, keys and values are
only a few columns wide, for which matrix libraries are slow. Here they are computed transposed, a
few rows wide, which is several times faster.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Number of attention weights computed in one part, which fit in the cache.
CACHED_WEIGHTS = 2**20


class NarrowAttention(torch.autograd.Function):
    """Softmax attention of (rows, length, head, dim); the backward recomputes the weights.

    Call as ``NarrowAttention.apply(q, k, v)``.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return softmax(q k' / sqrt(dim)) v, of the same shape."""
        y = torch.empty_like(q, memory_format=torch.contiguous_format)
        for part, (q_part, k_part, v_part) in _parts(q, k, v):
            weights = _weights(q_part, k_part)
            _store(y[part], v_part @ weights.mT)
        ctx.save_for_backward(q, k, v, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v."""
        q, k, v, y = ctx.saved_tensors
        grads = [torch.empty_like(z, memory_format=torch.contiguous_format) for z in (q, k, v)]
        for part, (q_part, k_part, v_part, y_part, g_part) in _parts(q, k, v, y, grad):
            weights = _weights(q_part, k_part)
            # backward of the softmax: weights * (g' v - sum(g y)); the sum is one more row of g
            offset = (g_part * y_part).sum(1, keepdim=True)
            with_offset = torch.cat((g_part, -offset), 1)
            scores_grad = (with_offset.mT @ F.pad(v_part, (0, 0, 0, 1), value=1.0)).mul_(weights)
            scale = q.shape[-1] ** -0.5
            _store(grads[0][part], (k_part @ scores_grad.mT).mul_(scale))
            _store(grads[1][part], (q_part @ scores_grad).mul_(scale))
            _store(grads[2][part], g_part @ weights)
        return grads[0], grads[1], grads[2]


def _parts(*tensors: Tensor) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield slices of the rows, and each tensor's slice as (rows * head, dim, length)."""
    rows, length, heads, _ = tensors[0].shape
    count = max(1, CACHED_WEIGHTS // (heads * length * length))
    for start in range(0, rows, count):
        part = slice(start, start + count)
        yield part, [z[part].permute(0, 2, 3, 1).flatten(0, 1).contiguous() for z in tensors]


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """Return the weights (rows * head, query, key) of q and k (rows * head, dim, length)."""
    return ((q * q.shape[1] ** -0.5).mT @ k).softmax(-1)


def _store(target: Tensor, values: Tensor) -> None:
    """Copy ``values`` (rows * head, dim, length) to ``target`` (rows, length, head, dim)."""
    target.copy_(values.unflatten(0, (len(target), -1)).permute(0, 3, 1, 2))
