"""How much of a feature map is processed at once."""

from torch import Tensor

# Numbers of a feature map that, with what lies between two layers, stay in a CPU's cache.
CACHED_NUMBERS = 2**19


def at_once(x: Tensor) -> int:
    """Return how many of axis 1 of ``x`` (b, rows, ...) to process at once.

    On a CPU as many as stay in the cache, and at least one; elsewhere all.
    """
    if x.device.type != "cpu":
        return x.shape[1]
    return min(x.shape[1], max(1, CACHED_NUMBERS // max(1, x[:, 0].numel())))
