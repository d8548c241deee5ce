"""One path of a block: attention and feed-forward networks over rows (Locoformer block)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from espnet2_tisdiss.network.blocks.attention import MultiHeadSelfAttention
from espnet2_tisdiss.network.blocks.feedforward import ConvFeedForward
from espnet2_tisdiss.network.blocks.norm import build_norm
from espnet2_tisdiss.network.kernels.cache import at_once


@dataclass(frozen=True)
class PathConfig:
    """Sizes of a path, as given to the separator (see its arguments of the same names)."""

    emb_dim: int
    attention_dim: int
    n_heads: int
    flash_attention: bool
    ffn_type: Sequence[str]
    ffn_hidden_dim: Sequence[int]
    conv1d_kernel: int
    conv1d_shift: int
    norm_type: str
    num_groups: int
    dropout: float
    eps: float
    checkpoint: str

    def compressed(self, factor: int) -> "PathConfig":
        """Return the same path with every width divided by ``factor``; heads and groups stay."""
        return replace(
            self,
            emb_dim=self.emb_dim // factor,
            attention_dim=self.attention_dim // factor,
            ffn_hidden_dim=[hidden // factor for hidden in self.ffn_hidden_dim],
        )

    def single_ffn(self) -> "PathConfig":
        """Return the same path with the last feed-forward network alone (not Macaron)."""
        return replace(self, ffn_type=self.ffn_type[-1:], ffn_hidden_dim=self.ffn_hidden_dim[-1:])


class LocoformerPath(nn.Module):
    """Pre-norm attention and convolutional FFNs with residuals (TF-Locoformer, figure 1).

    With two FFNs (Macaron): FFN, attention, FFN; with one: attention, FFN. Unlike the
    Conformer's, the Macaron FFNs are not halved.

    Args:
        config: sizes and types.
    """

    def __init__(self, config: PathConfig):
        super().__init__()

        self.checkpoint = config.checkpoint == "block"

        def norm() -> nn.Module:
            return build_norm(config.norm_type, config.emb_dim, config.num_groups, config.eps)

        # The lists are written in the order of execution, yet the published modules are numbered
        # from the back: ffn.0 runs after the attention, ffn.1, if there is one, before it.
        self.ffn_norm = nn.ModuleList(norm() for _ in config.ffn_type)
        self.ffn = nn.ModuleList(
            ConvFeedForward(
                config.emb_dim,
                hidden_dim,
                ffn_type,
                config.conv1d_kernel,
                config.conv1d_shift,
                config.dropout,
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
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Process the rows of ``x`` (b, rows, length, h); the shape stays.

        Rows do not mix, so on a CPU they are processed a few at a time, such that what lies
        between two layers stays in the cache, and takes no memory to speak of.

        Args:
            x: feature map, in any memory order.
            valid: (b, length) false at padding, which then has no influence; None: no padding.
        """
        process = recomputed(self._process) if self.checkpoint else self._process
        matrices = [ffn.matrices(x.shape[2]) for ffn in self.ffn]
        together = at_once(x)
        if together == x.shape[1]:
            return process(x.contiguous(), valid, matrices)
        parts = (process(part.contiguous(), valid, matrices) for part in x.split(together, 1))
        if torch.is_grad_enabled():
            return torch.cat(list(parts), 1)
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        for target, part in zip(y.split(together, 1), parts, strict=True):
            target.copy_(part)
        return y

    def _process(
        self, x: Tensor, valid: Tensor | None, matrices: list[tuple[Tensor, ...] | None]
    ) -> Tensor:
        """Process ``x`` all at once; see :meth:`forward`."""
        if len(self.ffn) == 2:
            x = x + self.ffn[1](_blank(self.ffn_norm[1](x), valid), matrices[1])
        x = x + self.attn(self.attn_norm(x), valid)
        return x + self.ffn[0](_blank(self.ffn_norm[0](x), valid), matrices[0])


def recomputed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a function that keeps its arguments alone for the backward pass."""

    def call(*args: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return function(*args)
        return checkpoint(function, *args, use_reentrant=False)

    return call


def _blank(x: Tensor, valid: Tensor | None) -> Tensor:
    """Zero the padded positions, so that a convolution sees there what it sees past the end."""
    return x if valid is None else x * valid[:, None, :, None]
