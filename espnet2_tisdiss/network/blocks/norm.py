"""Normalisation layers over the feature axis h, chosen by the ``norm_type`` argument."""

from typing import Literal

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.precision import full_precision

NormType = Literal["rmsgroupnorm", "layernorm"]


class RMSGroupNorm(nn.Module):
    """Root-mean-square norm within groups of channels (TF-Locoformer, section 2.2).

        y = gamma * x / (rms(group) + eps)

    As in the published code, eps is added to the rms; :func:`torch.nn.functional.rms_norm` adds it
    to the mean square.

    Args:
        dim: number of channels h.
        num_groups: number of groups; must divide ``dim``.
        eps: added to each group's rms.

    Raises:
        ValueError: ``num_groups`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_groups: int = 4, eps: float = 1e-5):
        super().__init__()
        if dim % num_groups:
            raise ValueError(f"num_groups must divide the width {dim}, got {num_groups}")
        self.num_groups = num_groups
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape (..., h); half-precision input is normalised in float32."""
        # squares overflow in float16
        groups = full_precision(x).unflatten(-1, (self.num_groups, -1))  # (..., group, h / groups)
        # the gradient of vector_norm is defined at 0, that of sqrt(mean square) is not
        rms = torch.linalg.vector_norm(groups, dim=-1, keepdim=True) * groups.shape[-1] ** -0.5
        groups = groups * (1 / (rms + self.eps))
        return groups.flatten(-2).to(x.dtype) * self.gamma.to(x.dtype)


def build_norm(norm_type: NormType, dim: int, num_groups: int, eps: float) -> nn.Module:
    """Return a norm over the last axis, of width ``dim``; layer norms ignore ``num_groups``."""
    if norm_type == "layernorm":
        return nn.LayerNorm(dim, eps=eps)
    return RMSGroupNorm(dim, num_groups, eps)
