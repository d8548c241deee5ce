"""How a causal separator avoids looking ahead over time.

Three operations look ahead in other separators. In a causal one,

* the input of a convolution is :func:`delayed` by the positions that it would look ahead;
* attention at each position sees only the :func:`window_behind` it;
* norms are computed over the frames so far, by :func:`running_mean`.

So padding, which comes last, has no influence and needs no mask.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def delayed(x: Tensor, positions: int, axis: int) -> Tensor:
    """Return ``x`` with a number of zeros inserted before the first position of an axis.

    A function that looks ahead by this number of positions only looks back if it gets this input
    and its output is cut to the length of ``x``.
    """
    return F.pad(x, [0, 0] * (x.dim() - 1 - axis) + [positions, 0]) if positions else x


def window_behind(length: int, window: int, device: torch.device) -> Tensor:
    """Return (1, query, key), true at the last ``window`` keys up to each query."""
    position = torch.arange(length, device=device)
    behind = position[:, None] - position
    return ((behind >= 0) & (behind < window)).unsqueeze(0)


def running_mean(x: Tensor) -> Tensor:
    """Return the mean over the frames so far, at each frame of ``x`` (b, t, ...)."""
    count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
    return x.cumsum(1) / count.view(-1, *[1] * (x.dim() - 2))
