"""Conv1d and its transpose over the rows of a channels-last feature map.

    convolve:    y[i] = b + sum_k W[:, :, k] x[i S + k - P]
    deconvolve:  x[n] = c + sum_(i, k: i S + k - P = n) V[:, :, k]' y[i]

K is the kernel, S the stride and P = K - S. Windows i start every S positions, the first one P
positions before the row; the last ones extend beyond its end, so that all positions are covered
equally often. x is 0 outside the row.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.kernels.channel_linear import linear


class RowConvolutions:
    """Both convolutions for rows of one length.

    Rows of at least K positions are convolved in two dimensions with a kernel of (1, K), which
    works on the channels-last map without a copy. In shorter rows, a convolution would mostly
    multiply padding; there, all positions of a row are one vector and both convolutions are
    matrices. Building these takes time, so one object serves all parts of a map.

    Args:
        conv: convolution with weight W (out, in, K) and bias b.
        deconv: transposed convolution with weight V (in, out, K) and bias c, same K and S.
        length: positions of a row.
    """

    def __init__(self, conv: nn.Conv1d, deconv: nn.ConvTranspose1d, length: int):
        self.conv, self.deconv, self.length = conv, deconv, length
        kernel, self.stride = conv.weight.shape[2], conv.stride[0]
        self.overlap = kernel - self.stride
        # positions of padding after the row, so that the windows cover it equally often
        self.excess = -(length + 2 * self.overlap - kernel) % self.stride
        self.is_short = length < kernel
        if self.is_short:
            self._build_matrices()

    def convolve(self, x: Tensor) -> Tensor:
        """Map ``x`` (b, rows, length, in) to (b, rows, window, out)."""
        if self.is_short:
            y = linear(x.flatten(2), self._weight, self._bias)
            return y.unflatten(2, (-1, self.conv.out_channels))
        x = x.movedim(-1, 1)  # (b, in, rows, length), channels last in memory
        if self.excess:
            x = F.pad(x, (0, self.excess))
        weight, bias = self.conv.weight.unsqueeze(2), self.conv.bias
        return F.conv2d(x, weight, bias, (1, self.stride), (0, self.overlap)).movedim(1, -1)

    def deconvolve(self, y: Tensor) -> Tensor:
        """Map ``y`` (b, rows, window, in) to (b, rows, length, out)."""
        if self.is_short:
            x = linear(y.flatten(2), self._transposed_weight, self._transposed_bias)
            return x.unflatten(2, (self.length, -1))
        weight, bias = self.deconv.weight.unsqueeze(2), self.deconv.bias
        strides, padding = (1, self.stride), (0, self.overlap)
        x = F.conv_transpose2d(y.movedim(-1, 1), weight, bias, strides, padding)
        return x.movedim(1, -1).narrow(2, 0, self.length)

    def _build_matrices(self) -> None:
        """Build the matrices: entry (window, position) is the tap that joins them, or 0."""
        kernel, device = self.conv.weight.shape[2], self.conv.weight.device
        padded = self.length + 2 * self.overlap + self.excess
        windows = (padded - kernel) // self.stride + 1
        window = torch.arange(windows, device=device).unsqueeze(1)
        tap = torch.arange(self.length, device=device) + self.overlap - self.stride * window
        tap = torch.where((tap >= 0) & (tap < kernel), tap, kernel)  # tap K is a zero
        weight = F.pad(self.conv.weight, (0, 1))[:, :, tap]  # (out, in, window, position)
        self._weight = weight.permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
        self._bias = _repeat(self.conv.bias, windows)
        weight = F.pad(self.deconv.weight, (0, 1))[:, :, tap]  # (in, out, window, position)
        self._transposed_weight = weight.permute(3, 1, 2, 0).flatten(2).flatten(0, 1)
        self._transposed_bias = _repeat(self.deconv.bias, self.length)


def _repeat(bias: Tensor | None, times: int) -> Tensor | None:
    """Return a bias for each of ``times`` windows or positions."""
    return None if bias is None else bias.repeat(times)
