#!/usr/bin/env python3
"""Write a table of training configurations: structure, parameters and cost by depth.

What is counted as multiply-adds says :class:`espnet2_tisdiss.evaluate.cost.CostCounter`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet2_tisdiss.atomic import write_whole
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.cost import COUNTED_SECONDS, CostCounter, build_parts, parameters
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.yaml_files import read_yaml

DEPTHS = (1, 3, 6)

COLUMNS = "".join(f" GMAC/s, N_re {n} |" for n in DEPTHS)
HEADER = f"""\
# Configurations

The separator's parameters, and its billions of multiply-adds for one second of audio (GMAC/s)
by repetitions N_re at inference, counted on an input of {COUNTED_SECONDS:g} s. Positions are those
of the feature map for each second: frames times bins or bands.
Made by `make docs`.

| configuration | structure | parameters | positions/s |{COLUMNS}
|---|---|---:|---:|{"---:|" * len(DEPTHS)}
"""


@dataclass
class Cost:
    """What a configuration needs.

    Attributes:
        structure: name in the paper's notation, sep{layers}x{repeats}-re{layers}x{repeats}.
        parameters: trained numbers.
        positions: positions of the feature map for a second of audio.
        macs: multiply-adds for a second of audio, by depth.
    """

    structure: str
    parameters: int
    positions: float
    macs: dict[int, float]


def measure(config: dict[str, Any]) -> Cost:
    """Build the model of an ESPnet configuration and count its cost at ``DEPTHS``."""
    encoder, separator = build_parts(config)
    counter = CostCounter(encoder, separator, separator.config.sample_rate)
    return Cost(
        separator.config.structure,
        parameters(separator),
        counter.positions_per_s(),
        {n_re: counter.macs_per_s(n_re) for n_re in DEPTHS},
    )


def table(paths: list[Path]) -> str:
    """Return the page with one row for each configuration.

    Raises:
        TisdissError: a file is no configuration of a TISDiSS.
    """
    rows = []
    for path in paths:
        config = read_yaml(path)
        if config.get("separator") != "tisdiss":
            raise TisdissError(f"{path}: no training configuration with 'separator: tisdiss'")
        cost = measure(config)
        macs = "".join(f" {cost.macs[n] / 1e9:.2f} |" for n in DEPTHS)
        rows.append(
            f"| [`{path}`](../{path}) | {cost.structure} | {cost.parameters / 1e6:.2f} M "
            f"| {cost.positions:.0f} |{macs}\n"
        )
    return HEADER + "".join(rows)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+", type=Path, help="training configurations, *.yaml")
    parser.add_argument("--output", required=True, type=Path, help="page to write, *.md")
    args = parser.parse_args()
    page = table(args.configs)
    write_whole(args.output, page)


if __name__ == "__main__":
    sys.exit(run_main("model_table", main))
