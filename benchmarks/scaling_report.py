"""Tables and picture of the scaling experiment, from the finished runs."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from depth_gain import Epochs, draw_gain, gain_table, read_epochs
from results import table
from scaling_variants import TRAINED_AT, VARIANTS, VARIED, Run, Variant

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import new_figure, png
from espnet2_tisdiss.network.config import TISDiSSConfig
from espnet2_tisdiss.recipes.stages import set_results
from espnet2_tisdiss.recipes.stages.model_cost import build_model, cost_by_depth, count_parameters
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONFIDENCE = 0.95
# entries that may differ between the trainings' configurations in a fair comparison: names of runs,
# the machine and logging
FREE = re.compile(
    r"config|output_dir|seed|ngpu|num_workers|log_.*|.*wandb.*|use_(tensorboard|matplotlib)"
    r"|create_graph_in_tensorboard|num_att_plot|resume|dist_.*|local_rank|.*distributed"
    r"|valid_batch_.*|.*max_cache_.*"
)


@dataclass(frozen=True)
class Outcome:
    """Scores of all finished runs of one model.

    Attributes:
        variant: the model.
        config: of its first training.
        gains: seed -> N_re -> SI-SNRi in dB of the test mixtures (mixture,). A model without
            repetitions has the N_re of equal cost.
    """

    variant: Variant
    config: dict[str, Any]
    gains: dict[int, dict[int, np.ndarray]]

    @property
    def depths(self) -> list[int]:
        """N_re at which all seeds were scored."""
        return sorted(set.intersection(*(set(gains) for gains in self.gains.values())))

    def by_seed(self, n_re: int) -> list[float]:
        """Mean SI-SNRi over the mixtures, of each seed."""
        return [float(gains[n_re].mean()) for gains in self.gains.values()]

    def mean(self, n_re: int) -> float:
        """Mean SI-SNRi over mixtures and seeds."""
        return float(np.mean(self.by_seed(n_re)))

    @property
    def best(self) -> int:
        """N_re of the highest mean; the smallest of several."""
        return max(self.depths, key=lambda n_re: (self.mean(n_re), -n_re))


def read_gains(folder: Path) -> dict[int, dict[str, float]]:
    """Read the SI-SNRi of the mixtures of all test sets, by N_re, from an experiment's RESULTS.csv.

    Raises:
        TisdissError: the file is missing, or stage 8 did not write it.
    """
    path = folder / "RESULTS.csv"
    gains: dict[int, dict[str, float]] = {}
    try:
        for name, depths in set_results.read_gains(path).items():
            for n_re, scores in depths.items():
                of_depth = gains.setdefault(int(n_re), {})
                of_depth |= {f"{name}/{utterance}": gain for utterance, gain in scores.items()}
    except FileNotFoundError:
        raise TisdissError(
            f"{path}: no such file; remove {folder / '.results'} and run again"
        ) from None
    except ValueError as error:  # includes TisdissError
        raise TisdissError(f"{path}: not the scores of a model by depth ({error})") from None
    return gains


def collect(runs: Iterable[Run]) -> list[Outcome]:
    """Read the finished runs, by model.

    Raises:
        TisdissError: there are none, or some were trained or scored under different conditions.
    """
    outcomes: dict[str, Outcome] = {}
    first: tuple[Run, dict[str, Any], list[str]] | None = None
    for run in runs:
        if not run.finished:
            continue
        config, scores = read_yaml(run.folder / "config.yaml"), read_gains(run.folder)
        keys = sorted({key for gains in scores.values() for key in gains})
        found = conditions(config)
        first = first or (run, found, keys)
        for name in sorted(found | first[1]):
            if found.get(name) != first[1].get(name):
                raise TisdissError(
                    f"{run.folder} was trained with another {name} than {first[0].folder}: train "
                    "both alike, or leave one out"
                )
        if any(sorted(gains) != first[2] for gains in scores.values()):
            raise TisdissError(f"{run.folder} and {first[0].folder} differ in their test mixtures")
        outcome = outcomes.setdefault(run.variant.name, Outcome(run.variant, config, {}))
        outcome.gains[run.seed] = {
            run.variant.n_re if run.variant.one_depth else n_re: np.array([gains[k] for k in keys])
            for n_re, gains in scores.items()
        }
    if first is None:
        raise TisdissError("no run is finished: there is nothing to report")
    if len(first[2]) < 2:
        raise TisdissError(f"{first[0].folder}: a comparison needs two test mixtures or more")
    for name, outcome in outcomes.items():
        if not outcome.depths:
            raise TisdissError(f"{name}: its seeds share no depth: give them all the same --n_re")
    return list(outcomes.values())


def conditions(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a training's configuration that must be equal in all runs."""
    options = config.get("separator_conf", {})
    fixed = {name: value for name, value in options.items() if name not in VARIED}
    alike = {name: value for name, value in config.items() if not FREE.fullmatch(name)}
    return alike | {"separator_conf": fixed}


def sample_rate(config: Mapping[str, Any]) -> int:
    """Return a configuration's sample rate in Hz."""
    return config["separator_conf"].get("sample_rate", TISDiSSConfig.sample_rate)


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation of two or more values; None for one."""
    return None if len(values) < 2 else float(np.std(values, ddof=1))


def quality_table(outcomes: Sequence[Outcome]) -> str:
    """Return SI-SNRi of every model by N_re, its best depth bold; the last row is the cost."""
    depths = sorted({n_re for outcome in outcomes for n_re in outcome.depths})
    header = ["model", "trained at", "seeds", "M parameters", *(f"N_re {n}" for n in depths)]
    parts = {one.variant.name: build_model(one.config, {}) for one in outcomes}
    rows = []
    for outcome in outcomes:
        cells = {n_re: _cell(outcome.by_seed(n_re)) for n_re in outcome.depths}
        if not outcome.variant.one_depth:
            cells[outcome.best] = f"**{cells[outcome.best]}**"
        row = [outcome.variant.name, str(outcome.variant.n_re), ", ".join(map(str, outcome.gains))]
        row.append(f"{count_parameters(parts[outcome.variant.name]):.2f}")
        rows.append([*row, *(cells.get(n_re, "") for n_re in depths)])
    shared = next((one for one in outcomes if not one.variant.one_depth), None)
    if shared is not None:
        of_shared, labels = parts[shared.variant.name], [str(n_re) for n_re in depths]
        cost = cost_by_depth(of_shared, sample_rate(shared.config), labels)
        rows.append(["GMAC/s", "", "", "", *(f"{cost[str(n_re)]:.2f}" for n_re in depths)])
    return table(header, rows)


def _cell(by_seed: Sequence[float]) -> str:
    deviation = spread(by_seed)
    return f"{np.mean(by_seed):.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


class Difference(NamedTuple):
    """Difference of two models on the same mixtures, in dB.

    Attributes:
        by_seed: mean over the mixtures, of each seed.
        low: lower end of the interval for the mean over mixtures and seeds.
        high: upper end.
    """

    by_seed: list[float]
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Say whether the difference is significant."""
        if self.low <= 0 <= self.high:
            return "not significant"
        if min(self.by_seed) <= 0 <= max(self.by_seed):
            return "not significant: the seeds disagree"
        return "significant" if len(self.by_seed) > 1 else "significant in one training"


def compare(better: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> Difference:
    """Compare two models mixture by mixture.

    The bootstrap interval covers the choice of mixtures, not the randomness of training:
    :attr:`Difference.by_seed` shows how much the trainings differ.

    Args:
        better: SI-SNRi (mixture,) of one model, of each seed.
        other: of the other one, with the same seeds and mixtures.
    """
    from scipy.stats import bootstrap

    by_seed = np.subtract(better, other)  # (seed, mixture)
    found = bootstrap(
        (by_seed.mean(axis=0),),
        np.mean,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    means = [float(mean) for mean in by_seed.mean(axis=1)]
    return Difference(means, *map(float, found.confidence_interval))


def claims(outcomes: Sequence[Outcome]) -> list[tuple[str, str, int, str, int]]:
    """Return the comparisons: a question, a model and its depth, another model and its depth."""
    by_name = {outcome.variant.name: outcome for outcome in outcomes}
    asked = [
        (f"{name}: its best N_re against {n_re}", name, outcome.best, name, n_re)
        for name, outcome in by_name.items()
        if not outcome.variant.one_depth
        for n_re in sorted({1, outcome.variant.n_re})
    ]
    asked += [
        (f"re{deep} against re{n_re}, both at N_re {n_re}", f"re{deep}", n_re, f"re{n_re}", n_re)
        for n_re, deep in itertools.combinations(TRAINED_AT, 2)
    ]
    asked += [
        (f"re3 against {name}, at equal cost", "re3", 3, name, 3)
        for name in ("unshared", "single_loss")
    ]
    return [
        claim
        for claim in asked
        if all(name in by_name and n in by_name[name].depths for name, n in (claim[1:3], claim[3:]))
    ]


def claims_table(outcomes: Sequence[Outcome]) -> str:
    """Return the comparisons as a table: interval, mean of each seed, significance."""
    by_name = {outcome.variant.name: outcome.gains for outcome in outcomes}
    rows = []
    for question, name, n_re, other, other_n_re in claims(outcomes):
        if (name, n_re) == (other, other_n_re):
            rows.append([question, "", "", "", f"it is best at N_re {n_re}"])
            continue
        if not (seeds := [seed for seed in by_name[name] if seed in by_name[other]]):
            continue
        found = compare(
            [by_name[name][seed][n_re] for seed in seeds],
            [by_name[other][seed][other_n_re] for seed in seeds],
        )
        depth = f" (N_re {n_re})" if name == other else ""
        each = ", ".join(f"{mean:+.2f}" for mean in found.by_seed)
        interval = f"[{found.low:+.2f}, {found.high:+.2f}]"
        mean = f"{np.mean(found.by_seed):+.2f}"
        rows.append([question + depth, mean, interval, each, found.verdict])
    header = ["comparison", "dB", f"{CONFIDENCE:.0%} interval", "by seed", "verdict"]
    return table(header, rows)


def trainings(runs: Iterable[Run], longer: Sequence[Path]) -> dict[str, list[Epochs]]:
    """Return the epochs of finished runs by model, and of other experiments by folder name.

    Trainings without a loss at several repetitions are left out.
    """
    found: dict[str, list[Epochs]] = {}
    folders = [(run.variant.name, run.folder) for run in runs if run.finished]
    counts = Counter(folder.name for folder in longer)
    others = [
        (folder.name if counts[folder.name] == 1 else str(folder), folder) for folder in longer
    ]
    for name, folder in [*folders, *others]:
        if epochs := read_epochs(folder):
            found.setdefault(name, []).append(epochs)
    return found


def draw(outcomes: Sequence[Outcome], trained: Mapping[str, Sequence[Epochs]]) -> bytes:
    """Draw the models' quality by depth, and the gain from depth in the course of training.

    Returns:
        The picture as the content of a PNG file.
    """
    size = (11 if trained else 6, 4.5)
    figure, grid = new_figure(size, ncols=1 + bool(trained), squeeze=False)
    quality, *others = grid[0]
    _draw_quality(quality, outcomes)
    for axes in others:
        for name, seeds in trained.items():
            draw_gain(axes, name, seeds[0], _colour(name, trained))
        axes.set(xlabel="SI-SNR after 1 repetition [dB]", ylabel="the last one adds [dB]")
        axes.set_title(
            "Training mixtures; one point for each epoch (first seed)", fontsize="medium"
        )
        axes.grid(alpha=0.3)
        axes.legend()
    return png(figure, dpi=100)


def _colour(name: str, others: Iterable[str] = ()) -> str:
    """Return a model's colour, the same in both halves of the picture."""
    names = dict.fromkeys([*VARIANTS, *others])
    return f"C{list(names).index(name)}"


def _draw_quality(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draw SI-SNRi against N_re: a line for each model, with the spread over its seeds.

    A square marks the depth of training, a star a model without repetitions.
    """
    from matplotlib.ticker import MaxNLocator

    for outcome in outcomes:
        colour = _colour(outcome.variant.name)
        depths = outcome.depths
        means = np.array([outcome.mean(n_re) for n_re in depths])
        deviations = np.array([spread(outcome.by_seed(n_re)) or 0.0 for n_re in depths])
        if outcome.variant.one_depth:  # beside the squares at the same depth
            beside = np.add(depths, 0.15)
            axes.errorbar(beside, means, deviations, color=colour, capsize=3)
            axes.plot(beside, means, "*", color=colour, label=outcome.variant.name, markersize=10)
            continue
        axes.plot(depths, means, ".-", color=colour, label=outcome.variant.name, markersize=10)
        axes.fill_between(depths, means - deviations, means + deviations, alpha=0.2, color=colour)
        if (n_re := outcome.variant.n_re) in depths:
            axes.plot(n_re, outcome.mean(n_re), "s", color=colour, markersize=8)
    axes.set(xlabel="repetitions N_re at inference", ylabel="SI-SNR improvement [dB]")
    axes.set_title("Band: deviation over seeds; square: depth of training", fontsize="medium")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()


def report_text(
    runs: Sequence[Run], outcomes: Sequence[Outcome], trained: Mapping[str, Sequence[Epochs]]
) -> str:
    """Return the page's section: conditions, tables, and which runs are missing."""
    config = outcomes[0].config
    steps = config["max_epoch"] * config["num_iters_per_epoch"]
    mixtures = len(next(iter(next(iter(outcomes[0].gains.values())).values())))
    mixed = config.get("mixing_conf")  # training mixtures are drawn in every step
    segment = mixed["seconds"] if mixed else config["speech_segment"] / sample_rate(config)
    parts = [
        f"{steps} steps of {config['batch_size']} segments of "
        f"{segment:g} s; {mixtures} test mixtures.\n",
        "SI-SNRi in dB: mean over mixtures and seeds ± standard deviation over seeds\n\n"
        f"{quality_table(outcomes)}",
        f"Paired comparisons over the test mixtures\n\n{claims_table(outcomes)}",
    ]
    if trained:
        parts.append(
            "SI-SNR in dB on the training mixtures, mean over the epoch that ends there: the first "
            "repetition, and the gain of the last one over it\n\n"
            f"{gain_table(trained)}"
        )
    if missing := [run.name for run in runs if not run.finished]:
        parts.append(f"Not finished yet: {', '.join(missing)}.\n")
    return "\n".join(parts)
