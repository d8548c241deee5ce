"""The convolutions of ``row_convolution`` as matrix products, for graphs that are exported.

In ONNX Runtime, a product runs about as fast as a convolution, needs no permutation of the axes,
and can be computed in integers. One graph serves rows of any length.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowProducts:
    """Both convolutions, with the interface of :class:`~.row_convolution.RowConvolutions`.

    Positions are processed in blocks of S, of which a window has n; kernels that are not a multiple
    of S are padded with zeros.

    Args:
        conv: convolution with weight W (out, in, K) and bias b.
        deconv: transposed convolution with weight V (in, out, K) and bias c, same K and S.
        length: positions of a row, K or more.
    """

    def __init__(self, conv: nn.Conv1d, deconv: nn.ConvTranspose1d, length: int):
        kernel, self.stride = conv.weight.shape[2], conv.stride[0]
        self.length, self.overlap = length, kernel - self.stride
        self.blocks = -(-kernel // self.stride)
        self.windows = (length + self.overlap - 1) // self.stride + 1
        filled = (0, self.blocks * self.stride - kernel)
        self._weight = F.pad(conv.weight, filled).permute(2, 1, 0).flatten(0, 1)  # (K in, out)
        self._transposed = F.pad(deconv.weight, filled).permute(0, 2, 1).flatten(1)  # (in, K out)
        self._bias, self._transposed_bias = conv.bias, deconv.bias

    def convolve(self, x: Tensor) -> Tensor:
        """Map ``x`` (b, rows, length, in) to (b, rows, window, out)."""
        total = (self.windows + self.blocks - 1) * self.stride
        x = F.pad(x, (0, 0, self.overlap, total - self.overlap - self.length))
        x = x.unflatten(2, (-1, self.stride)).flatten(3)  # (b, rows, block, S in)
        parts = [x.narrow(2, first, self.windows) for first in range(self.blocks)]
        y = torch.cat(parts, -1) @ self._weight
        return y if self._bias is None else y + self._bias

    def deconvolve(self, y: Tensor) -> Tensor:
        """Map ``y`` (b, rows, window, in) to (b, rows, length, out)."""
        # the contribution of a window to each block
        parts = (y @ self._transposed).chunk(self.blocks, -1)
        first = self.overlap // self.stride  # block where the row begins
        count = self.windows - first
        if before := self.blocks - 1 - first:  # windows before the first one add nothing
            parts = tuple(F.pad(part, (0, 0, before, 0)) for part in parts)
        last = self.blocks - 1
        shifted = (part.narrow(2, last - index, count) for index, part in enumerate(parts))
        x = functools.reduce(torch.add, shifted)
        x = x.unflatten(-1, (self.stride, -1)).flatten(2, 3)
        x = x.narrow(2, self.overlap - first * self.stride, self.length)
        return x if self._transposed_bias is None else x + self._transposed_bias
