"""RESULTS.md: its tables and the section of each test set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.stages.join_scores import METRICS
from espnet2_tisdiss.recipes.stages.set_results import IMPROVED, SetResults
from espnet2_tisdiss.user_files import read_yaml

MAX_FILE_ROWS = 30
MAX_SCORE = 100.0
# beginnings of the mixtures' names in the recipes that know the speakers' sex
PAIRS = {"FF": "two women", "MM": "two men", "FM": "woman and man"}
GAINS = tuple(f"{metric}i" for metric in IMPROVED)
# columns of published results -> their headings; scores that nobody published are left out
PUBLISHED_COLUMNS = {"model": "model", "n_re": "N_re", "params_m": "M parameters"}
PUBLISHED_COLUMNS |= {name: name for name in (*METRICS, *GAINS, "source")}
PUBLISHED_SHOWN = 3  # in the picture
ALWAYS_SHOWN = {"model", "n_re", "params_m", "SI_SNR", "SDRi", "SI_SNRi", "source"}
MEASURED_LEVELS_NOTE = (
    "**These are not the published mixtures:** the speakers' levels were measured here "
    "(--measure_levels), so the scores do not compare with published ones."
)


def read_published(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read published results: test set -> rows with (some of) the keys ``PUBLISHED_COLUMNS``."""
    published = read_yaml(path)
    for name, rows in published.items():
        for row in rows if isinstance(rows, list) else [None]:
            if not isinstance(row, dict) or not row.keys() <= set(PUBLISHED_COLUMNS):
                raise TisdissError(
                    f"{path}: {name}: expected a list of results with the keys "
                    f"{', '.join(PUBLISHED_COLUMNS)}, found {row}"
                )
    return published


def best_published(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the best SI-SNRi of the best published models, by name and depth."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "SI_SNRi" in row:
            one = best.setdefault(row["model"], row)
            if float(row["SI_SNRi"]) > float(one["SI_SNRi"]):
                best[row["model"]] = row
    ranked = sorted(best.values(), key=lambda row: float(row["SI_SNRi"]), reverse=True)
    return {_published_name(row): float(row["SI_SNRi"]) for row in ranked[:PUBLISHED_SHOWN]}


def _published_name(row: dict[str, Any]) -> str:
    depth = f", N_re {row['n_re']}" if "n_re" in row else ""
    return f"{row['model']}{depth} (published)"


def published_table(
    results: SetResults, ours: str, params_m: float | None, published: Sequence[dict[str, Any]]
) -> str:
    """Return a table of our results at every depth, then the published ones as published.

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
        row = {"model": f"**{ours}**", "n_re": scored.label, "params_m": params}
        row |= {metric: f"{scored.mean(metric):.2f}" for metric in METRICS}
        row |= zip(GAINS, results.mean_improvements(scored), strict=True)
        rows.append({**row, "source": "this run"})
    rows += published
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    return markdown_table([PUBLISHED_COLUMNS[name] for name in columns], cells, compact=True)


def number(value: float) -> str:
    """Return a score as text; above 100 dB (a mixture's SAR) it is infinite except for rounding."""
    return "inf" if value > MAX_SCORE else f"{value:.2f}"


def depth_table(results: SetResults, metrics: Sequence[str], cost: Mapping[str, float]) -> str:
    """Return mean scores and improvements by depth, the mixture first, and the cost if known."""
    header = ["N_re", *metrics, *GAINS, "worse", *["GMAC/s"] * bool(cost)]
    rows = []
    for scored in [results.mixture, *results.depths]:
        row = [scored.label, *(number(scored.mean(metric)) for metric in metrics)]
        if scored is not results.mixture:
            worse = np.less(list(results.improvement(scored, "SI_SNR").values()), 0)
            row += [*results.mean_improvements(scored), f"{np.mean(worse):.0%}"]
            if cost:
                row.append(f"{cost[scored.label]:.2f}")
        rows.append(row + [""] * (len(header) - len(row)))
    return markdown_table(header, rows, compact=True)


def by_pair(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return the mixtures of each pair of sexes, in words, where their names begin with it."""
    members: dict[str, list[str]] = {}
    for start, pair in PAIRS.items():
        if found := [key for key in keys if key.startswith(f"{start}_")]:
            members[pair] = found
    return members


def pair_table(results: SetResults) -> str:
    """Return SI-SNRi by depth and pair of sexes; empty unless the mixtures' names begin with it."""
    keys = results.mixture.scores["SI_SNR"]
    pairs = by_pair(keys)
    if not pairs:
        return ""
    header = ["N_re", *(f"{pair} ({len(members)})" for pair, members in pairs.items())]
    rows = []
    for scored in results.depths:
        gains = results.improvement(scored, "SI_SNR")
        means = (np.mean([gains[key] for key in members]) for members in pairs.values())
        rows.append([scored.label, *(f"{mean:.2f}" for mean in means)])
    return "### SI_SNRi by sex\n\n" + markdown_table(header, rows, compact=True)


def file_table(results: SetResults) -> str:
    """Return SI-SNR and SI-SNRi at each depth for ``MAX_FILE_ROWS`` evenly chosen mixtures."""
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
    """Return the section of one test set; ``beside`` is a table of published results to show."""
    count = len(results.mixture.scores["SI_SNR"])
    shown = min(count, MAX_FILE_ROWS)
    text = (
        f"## {results.name}\n\n{count} mixtures. Scores are means over speakers, then mixtures; "
        "STOI in percent, the others in dB; SDRi and SI_SNRi are improvements over the mixture; "
        "worse: share of mixtures whose SI_SNRi is negative."
    )
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
        text += f"### Comparison with published results\n\n{beside}\n"
    text += f"### By mixture ({shown} of {count}; all of them are in RESULTS.csv)\n\n"
    text += file_table(results) + "\n"
    for scored in results.depths:
        lists = sorted((scored.folder or Path()).glob("scoring/wav_spk*"))
        paths = [next(iter(read_scp(path).values())) for path in lists]
        text += f"First mixture separated, N_re {scored.label}: "
        text += ", ".join(f"`{path}`" for path in paths) + "\n\n"
    return text


def depth_tables(report: str) -> str:
    """Return the tables by depth of a RESULTS.md, each below its test set's name."""
    found = re.findall(r"^## (.+\n)\n.+\n\n((?:\|.+\n)+)", report, flags=re.MULTILINE)
    return "\n".join(name + table for name, table in found)
