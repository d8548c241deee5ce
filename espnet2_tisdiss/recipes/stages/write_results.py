#!/usr/bin/env python3
"""Write RESULTS.md, RESULTS.csv and the picture of quality against cost for one experiment.

Improvements are against the unprocessed mixture's own scores, which stage 8 leaves in
``<data_dir>/mixture_scoring``.  Scores are the mean over the speakers of an utterance.  The cost is
counted for models whose depth can be chosen; for others it is left out, and the picture too.
"""

from __future__ import annotations

import argparse
import copy
import csv
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from espnet2_tisdiss.atomic import replacing, write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import MULTIPLY_ADDS, Quality, draw_quality
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.data_directories import LEVELS_LIST
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.stages.join_scores import METRICS, read_scores
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:  # importing ESPnet takes seconds
    from espnet2.enh.encoder.abs_encoder import AbsEncoder

    from espnet2_tisdiss.network.separator import TISDiSSSeparator

IMPROVED = ("SDR", "SI_SNR")
MAX_FILE_ROWS = 30
MAX_SCORE = 100.0
# beginnings of the mixtures' names in the recipes that know the speakers' sex
PAIRS = {"FF": "two women", "MM": "two men", "FM": "woman and man"}
# columns of published results -> their headings; scores that nobody published are left out
PUBLISHED_COLUMNS = {"model": "model", "n_re": "N_re", "params_m": "M parameters"}
PUBLISHED_COLUMNS |= {name: name for name in (*METRICS, "SDRi", "SI_SNRi", "source")}
ALWAYS_SHOWN = {"model", "n_re", "params_m", "SI_SNR", "SDRi", "SI_SNRi", "source"}
PICTURE = "quality_by_cost.png"
MEASURED_LEVELS_NOTE = (
    "**These are not the published mixtures:** the speakers' levels were measured here "
    "(--measure_levels), so the scores do not compare with published ones."
)


@dataclass(frozen=True)
class Scored:
    """Scores of one test set at one depth.

    Attributes:
        label: the depth as text, "mixture", or "default" where no depth was asked.
        folder: folder of the separated files (None for the mixture).
        scores: metric -> utterance -> score.
    """

    label: str
    folder: Path | None
    scores: dict[str, dict[str, float]]

    def mean(self, metric: str) -> float:
        """Mean over the utterances."""
        return float(np.mean(list(self.scores[metric].values())))


@dataclass(frozen=True)
class SetResults:
    """Everything about one test set.

    Attributes:
        name: its name.
        mixture: the mixtures' own scores.
        depths: the scores at each depth.
        measured_levels: whether the mixtures are not the published ones, but of measured levels.
    """

    name: str
    mixture: Scored
    depths: list[Scored]
    measured_levels: bool = False

    def improvement(self, scored: Scored, metric: str) -> dict[str, float]:
        """Utterance -> score minus the mixture's."""
        own = self.mixture.scores[metric]
        return {key: score - own[key] for key, score in scored.scores[metric].items()}


def read_set(name: str, mixture: Path, depths: Sequence[tuple[str, Path]]) -> SetResults:
    """Read all scores of a test set.

    Args:
        name: name of the set.
        mixture: scoring folder of the unprocessed mixtures, in the set's folder.
        depths: (label, folder of separated files) for each depth.

    Raises:
        TisdissError: scores are missing, or the depths were scored on different utterances.
    """
    own = Scored("mixture", None, {metric: read_scores(mixture, metric) for metric in METRICS})
    scored = [
        Scored(label, folder, {m: read_scores(folder / "scoring", m) for m in METRICS})
        for label, folder in depths
    ]
    for entry in scored:
        if entry.scores["SI_SNR"].keys() != own.scores["SI_SNR"].keys():
            raise TisdissError(f"{entry.folder}/scoring and {mixture} differ in their utterances")
    measured = (mixture.parent / LEVELS_LIST).is_file()
    return SetResults(name, own, scored, measured)


class Parts(NamedTuple):
    """What the cost of a model is counted on."""

    encoder: AbsEncoder
    separator: TISDiSSSeparator


def build_model(config: Mapping[str, Any], changes: Mapping[str, Any]) -> Parts | None:
    """Build a model's encoder and separator.

    Args:
        config: the model's configuration.
        changes: what the inference configuration changes of it.

    Returns:
        The parts; None where the separator is no TISDiSS and so has no depth.
    """
    if changes.get("separator", config["separator"]) != "tisdiss":
        return None
    # here, because they take seconds
    from espnet2.bin.enh_inference import recursive_dict_update

    from espnet2_tisdiss.evaluate.cost import build_parts

    changed = copy.deepcopy(config)
    recursive_dict_update(changed, changes)
    return Parts(*build_parts(changed))


def cost_by_depth(parts: Parts | None, fs: int, labels: Iterable[str]) -> dict[str, float]:
    """Count what a model costs at each depth.

    Args:
        parts: of the model.
        fs: sample rate in Hz.
        labels: the depths, as numbers or "default".

    Returns:
        Label -> billions of multiply-adds for a second of audio; empty without parts.
    """
    if parts is None:
        return {}
    from espnet2_tisdiss.evaluate.cost import CostCounter

    encoder, separator = parts
    counter = CostCounter(encoder, separator, fs)
    depths = {
        label: int(label) if label.isdigit() else separator.reconstructor_repeat_times
        for label in labels
    }
    return {label: counter.macs_per_s(n_re) / 1e9 for label, n_re in depths.items()}


def count_parameters(parts: Parts | None) -> float | None:
    """Millions of parameters of a model's separator; None without parts."""
    if parts is None:
        return None
    from espnet2_tisdiss.evaluate.cost import parameters

    return parameters(parts.separator) / 1e6


def read_published(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read published results: test set -> rows with (some of) the keys ``PUBLISHED_COLUMNS``.

    Raises:
        TisdissError: the file is missing or is not of that form.
    """
    published = read_yaml(path)
    for name, rows in published.items():
        for row in rows if isinstance(rows, list) else [None]:
            if not isinstance(row, dict) or not row.keys() <= set(PUBLISHED_COLUMNS):
                raise TisdissError(
                    f"{path}: {name}: expected a list of results with the keys "
                    f"{', '.join(PUBLISHED_COLUMNS)}, found {row}"
                )
    return published


def published_table(
    results: SetResults, ours: str, params_m: float | None, published: Sequence[dict[str, Any]]
) -> str:
    """Our results at every depth, then the published ones, as they were published.

    Args:
        results: our scores of the test set.
        ours: name of our model.
        params_m: its millions of parameters, if known.
        published: rows of :func:`read_published`.
    """
    shown = ALWAYS_SHOWN.union(*published)
    columns = [column for column in PUBLISHED_COLUMNS if column in shown]
    params = "" if params_m is None else f"{params_m:.1f}"
    rows: list[dict[str, Any]] = []
    for scored in results.depths:
        row = {metric: f"{scored.mean(metric):.2f}" for metric in METRICS}
        for metric in IMPROVED:
            gains = list(results.improvement(scored, metric).values())
            row[f"{metric}i"] = f"{np.mean(gains):.2f}"
        about = {"model": f"**{ours}**", "n_re": scored.label, "params_m": params}
        rows.append({**about, **row, "source": "this run"})
    rows += published
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    return markdown_table([PUBLISHED_COLUMNS[name] for name in columns], cells, compact=True)


def number(value: float) -> str:
    """A score as text; beyond 100 dB (a mixture's SAR) it is rounding noise, in truth infinite."""
    return "inf" if value > MAX_SCORE else f"{value:.2f}"


def depth_table(results: SetResults, metrics: Sequence[str], cost: Mapping[str, float]) -> str:
    """Mean scores by depth, the mixture first; then the improvements, and the cost if known."""
    header = ["N_re", *metrics, *(f"{metric}i" for metric in IMPROVED), "worse"]
    rows = []
    for scored in [results.mixture, *results.depths]:
        row = [scored.label, *(number(scored.mean(metric)) for metric in metrics)]
        for metric in IMPROVED:
            gains = list(results.improvement(scored, metric).values())
            row.append("" if scored is results.mixture else f"{np.mean(gains):.2f}")
        row.append("" if scored is results.mixture else f"{np.mean(np.less(gains, 0)):.0%}")
        if cost:
            row.append("" if scored is results.mixture else f"{cost[scored.label]:.2f}")
        rows.append(row)
    return markdown_table(header + ["GMAC/s"] * bool(cost), rows, compact=True)


def pair_table(results: SetResults) -> str:
    """SI-SNRi by depth for the pairs of sexes that the mixtures' names begin with, or nothing."""
    keys = results.mixture.scores["SI_SNR"]
    by_pair = {pair: [key for key in keys if key.startswith(f"{pair}_")] for pair in PAIRS}
    by_pair = {pair: members for pair, members in by_pair.items() if members}
    if not by_pair:
        return ""
    header = ["N_re", *(f"{PAIRS[pair]} ({len(members)})" for pair, members in by_pair.items())]
    rows = []
    for scored in results.depths:
        gains = results.improvement(scored, "SI_SNR")
        means = (np.mean([gains[key] for key in members]) for members in by_pair.values())
        rows.append([scored.label, *(f"{mean:.2f}" for mean in means)])
    return "### SI_SNRi by sex\n\n" + markdown_table(header, rows, compact=True)


def file_table(results: SetResults) -> str:
    """SI-SNR of the mixture and SI-SNRi at each depth, for up to 30 utterances evenly chosen."""
    own = results.mixture.scores["SI_SNR"]
    keys = list(own)
    chosen = np.linspace(0, len(keys) - 1, min(len(keys), MAX_FILE_ROWS)).round().astype(int)
    gains = [results.improvement(scored, "SI_SNR") for scored in results.depths]
    header = ["mixture", "SI_SNR", *(f"SI_SNRi at {scored.label}" for scored in results.depths)]
    rows = []
    for index in chosen:
        key = keys[index]
        rows.append([key, f"{own[key]:.2f}", *(f"{gain[key]:.2f}" for gain in gains)])
    return markdown_table(header, rows, compact=True)


def set_section(
    results: SetResults, metrics: Sequence[str], cost: Mapping[str, float], beside: str = ""
) -> str:
    """The Markdown section of one test set; ``beside`` is a table of published results."""
    count = len(results.mixture.scores["SI_SNR"])
    shown = min(count, MAX_FILE_ROWS)
    text = f"## {results.name}\n\n{count} mixtures. Scores are means over speakers, then mixtures; "
    text += (
        "STOI in percent, the others in dB; SDRi and SI_SNRi are improvements over the mixture; "
    )
    text += "worse: share of mixtures whose SI_SNRi is negative."
    if cost:
        from espnet2_tisdiss.evaluate.cost import COUNTED_SECONDS  # here because it imports PyTorch

        text += (
            " GMAC/s: the separator's billions of multiply-adds for a second of audio, counted on "
            f"{COUNTED_SECONDS:g} s."
        )
    if results.measured_levels:
        text += f" {MEASURED_LEVELS_NOTE}"
    text += f"\n\n{depth_table(results, metrics, cost)}\n"
    if pairs := pair_table(results):
        text += f"{pairs}\n"
    if beside:
        text += f"### Beside published results\n\n{beside}\n"
    text += f"### By mixture ({shown} of {count}; all of them are in RESULTS.csv)\n\n"
    text += file_table(results) + "\n"
    for scored in results.depths:
        lists = sorted((scored.folder or Path()).glob("scoring/wav_spk*"))
        paths = [next(iter(read_scp(path).values())) for path in lists]
        text += f"First mixture separated, N_re {scored.label}: "
        text += ", ".join(f"`{path}`" for path in paths) + "\n\n"
    return text


def environment(repository: Path) -> str:
    """The environment as a Markdown list."""
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
        f"espnet version: `{_version('espnet')}`",
        f"pytorch version: `{_version('torch')}`",
        f"git hash: `{commit}`",
    ]
    return "".join(f"- {line}\n" for line in lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def write_csv(path: Path, all_results: Sequence[SetResults]) -> None:
    """One row for each set, depth and utterance, with all metrics and improvements."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["dataset", "n_re", "utterance", *METRICS, *(f"{metric}i" for metric in IMPROVED)]
        )
        for results in all_results:
            for scored in [results.mixture, *results.depths]:
                gains = [results.improvement(scored, metric) for metric in IMPROVED]
                for key in scored.scores["SI_SNR"]:
                    values = [scored.scores[metric][key] for metric in METRICS]
                    values += [gain[key] for gain in gains]
                    numbers = (f"{value:.4f}" for value in values)
                    writer.writerow([results.name, scored.label, key, *numbers])


def read_gains(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Read the SI-SNR improvements, in dB, of a table that :func:`write_csv` wrote.

    Returns:
        Test set -> depth, as text -> utterance -> improvement.

    Raises:
        FileNotFoundError: there is no such file.
        TisdissError: it is no such table.
    """
    tables: dict[str, dict[str, dict[str, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["n_re"] != "mixture":
                    depths = tables.setdefault(row["dataset"], {})
                    gains = depths.setdefault(row["n_re"], {})
                    gains[row["utterance"]] = float(row["SI_SNRi"])
    except (KeyError, ValueError, TypeError) as error:
        raise TisdissError(f"{path}: is no table of stage 8: {error}") from None
    return tables


def write_picture(path: Path, all_results: Sequence[SetResults], cost: Mapping[str, float]) -> bool:
    """Draw mean and spread of SI-SNRi against cost, a line for each test set.

    Returns:
        Whether there is a picture: not without a cost, or where no depth was chosen. An older one
        is removed then.
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
        write_atomically(path, draw_quality(data_sets, MULTIPLY_ADDS))
    else:
        path.unlink(missing_ok=True)
    return bool(data_sets)


def write_report(
    enh_exp: Path,
    model: str,
    all_results: Sequence[SetResults],
    metrics: Sequence[str],
    cost: Mapping[str, float],
    beside: Mapping[str, str],
) -> None:
    """Write RESULTS.md, RESULTS.csv and the picture into ``enh_exp``.

    Args:
        enh_exp: folder of the experiment.
        model: the model file that was scored.
        all_results: the scores of all test sets.
        metrics: those that are shown.
        cost: billions of multiply-adds for a second of audio, by depth; may be empty.
        beside: table of published results, by test set.
    """
    write_csv(enh_exp / "RESULTS.csv", all_results)
    picture = write_picture(enh_exp / PICTURE, all_results, cost)
    text = "# RESULTS\n\n## Environments\n\n" + environment(Path(__file__).parent)
    text += f"\n## {enh_exp.name}\n\n- config: `{enh_exp / 'config.yaml'}`\n- model: `{model}`\n\n"
    if picture:
        text += f"![SI-SNRi against cost, by N_re]({PICTURE})\n\n"
    text += "".join(
        set_section(results, metrics, cost, beside.get(results.name, "")) for results in all_results
    )
    write_atomically(enh_exp / "RESULTS.md", text.rstrip("\n") + "\n")


def depth_tables(report: str) -> str:
    """The tables by depth of a RESULTS.md, each below its test set's name."""
    found = re.findall(r"^## (.+\n)\n.+\n\n((?:\|.+\n)+)", report, flags=re.MULTILINE)
    return "\n".join(name + table for name, table in found)


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--enh_exp", type=Path, required=True, help="experiment folder")
    parser.add_argument("--model", required=True, help="the model file that was scored")
    parser.add_argument("--fs", type=int, required=True, help="sample rate in Hz")
    parser.add_argument(
        "--inference_config", type=Path, help="what changed of the model's configuration"
    )
    parser.add_argument("--metrics", nargs="+", choices=METRICS, required=True)
    parser.add_argument(
        "--mixture",
        action="append",
        nargs=2,
        required=True,
        metavar=("SET", "FOLDER"),
        help="scoring folder of a set's unprocessed mixtures",
    )
    parser.add_argument(
        "--scored",
        action="append",
        nargs=3,
        required=True,
        metavar=("SET", "N_RE", "FOLDER"),
        help="folder of separated and scored files; N_RE may be 'default'",
    )
    parser.add_argument(
        "--published", type=Path, help="YAML file of published results to show beside ours"
    )
    parser.add_argument("--only_print", action="store_true", help="print the tables, write nothing")
    return parser


def make_report(args: argparse.Namespace) -> None:
    """Read the scores and write the report."""
    metrics = [metric for metric in METRICS if metric in args.metrics]
    published = read_published(args.published) if args.published else {}
    all_results = [
        read_set(
            name,
            Path(folder),
            [(n_re, Path(scored)) for owner, n_re, scored in args.scored if owner == name],
        )
        for name, folder in args.mixture
    ]
    config = read_yaml(args.enh_exp / "config.yaml")
    changes = read_yaml(args.inference_config) if args.inference_config else {}
    parts = build_model(config, changes)
    cost = cost_by_depth(parts, args.fs, {n_re for _, n_re, _ in args.scored})
    params_m = count_parameters(parts)
    beside = {
        results.name: published_table(results, args.enh_exp.name, params_m, published[results.name])
        for results in all_results
        if results.name in published
    }
    write_report(args.enh_exp, args.model, all_results, metrics, cost, beside)


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
