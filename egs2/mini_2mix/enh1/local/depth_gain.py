"""What repetitions bring as a training goes on, from the losses that ESPnet keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from datadir import DataError
from results import table

from espnet2_tisdiss.pretrained import FILE_ERRORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS = re.compile(r"\w+_loss_depth-(\d+)")  # of multi_depth_pit; depth 0 is the splitter's
PARTS = 4  # of a training that the table tells

# SI-SNR in dB of the training mixtures by N_re, epoch after epoch
Epochs = list[dict[int, float]]


def read_epochs(folder: Path) -> Epochs:
    """Read the SI-SNR of an experiment's epochs, means over what they were trained on.

    Returns:
        None of a training with the loss at a single depth.

    Raises:
        DataError: there is no training in the folder.
    """
    try:
        # what goes on from here is ESPnet's; it keeps the figures of all epochs in it
        kept = torch.load(folder / "checkpoint.pth", map_location="cpu", weights_only=True)
        stats = kept["reporter"]["stats"]
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no training is there ({error})") from None
    except (*FILE_ERRORS, TypeError):
        raise DataError(f"{folder}/checkpoint.pth: is damaged, or none of a training") from None
    epochs = [
        {
            int(found[1]): -value
            for name, value in stats[epoch]["train"].items()
            if (found := LOSS.fullmatch(name))
        }
        for epoch in sorted(stats)
    ]
    return [{n: value for n, value in one.items() if n > 0} for one in epochs if len(one) > 2]


def gain_table(trainings: Mapping[str, Sequence[Epochs]]) -> str:
    """What the last repetition adds to the first after each quarter of the trainings.

    Args:
        trainings: name -> epochs of each seed.
    """
    header = ["training", "N_re", *(f"after {100 * k // PARTS} %" for k in range(1, PARTS + 1))]
    rows = []
    for name, seeds in trainings.items():
        cells = []
        for part in range(1, PARTS + 1):
            ends = [epochs[max(0, round(len(epochs) * part / PARTS) - 1)] for epochs in seeds]
            first = np.mean([end[1] for end in ends])
            cells.append(f"{first:.2f} {np.mean([_gain(end) for end in ends]):+.2f}")
        rows.append([name, str(max(seeds[0][-1])), *cells])
    return table(header, rows)


def draw_gain(axes: Axes, name: str, epochs: Epochs, colour: str) -> None:
    """Draw a training as a line: a point an epoch, the gain against the first repetition."""
    points = [(one[1], _gain(one)) for one in epochs]
    axes.plot(*zip(*points, strict=True), ".-", color=colour, label=name)


def _gain(epoch: Mapping[int, float]) -> float:
    """What the last repetition adds to the first, in dB."""
    return epoch[max(epoch)] - epoch[1]
