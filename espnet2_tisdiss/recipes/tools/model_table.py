#!/usr/bin/env python3
"""Write a table of training configurations: structure, parameters and cost by depth.

:class:`espnet2_tisdiss.evaluate.cost.CostCounter` defines the multiply-adds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from string import Template

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.cost import COUNTED_SECONDS, CostCounter, build_parts, parameters
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.user_files import read_yaml

DEPTHS = (1, 3, 6)

TEMPLATE = Path(__file__).with_name("model_table.md")
COLUMNS = ["configuration", "structure", "parameters", "positions/s"]
COLUMNS += [f"GMAC/s, N_re {n_re}" for n_re in DEPTHS]


def row(path: Path) -> list[str]:
    """Return a configuration's columns."""
    config = read_yaml(path)
    if config.get("separator") != "tisdiss":
        raise TisdissError(f"{path}: no training configuration with 'separator: tisdiss'")
    encoder, separator = build_parts(config)
    counter = CostCounter(encoder, separator, separator.config.sample_rate)
    return [
        f"[`{path}`](../{path})",
        separator.config.structure,
        f"{parameters(separator) / 1e6:.2f} M",
        f"{counter.positions_per_s():.0f}",
        *(f"{counter.macs_per_s(n_re) / 1e9:.2f}" for n_re in DEPTHS),
    ]


def page(paths: Iterable[Path]) -> str:
    """Return the page, with a row for each configuration."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    link = "[glossary](glossary.md)"  # as from docs/
    header = template.substitute(seconds=f"{COUNTED_SECONDS:g}", glossary=link)
    return header + markdown_table(COLUMNS, map(row, paths))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+", type=Path, help="training configurations, *.yaml")
    parser.add_argument("--output", required=True, type=Path, help="page to write, *.md")
    args = parser.parse_args()
    write_atomically(args.output, page(args.configs))


if __name__ == "__main__":
    sys.exit(run_main("model_table", main))
