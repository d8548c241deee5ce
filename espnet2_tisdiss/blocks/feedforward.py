"""Convolutional feed-forward network along one axis of a feature map."""

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
        if self.gated:
            x, gate = x.chunk(2, dim=1)
            x = x * F.silu(gate)
        else:
            x = F.silu(x)
        x = F.conv_transpose2d(
            self.dropout(x),
            self.deconv1d.weight.unsqueeze(unit),
            self.deconv1d.bias,
            stride,
            padding,
        )
        return self.dropout(x.movedim(1, -1).narrow(axis, 0, length))
