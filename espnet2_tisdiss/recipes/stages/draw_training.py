#!/usr/bin/env python3
"""Plot the progress of a training: SI-SNR in dB by step and depth, from the checkpoint.

It writes a picture, and a table of the means of each epoch: on the validation set at every depth
that was validated (``valid_every_depth``; otherwise the deepest), and on the training mixtures at
the deepest. Vertical lines show where the depth of the training changes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import Curve, draw_curves
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.user_files import read_yaml

PICTURE, TABLE = "training_curve.png", "training_curve.md"
LOSS = "si_snr_loss"


def read_epochs(exp: Path) -> dict[int, dict[str, Any]]:
    """Return the statistics of each epoch that ESPnet's checkpoint holds."""
    checkpoint = exp / "checkpoint.pth"
    try:
        states = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return states["reporter"]["stats"]
    except FileNotFoundError:
        raise TisdissError(f"{checkpoint}: no such file: train first") from None
    except Exception as error:  # torch.load raises errors of many types for damaged files
        raise TisdissError(f"{checkpoint}: is not a training's checkpoint ({error})") from None


def shallowest(config: Mapping[str, Any]) -> int:
    """Return N_re of a training's first supervised estimate, 0 for the splitter's."""
    return 0 if config.get("separator_conf", {}).get("spliter_loss", True) else 1


def curves(epochs: Mapping[int, Mapping[str, Any]], first: int = 0) -> dict[str, Curve]:
    """Return SI-SNR by step: of the validation set by depth, and of training at the last depth.

    It is empty if the training has another loss.

    Args:
        epochs: statistics of each epoch.
        first: N_re of the first estimate.
    """
    found: dict[str, Curve] = {}
    for _, parts in sorted(epochs.items()):
        step = parts["train"]["total_count"]
        by_depth = losses_by_depth(parts["valid"])
        for depth, loss in sorted(by_depth.items()):
            found.setdefault(f"validation, N_re {first + depth}", Curve()).add(step, -loss)
        if not by_depth and LOSS in parts["valid"]:
            found.setdefault("validation, deepest", Curve()).add(step, -parts["valid"][LOSS])
        trained = losses_by_depth(parts["train"])
        if trained:
            found.setdefault("training, deepest", Curve()).add(step, -trained[max(trained)])
    return found


def trained_depths(epochs: Mapping[int, Mapping[str, Any]], first: int = 0) -> dict[float, int]:
    """Return the training's N_re by the step from which it holds; empty for a single loss."""
    depths: dict[float, int] = {}
    step = 0
    for _, parts in sorted(epochs.items()):
        trained = losses_by_depth(parts["train"])
        if trained and [first + max(trained)] != list(depths.values())[-1:]:
            depths[step] = first + max(trained)
        step = parts["train"]["total_count"]
    return depths


def table(found: Mapping[str, Curve], depths: Mapping[float, int]) -> str:
    """Return the curves as a table, a row for each step that has a point."""
    points = {name: dict(zip(curve.x, curve.y, strict=True)) for name, curve in found.items()}
    rows = []
    for step in sorted({step for values in points.values() for step in values}):
        trained = [n_re for since, n_re in depths.items() if since < step][-1:]
        cells = [f"{values[step]:.2f}" if step in values else "" for values in points.values()]
        rows.append([str(step), "".join(map(str, trained)), *cells])
    return markdown_table(["step", "N_re of training", *points], rows)


def losses_by_depth(statistics: Mapping[str, float]) -> dict[int, float]:
    """Return the loss of each estimate, from 0, the shallowest."""
    matches = ((re.fullmatch(rf"{LOSS}_depth-(\d+)", key), key) for key in statistics)
    return {int(match[1]): statistics[key] for match, key in matches if match}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exp", type=Path, metavar="EXP_DIR", help="the experiment's folder")
    exp = parser.parse_args().exp
    epochs, first = read_epochs(exp), shallowest(read_yaml(exp / "config.yaml"))
    found, depths = curves(epochs, first), trained_depths(epochs, first)
    if not found:
        return
    marks = {step: f"N_re {n_re}" for step, n_re in depths.items()} if len(depths) > 1 else {}
    picture = draw_curves(found, "training steps", "SI-SNR [dB]", "Means of each epoch", marks)
    write_atomically(exp / PICTURE, picture)
    write_atomically(exp / TABLE, table(found, depths))


if __name__ == "__main__":
    sys.exit(run_main("draw_training", main))
