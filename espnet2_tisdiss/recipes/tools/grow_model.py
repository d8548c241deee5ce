#!/usr/bin/env python3
r"""Make initial weights for training a larger model from those of a smaller, trained one.

    python -m espnet2_tisdiss.recipes.tools.grow_model mini \
        egs2/voices_2mix/enh1/conf/train_default.yaml start.pth

The larger model may have more channels, heads and hidden units, and other bands at another sample
rate; at first it separates like the smaller one. Pass the file to a recipe with --init_param.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from espnet2_tisdiss import SeparateSpeech, TISDiSSSeparator
from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.network.growing import grow
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.user_files import read_yaml


def grow_model(model: str, config: Path, output: Path, seed: int) -> None:
    """Write the grown weights of ``model`` for the training configuration ``config``."""
    small = SeparateSpeech.from_pretrained(model).separator
    wanted = read_yaml(config)
    if wanted.get("encoder") != "stft" or wanted.get("separator") != "tisdiss":
        raise TisdissError(f"{config}: needs encoder: stft and separator: tisdiss to grow a model")
    torch.manual_seed(seed)
    try:
        bins = wanted["encoder_conf"]["n_fft"] // 2 + 1
        large = TISDiSSSeparator(bins, **wanted.get("separator_conf", {}))
        grow(small, large)
    except (KeyError, TypeError, ValueError) as error:
        raise TisdissError(f"{config}: cannot hold {model}: {error}") from None
    weights = {f"separator.{name}": value for name, value in large.state_dict().items()}
    with replacing(output) as temporary:
        torch.save(weights, temporary)


def main() -> None:
    """Read the command line and write the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="the trained model: folder, weights or a bundled name")
    parser.add_argument("config", type=Path, help="training configuration of the larger model")
    parser.add_argument("output", type=Path, help="weights to write (.pth)")
    parser.add_argument("--seed", type=int, default=0, help="of the new weights (default: 0)")
    args = parser.parse_args()
    grow_model(args.model, args.config, args.output, args.seed)


if __name__ == "__main__":
    sys.exit(run_main("grow_model", main))
