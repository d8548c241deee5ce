"""Linear map over the channels of a feature map: y = x W' + b.

In float32 on a CPU, PyTorch computes matrix products with MKL, which on some processors uses only
half of the vector unit. A 1x1 convolution is the same product, computed by oneDNN. It uses the full
vector unit and takes about half the time there, forward and backward. On other processors it is
slower, because it copies its input. A measurement at the first use decides.
"""

import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# With one thread, PyTorch hands 1x1 convolutions to oneDNN only in batches of 16 or more.
BATCHES = range(16, 257)
# The measured product takes about 1 ms on one core, (2048, 128) by (128, 384).
PROBE_SHAPE = (2048, 128, 384)
PROBE_RUNS = 8
# How many times faster the convolution must be. On processors where it is faster, it is about twice
# as fast, so a disturbed measurement gives the same decision, and runs stay reproducible.
LEAST_GAIN = 1.4


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x`` (..., h) times ``weight`` (out, h) transposed, plus ``bias`` (out,)."""
    is_float32 = x.device.type == "cpu" and x.dtype == torch.float32
    # torch.compile chooses products itself, and cannot trace a measurement
    measured = is_float32 and x.numel() > 0 and not torch.compiler.is_compiling()
    product = _convolve if measured and convolution_is_faster() else F.linear
    return product(x, weight, bias)


@functools.cache
def convolution_is_faster() -> bool:
    """Return whether this machine computes a product faster as a convolution, measured once.

    This takes about 30 ms on one core. It uses process time, which other programs do not affect.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    count, h, out = PROBE_SHAPE
    x, weight = torch.ones(count, h), torch.ones(out, h)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            runs = [
                (_seconds(F.linear, x, weight), _seconds(_convolve, x, weight))
                for _ in range(PROBE_RUNS)
            ]
    finally:
        torch.set_num_threads(threads)
    product, convolution = (min(seconds) for seconds in zip(*runs, strict=True))
    return product > LEAST_GAIN * convolution


def _seconds(function: Callable[..., Tensor], x: Tensor, weight: Tensor) -> float:
    """Return the process time of ``function(x, weight)``."""
    start = time.process_time()
    function(x, weight)
    return time.process_time() - start


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the product as a 1x1 convolution."""
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
