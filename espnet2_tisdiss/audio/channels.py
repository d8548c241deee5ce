"""Choosing the channels of a recording to separate."""

import numpy as np

from espnet2_tisdiss.choices import Channel


def take_channels(block: np.ndarray, channel: Channel) -> np.ndarray:
    """Return the chosen channels (c', n) of a block (c, n), contiguous in memory."""
    if channel == "mean" and len(block) > 1:
        return block.mean(axis=0, keepdims=True)
    if channel == "left":
        block = block[:1]
    elif channel == "right":
        block = block[1:2] if len(block) > 1 else block
    return np.ascontiguousarray(block)
