"""The gain from repetitions during a training, from the losses that ESPnet logs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from results import table

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.pretrained.finding import CONFIG
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS = re.compile(r"\w+_loss_depth-(\d+)")  # as multi_depth_pit names them, 0 for the shallowest
PARTS = 3  # of a training, columns of the table

# SI-SNR in dB of the training mixtures by N_re, epoch after epoch
Epochs = list[dict[int, float]]


def read_epochs(folder: Path) -> Epochs:
    """Read the SI-SNR of an experiment's epochs: means over the training mixtures.

    Returns:
        An empty list for a training without a loss at each of several repetitions.

    Raises:
        TisdissError: there is no training in the folder.
    """
    if not (folder / CONFIG).is_file():
        raise TisdissError(f"{folder}: holds no training")
    which = repetition_losses(read_yaml(folder / CONFIG)["separator_conf"])
    try:
        # ESPnet keeps the statistics of all epochs in it
        kept = torch.load(folder / "checkpoint.pth", map_location="cpu", weights_only=True)
        stats = kept["reporter"]["stats"]
        epochs = [_by_depth(stats[epoch]["train"]) for epoch in sorted(stats)]
    except FileNotFoundError as error:
        raise TisdissError(f"{folder}: holds no training ({error})") from None
    except Exception:  # which exceptions PyTorch raises for damaged files is not documented
        raise TisdissError(
            f"{folder}/checkpoint.pth: damaged, or not a training's checkpoint"
        ) from None
    return [{n_re: one[index] for n_re, index in which.items()} for one in epochs] if which else []


def _by_depth(stats: Mapping[str, float]) -> list[float]:
    """Return the SI-SNR at every depth with a loss, shallow first."""
    found = {int(found[1]): -stats[name] for name in stats if (found := LOSS.fullmatch(name))}
    return [found[index] for index in sorted(found)]


def repetition_losses(options: Mapping[str, Any]) -> dict[int, int]:
    """Find the losses of the repetitions among a training's losses, which are shallow first.

    Args:
        options: of the separator.

    Returns:
        N_re -> index from the end; empty unless there are several.
    """
    config = TISDiSSConfig.from_options(options)
    last = config.reconstructor_repeat_times
    if last < 2 or not (config.reconstructor_multi_decoder and config.reconstructor_n_layers):
        return {}
    each = config.reconstructor_n_layers if config.reconstructor_n_layers_multi_decoder else 1
    return {n_re: -1 - each * (last - n_re) for n_re in range(1, last + 1)}


def gain_table(trainings: Mapping[str, Sequence[Epochs]]) -> str:
    """Return a table of the last repetition's gain over the first after each third of the epochs.

    Args:
        trainings: name -> epochs of each seed.
    """
    header = ["training", "N_re", *(f"after {k}/{PARTS}" for k in range(1, PARTS)), "at the end"]
    rows = []
    for name, seeds in trainings.items():
        cells = []
        for part in range(1, PARTS + 1):
            ends = [epochs[math.ceil(len(epochs) * part / PARTS) - 1] for epochs in seeds]
            first = np.mean([end[1] for end in ends])
            cells.append(f"{first:.2f} {np.mean([_gain(end) for end in ends]):+.2f}")
        rows.append([name, str(max(seeds[0][-1])), *cells])
    return table(header, rows)


def draw_gain(axes: Axes, name: str, epochs: Epochs, colour: str) -> None:
    """Draw a training as a line with a point per epoch: the gain against the first repetition."""
    points = [(one[1], _gain(one)) for one in epochs]
    axes.plot(*zip(*points, strict=True), ".-", color=colour, label=name)


def _gain(epoch: Mapping[int, float]) -> float:
    """Return the gain of the last repetition over the first, in dB."""
    return epoch[max(epoch)] - epoch[1]
