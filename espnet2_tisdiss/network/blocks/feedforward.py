"""Convolutional feed-forward network over the rows of a feature map."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.kernels.channel_linear import linear

FFN_TYPES = ("swiglu_conv1d", "conv1d")


class ConvFeedForward(nn.Module):
    """Conv1d, gate, transposed Conv1d (TF-Locoformer, section 2.2).

    ``swiglu_conv1d``: the convolution gives twice the hidden width, and the first half is
    multiplied by SiLU of the second. ``conv1d``: SiLU alone.

    The weights are stored as one-dimensional convolutions, under the published names, and run as
    two-dimensional ones with a kernel of (1, K): that works on the channels-last map as it lies in
    memory, without a copy.

    Args:
        emb_dim: number of channels h.
        hidden_dim: hidden width m.
        ffn_type: one of ``FFN_TYPES``.
        kernel: K, in positions.
        shift: stride S, in positions; at most ``kernel``.
        dropout: applied after the gate and after the network.
    """

    def __init__(
        self, emb_dim: int, hidden_dim: int, ffn_type: str, kernel: int, shift: int, dropout: float
    ):
        super().__init__()
        self.gated = ffn_type == "swiglu_conv1d"
        self.kernel = kernel
        self.shift = shift
        self.dropout = nn.Dropout(dropout)
        self.conv1d = nn.Conv1d(emb_dim, hidden_dim * (1 + self.gated), kernel, stride=shift)
        self.deconv1d = nn.ConvTranspose1d(hidden_dim, emb_dim, kernel, stride=shift)

    def forward(self, x: Tensor, matrices: tuple[Tensor, ...] | None = None) -> Tensor:
        """Apply to the rows of ``x`` (b, rows, length, h); the shape stays.

        ``matrices`` are :meth:`matrices` of the length, for whom calls this often.
        """
        length, overlap = x.shape[2], self.kernel - self.shift
        if length < self.kernel:
            return self._dense(x, *(matrices or self.matrices(length)))
        # windows start every S positions, the first `overlap` before the signal, until all of
        # it is covered as often: the padded length is K + S * ceil((length + 2 overlap - K) / S)
        excess = -(length + 2 * overlap - self.kernel) % self.shift
        x = x.movedim(-1, 1)  # (b, h, rows, length), channels last in memory
        if excess:
            x = F.pad(x, (0, excess))
        weight, bias = self.conv1d.weight.unsqueeze(2), self.conv1d.bias
        x = F.conv2d(x, weight, bias, (1, self.shift), padding=(0, overlap))
        x = self.dropout(self._activate(x, dim=1))
        weight, bias = self.deconv1d.weight.unsqueeze(2), self.deconv1d.bias
        x = F.conv_transpose2d(x, weight, bias, (1, self.shift), (0, overlap))
        return self.dropout(x.movedim(1, -1).narrow(2, 0, length))

    def _activate(self, x: Tensor, dim: int) -> Tensor:
        """Apply the gate or the activation to the hidden channels on axis ``dim``."""
        if not self.gated:
            return F.silu(x)
        x, gate = x.chunk(2, dim)
        return x * F.silu(gate)

    def matrices(self, length: int) -> tuple[Tensor, ...] | None:
        """Return the matrices and biases of both convolutions for short sequences.

        In sequences shorter than a window, most of what a convolution multiplies would be padding.
        With all positions of a sequence as one vector, both convolutions are matrices, in which
        each pair of a window and a position has the tap that joins them, or zeros.

        Returns:
            (windows * hidden, length * h), its bias, (length * h, windows * hidden), its bias; None
            if sequences of this length are convolved.
        """
        if length >= self.kernel:
            return None
        overlap, device = self.kernel - self.shift, self.conv1d.weight.device
        windows = -(-(length + 2 * overlap - self.kernel) // self.shift) + 1
        window = torch.arange(windows, device=device).unsqueeze(1)
        tap = torch.arange(length, device=device) + overlap - self.shift * window
        tap = torch.where((tap >= 0) & (tap < self.kernel), tap, self.kernel)  # (window, position)
        to_windows = F.pad(self.conv1d.weight, (0, 1))[:, :, tap]  # (2m, h, window, position)
        to_windows = to_windows.permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
        to_positions = F.pad(self.deconv1d.weight, (0, 1))[:, :, tap]  # (m, h, window, position)
        to_positions = to_positions.permute(3, 1, 2, 0).flatten(2).flatten(0, 1)
        biases = self.conv1d.bias.repeat(windows), self.deconv1d.bias.repeat(length)
        return to_windows, biases[0], to_positions, biases[1]

    def _dense(
        self, x: Tensor, to_windows: Tensor, bias: Tensor, to_positions: Tensor, out_bias: Tensor
    ) -> Tensor:
        """Apply to ``x`` (b, rows, length, h) by :meth:`matrices`."""
        y = linear(x.flatten(2), to_windows, bias)
        y = y.unflatten(2, (-1, self.conv1d.out_channels))  # (b, rows, window, 2m)
        y = self.dropout(self._activate(y, dim=3))
        y = linear(y.flatten(2), to_positions, out_bias)
        return self.dropout(y.view_as(x))
