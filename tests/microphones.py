"""A browser's microphone that repeats a file, for tests."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def microphone_that_hears(path):
    """Options of Chromium: its microphone repeats a file, and no question is asked."""
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}",
    ]


def median_likeness(samples, repeated, length=2000):
    """Return the largest correlation of a typical part with repeated samples, at any lag."""
    repeated = np.tile(repeated, 2)
    powers = np.convolve(np.square(repeated), np.ones(length), "valid")
    parts = sliding_window_view(samples, length)[::length]
    return np.median(
        [
            (np.abs(np.correlate(repeated, part, "valid")) / np.sqrt(powers * (part @ part))).max()
            for part in parts
        ]
    )
