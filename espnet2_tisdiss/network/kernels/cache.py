"""Process a feature map in parts that stay in a CPU's cache.

Parts also bound the memory of intermediate results, which are several times as wide as the map. On
other devices a map is always processed in one part.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Numbers in a part. Its intermediate results are several times as large and still fit in the cache.
CACHED_NUMBERS = 2**19


def by_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``function(x)`` for a function that treats each row independently.

    Args:
        function: maps contiguous (b, rows, length, h) to the same shape.
        x: (b, rows, length, h), in any memory order.
    """
    count = _part_size(x)
    if count == x.shape[1]:
        return function(x.contiguous())
    parts = (function(part.contiguous()) for part in x.split(count, 1))
    if torch.is_grad_enabled():
        return torch.cat(list(parts), 1)
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    for target, part in zip(y.split(count, 1), parts, strict=True):
        target.copy_(part)
    return y


def by_frames(
    function: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    frames: Tensor | None,
    context: int,
) -> Tensor:
    """Return ``function(x, frames)`` for a function that sees few frames around each frame.

    Training processes all frames in one part: it keeps the intermediate results in any case.

    Args:
        function: maps (b, t, f, h) and the mask of valid frames to (b, j, t, f, h').
        x: (b, t, f, h).
        frames: (b, t), false at padded frames; None: no padding.
        context: frames to either side that an output frame depends on.
    """
    count, n_frames = _part_size(x), x.shape[1]
    if count == n_frames or torch.is_grad_enabled():
        return function(x, frames)
    outputs = []
    for start in range(0, n_frames, count):
        first = max(0, start - context)
        part = slice(first, start + count + context)
        y = function(x[:, part], None if frames is None else frames[:, part])
        outputs.append(y[:, :, start - first :][:, :, :count])
    return torch.cat(outputs, 2)


def _part_size(x: Tensor) -> int:
    """Return how many entries of axis 1 of ``x`` (b, rows, ...) make a part, at least one."""
    # an exported graph is the same for all sizes
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return x.shape[1]
    return min(x.shape[1], max(1, CACHED_NUMBERS // max(1, x[:, 0].numel())))
