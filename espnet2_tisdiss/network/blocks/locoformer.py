"""One path of a block: attention and feed-forward networks over rows (Locoformer block)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from espnet2_tisdiss.network.blocks.attention import MultiHeadSelfAttention
from espnet2_tisdiss.network.blocks.feedforward import ConvFeedForward, FFNType
from espnet2_tisdiss.network.blocks.norm import NormType, build_norm
from espnet2_tisdiss.network.kernels.cache import by_rows
from espnet2_tisdiss.network.kernels.row_convolution import RowConvolutions
from espnet2_tisdiss.network.kernels.row_products import RowProducts

Checkpoint = Literal["none", "repetition", "block"]


@dataclass(frozen=True)
class PathConfig:
    """Sizes and types of a path; see the separator's options of the same names."""

    emb_dim: int
    attention_dim: int
    n_heads: int
    flash_attention: bool
    ffn_type: Sequence[FFNType]
    ffn_hidden_dim: Sequence[int]
    conv1d_kernel: int
    conv1d_shift: int
    norm_type: NormType
    num_groups: int
    dropout: float
    eps: float
    checkpoint: Checkpoint
    causal: bool
    attention_window: int

    def compressed(self, factor: int) -> "PathConfig":
        """Return the same path with every width divided by ``factor``; heads and groups stay."""
        return replace(
            self,
            emb_dim=self.emb_dim // factor,
            attention_dim=self.attention_dim // factor,
            ffn_hidden_dim=[hidden // factor for hidden in self.ffn_hidden_dim],
        )

    def single_ffn(self) -> "PathConfig":
        """Return the same path with only the last feed-forward network (not Macaron)."""
        return replace(self, ffn_type=self.ffn_type[-1:], ffn_hidden_dim=self.ffn_hidden_dim[-1:])

    def both_ways(self) -> "PathConfig":
        """Return the same path for frequencies or speakers, where nothing is ahead in time."""
        return replace(self, causal=False)


class LocoformerPath(nn.Module):
    """Pre-norm attention and convolutional FFNs with residuals (TF-Locoformer, figure 1).

        x = x + ffn[1](norm(x))           only with two FFNs (Macaron)
        x = x + attention(norm(x))
        y = x + ffn[0](norm(x))

    Unlike the Conformer's, the outputs of the Macaron FFNs are not halved.

    Args:
        config: sizes and types.
    """

    def __init__(self, config: PathConfig):
        super().__init__()
        self.checkpoint = config.checkpoint == "block"

        def norm() -> nn.Module:
            return build_norm(config.norm_type, config.emb_dim, config.num_groups, config.eps)

        # The options list the FFNs in the order of execution; the published modules are numbered
        # from the back. ffn.0 runs after the attention, ffn.1, if there is one, before it.
        self.ffn_norm = nn.ModuleList(norm() for _ in config.ffn_type)
        self.ffn = nn.ModuleList(
            ConvFeedForward(
                config.emb_dim,
                hidden_dim,
                ffn_type,
                config.conv1d_kernel,
                config.conv1d_shift,
                config.dropout,
                config.causal,
            )
            for ffn_type, hidden_dim in zip(
                reversed(config.ffn_type), reversed(config.ffn_hidden_dim), strict=True
            )
        )
        self.attn_norm = norm()
        self.attn = MultiHeadSelfAttention(
            config.emb_dim,
            config.attention_dim,
            config.n_heads,
            config.dropout,
            config.flash_attention,
            config.attention_window if config.causal else None,
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Process each row.

        Args:
            x: feature map (b, rows, length, h), in any memory order.
            valid: (b, length), false at padding, which then has no influence; None: no padding.

        Returns:
            A map of the same shape.
        """
        # built once for all parts of the map
        convolutions = [cast(ConvFeedForward, f).convolutions(x.shape[2]) for f in self.ffn]

        def process(rows: Tensor) -> Tensor:
            return self._process(rows, valid, convolutions)

        return by_rows(recomputed(process) if self.checkpoint else process, x)

    def _process(
        self,
        x: Tensor,
        valid: Tensor | None,
        convolutions: Sequence[RowConvolutions | RowProducts],
    ) -> Tensor:
        """Process some rows; see :meth:`forward`."""
        if len(self.ffn) == 2:
            x = x + self.ffn[1](_zero_padding(self.ffn_norm[1](x), valid), convolutions[1])
        x = x + self.attn(self.attn_norm(x), valid)
        return x + self.ffn[0](_zero_padding(self.ffn_norm[0](x), valid), convolutions[0])


def recomputed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``function`` as one that stores only its arguments for the backward pass.

    The backward pass calls it again to compute the rest.
    """

    def call(*args: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return function(*args)
        return checkpoint(function, *args, use_reentrant=False)

    return call


def _zero_padding(x: Tensor, valid: Tensor | None) -> Tensor:
    """Set padded positions (b, length) of ``x`` to 0, what convolutions see beyond the end."""
    return x if valid is None else x * valid[:, None, :, None]
