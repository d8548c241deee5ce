"""Convolutional feed-forward network along one axis of a feature map."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FFN_TYPES = ("swiglu_conv1d", "conv1d")


class ConvFeedForward(nn.Module):
    """Conv1d, gate, transposed Conv1d (TF-Locoformer, section 2.2), along axis 1 or 2.

    ``swiglu_conv1d``: the convolution gives twice the hidden width, and the first half is
    multiplied by SiLU of the second. ``conv1d``: SiLU alone.

    The weights are stored as one-dimensional convolutions, under the published names, and run as
    two-dimensional ones with a kernel of (K, 1) or (1, K): that works on the channels-last map as
    it lies in memory, along either axis, without a copy.

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

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """Apply to ``x`` (b, length1, length2, h) along ``axis`` (1 or 2); the shape stays."""
        if axis == 2 and x.shape[2] < self.kernel:
            return self._dense(x)
        length, overlap = x.shape[axis], self.kernel - self.shift
        # windows start every S positions, the first `overlap` before the signal, until all of
        # it is covered as often: the padded length is K + S * ceil((length + 2 overlap - K) / S)
        excess = -(length + 2 * overlap - self.kernel) % self.shift
        x = x.movedim(-1, 1)  # (b, h, l1, l2), channels last in memory
        if excess:
            x = F.pad(x, (0, 0, 0, excess) if axis == 1 else (0, excess))

        def along(value: int, other: int) -> tuple[int, int]:
            return (value, other) if axis == 1 else (other, value)

        stride, padding, unit = along(self.shift, 1), along(overlap, 0), -1 if axis == 1 else 2
        x = F.conv2d(
            x, self.conv1d.weight.unsqueeze(unit), self.conv1d.bias, stride, padding=padding
        )
        x = F.conv_transpose2d(
            self.dropout(self._activate(x, dim=1)),
            self.deconv1d.weight.unsqueeze(unit),
            self.deconv1d.bias,
            stride,
            padding,
        )
        return self.dropout(x.movedim(1, -1).narrow(axis, 0, length))

    def _activate(self, x: Tensor, dim: int) -> Tensor:
        """Apply the gate or the activation to the hidden channels on axis ``dim``."""
        if not self.gated:
            return F.silu(x)
        x, gate = x.chunk(2, dim)
        return x * F.silu(gate)

    def _dense(self, x: Tensor) -> Tensor:
        """Apply to sequences (b, rows, length, h) shorter than a window.

        Most of what the convolution multiplies would be padding. With all positions of a sequence
        as one vector, both convolutions are matrices, in which each pair of a window and a
        position has the tap that joins them, or zeros.
        """
        length, overlap = x.shape[2], self.kernel - self.shift
        windows = -(-(length + 2 * overlap - self.kernel) // self.shift) + 1
        window = torch.arange(windows, device=x.device).unsqueeze(1)
        tap = torch.arange(length, device=x.device) + overlap - self.shift * window
        tap = torch.where((tap >= 0) & (tap < self.kernel), tap, self.kernel)  # (window, position)
        to_windows = F.pad(self.conv1d.weight, (0, 1))[:, :, tap]  # (2m, h, window, position)
        to_windows = to_windows.permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
        to_positions = F.pad(self.deconv1d.weight, (0, 1))[:, :, tap]  # (m, h, window, position)
        to_positions = to_positions.permute(3, 1, 2, 0).flatten(2).flatten(0, 1)
        y = F.linear(x.flatten(2), to_windows, self.conv1d.bias.repeat(windows))
        y = self.dropout(self._activate(y.unflatten(2, (windows, -1)), dim=3))
        y = F.linear(y.flatten(2), to_positions, self.deconv1d.bias.repeat(length))
        return self.dropout(y.unflatten(2, (length, -1)))
