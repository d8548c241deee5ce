"""Linear map over the channels of a feature map: y = x W' + b."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# With one thread, PyTorch hands 1x1 convolutions to oneDNN only in batches of 16 or more.
BATCHES = range(16, 257)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x`` (..., h) times ``weight`` (out, h) transposed, plus ``bias`` (out,).

    In float32 on a CPU, PyTorch's matrix product is MKL's, which uses half of the vector unit on
    some processors. A 1x1 convolution is the same product computed by oneDNN, which uses all of it
    and takes about half of the time there, forward and backward.
    """
    is_float32 = x.device.type == "cpu" and x.dtype == torch.float32
    if not (is_float32 and torch.backends.mkldnn.is_available()) or x.numel() == 0:
        return F.linear(x, weight, bias)
    count = x.numel() // x.shape[-1]
    batch = next((n for n in BATCHES if count % n == 0), 1)
    maps = x.reshape(batch, 1, count // batch, -1).movedim(-1, 1)  # (batch, h, 1, positions)
    y = F.conv2d(maps, weight[:, :, None, None], bias)
    return y.movedim(1, -1).reshape(*x.shape[:-1], -1)


class ChannelLinear(nn.Linear):
    """:func:`linear` with the parameters of :class:`torch.nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``input`` (..., h) to (..., out)."""
        return linear(input, self.weight, self.bias)
