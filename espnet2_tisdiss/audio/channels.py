"""Which channels of a recording are separated."""

import numpy as np

CHANNELS = ("mean", "left", "right", "each")


def take_channels(block: np.ndarray, channel: str) -> np.ndarray:
    """Return the chosen channel(s) of a block (c, n), in memory of their own."""
    if channel == "mean" and len(block) > 1:
        return block.mean(axis=0, keepdims=True)
    if channel == "left":
        block = block[:1]
    elif channel == "right":
        block = block[1:2] if len(block) > 1 else block
    return np.ascontiguousarray(block)
