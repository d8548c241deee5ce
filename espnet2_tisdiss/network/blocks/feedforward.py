"""Convolutional feed-forward network over the rows of a feature map."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.causal import delayed
from espnet2_tisdiss.network.kernels.row_convolution import RowConvolutions
from espnet2_tisdiss.network.kernels.row_products import RowProducts

FFNType = Literal["swiglu_conv1d", "conv1d"]
FFN_TYPES: tuple[FFNType, ...] = get_args(FFNType)


class ConvFeedForward(nn.Module):
    """Conv1d, activation, transposed Conv1d (TF-Locoformer, section 2.2).

        y = deconv1d(activation(conv1d(x)))

    with the activation a * SiLU(g) for ``swiglu_conv1d``, where a and g are the two halves of the
    convolution's 2m channels, and SiLU for ``conv1d``. An output sees kernel - 1 positions to
    either side, or with ``causal`` up to 2 (kernel - 1) before it.

    Args:
        emb_dim: number of channels h.
        hidden_dim: hidden width m.
        ffn_type: ``swiglu_conv1d`` or ``conv1d``.
        kernel: K, in positions.
        shift: stride S, in positions; at most ``kernel``.
        dropout: probability, applied after the activation and after the network.
        causal: whether it only looks back.
    """

    def __init__(
        self,
        emb_dim: int,
        hidden_dim: int,
        ffn_type: FFNType,
        kernel: int,
        shift: int,
        dropout: float,
        causal: bool = False,
    ):
        super().__init__()
        self.gated = ffn_type == "swiglu_conv1d"
        self.kernel = kernel
        self.shift = shift
        self.delay = kernel - 1 if causal else 0
        self.dropout = nn.Dropout(dropout)
        self.conv1d = nn.Conv1d(emb_dim, hidden_dim * (1 + self.gated), kernel, stride=shift)
        self.deconv1d = nn.ConvTranspose1d(hidden_dim, emb_dim, kernel, stride=shift)

    def forward(
        self, x: Tensor, convolutions: RowConvolutions | RowProducts | None = None
    ) -> Tensor:
        """Apply the network to each row.

        Args:
            x: (b, rows, length, h).
            convolutions: :meth:`convolutions` of the length, built by a caller that processes a
                map in several parts.

        Returns:
            The same shape as ``x``.
        """
        rows = convolutions or self.convolutions(x.shape[2])
        hidden = self.dropout(self._activate(rows.convolve(delayed(x, self.delay, axis=2))))
        return self.dropout(rows.deconvolve(hidden)[:, :, : x.shape[2]])

    def convolutions(self, length: int) -> RowConvolutions | RowProducts:
        """Return both convolutions for rows of ``length`` positions."""
        length = length + self.delay
        is_exported = torch.compiler.is_exporting() and length >= self.kernel
        return (RowProducts if is_exported else RowConvolutions)(self.conv1d, self.deconv1d, length)

    def _activate(self, x: Tensor) -> Tensor:
        """Return the hidden units (..., m) of the convolution's output."""
        if not self.gated:
            return F.silu(x)
        x, gate = x.chunk(2, -1)
        return x * F.silu(gate)
