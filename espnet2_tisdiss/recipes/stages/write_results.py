#!/usr/bin/env python3
"""Write RESULTS.md, RESULTS.csv and the picture of quality against cost for one experiment.

Improvements are relative to the scores of the unprocessed mixture, which stage 8 writes to
``<data_dir>/mixture_scoring``. Scores are the mean over the speakers of an utterance. The cost is
counted for models whose depth can be chosen; for others there is no cost and no picture.
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.evaluate.pictures import MULTIPLY_ADDS, Quality, draw_quality
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.stages.join_scores import METRICS
from espnet2_tisdiss.recipes.stages.model_cost import build_model, cost_by_depth, count_parameters
from espnet2_tisdiss.recipes.stages.result_tables import (
    best_published,
    depth_tables,
    published_table,
    read_published,
    set_section,
)
from espnet2_tisdiss.recipes.stages.set_results import SetResults, read_set, write_csv
from espnet2_tisdiss.user_files import read_yaml

PICTURE = "quality_by_cost.png"


def environment(repository: Path) -> str:
    """Return the environment as a Markdown list."""
    from espnet2_tisdiss.pages.report import installed_version  # slow to import

    try:
        commit = subprocess.run(
            ["git", "-C", str(repository), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown (no git repository)"
    lines = [
        f"date: `{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}`",
        f"python version: `{platform.python_version()}`",
        f"espnet version: `{installed_version('espnet')}`",
        f"pytorch version: `{installed_version('torch')}`",
        f"git hash: `{commit}`",
    ]
    return "".join(f"- {line}\n" for line in lines)


def write_picture(
    path: Path,
    all_results: Sequence[SetResults],
    cost: Mapping[str, float],
    published: Mapping[str, float],
) -> bool:
    """Draw mean and spread of SI-SNRi against cost, a line for each test set.

    Args:
        path: path of the PNG file.
        all_results: the scores of all test sets.
        cost: cost by depth; see :func:`cost_by_depth`.
        published: SI-SNRi of published results, by their names.

    Returns:
        Whether there is a picture. Without a cost or a chosen depth there is none, and an older one
        is removed.
    """
    data_sets = {}
    for results in all_results:
        depths = [scored for scored in results.depths if cost and scored.label.isdigit()]
        if depths:
            data_sets[results.name] = Quality(
                [int(scored.label) for scored in depths],
                [cost[scored.label] for scored in depths],
                [list(results.improvement(scored, "SI_SNR").values()) for scored in depths],
            )
    if data_sets:
        write_atomically(path, draw_quality(data_sets, MULTIPLY_ADDS, published))
    else:
        path.unlink(missing_ok=True)
    return bool(data_sets)


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--enh_exp", type=Path, required=True, help="experiment folder")
    add("--model", required=True, help="the model file that was scored")
    add("--fs", type=int, required=True, help="sample rate in Hz")
    add("--inference_config", type=Path, help="what changed of the model's configuration")
    add("--metrics", nargs="+", choices=METRICS, required=True)
    add(
        "--mixture",
        action="append",
        nargs=2,
        required=True,
        metavar=("SET", "FOLDER"),
        help="scoring folder of a set's unprocessed mixtures",
    )
    add(
        "--scored",
        action="append",
        nargs=3,
        required=True,
        metavar=("SET", "N_RE", "FOLDER"),
        help="folder of separated and scored files; N_RE may be 'default'",
    )
    add("--published", type=Path, help="YAML file of published results to show next to ours")
    add("--only_print", action="store_true", help="print the tables, write nothing")
    return parser


def make_report(args: argparse.Namespace) -> None:
    """Read the scores, and write RESULTS.md, RESULTS.csv and the picture."""
    published = read_published(args.published) if args.published else {}
    all_results = [
        read_set(
            name,
            Path(folder),
            [(n_re, Path(scored)) for owner, n_re, scored in args.scored if owner == name],
        )
        for name, folder in args.mixture
    ]
    exp, config = args.enh_exp, args.enh_exp / "config.yaml"
    changes = read_yaml(args.inference_config) if args.inference_config else {}
    parts = build_model(read_yaml(config), changes)
    cost = cost_by_depth(parts, args.fs, {n_re for _, n_re, _ in args.scored})
    params_m = count_parameters(parts)
    lines = {
        name: gain
        for results in all_results
        for name, gain in best_published(published.get(results.name, [])).items()
    }
    write_csv(exp / "RESULTS.csv", all_results)
    text = "# RESULTS\n\n## Environments\n\n" + environment(Path(__file__).parent)
    text += f"\n## {exp.name}\n\n- config: `{config}`\n- model: `{args.model}`\n\n"
    if write_picture(exp / PICTURE, all_results, cost, lines):
        text += f"![SI-SNRi against cost, by N_re]({PICTURE})\n\n"
    metrics = [metric for metric in METRICS if metric in args.metrics]
    for results in all_results:
        rows = published.get(results.name)
        beside = published_table(results, exp.name, params_m, rows) if rows else ""
        text += set_section(results, metrics, cost, beside)
    write_atomically(exp / "RESULTS.md", text.rstrip("\n") + "\n")


def main() -> None:
    """Run the command line."""
    args = get_parser().parse_args()
    if not args.only_print:
        make_report(args)
    report = args.enh_exp / "RESULTS.md"
    print(depth_tables(report.read_text(encoding="utf-8")))
    print(f"report: {report}")
    for _, n_re, folder in args.scored:
        print(f"separated files, N_re {n_re}: {Path(folder) / 'wavs'}")


if __name__ == "__main__":
    sys.exit(run_main("write_results", main))
