"""Scores of test sets by depth: read from the scoring folders, kept in RESULTS.csv."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.data_directories import LEVELS_LIST
from espnet2_tisdiss.recipes.stages.join_scores import METRICS, read_scores

# metrics whose improvement over the mixture is reported
IMPROVED = ("SDR", "SI_SNR")


@dataclass(frozen=True)
class Scored:
    """Scores of one test set at one depth.

    Attributes:
        label: the depth as text, "mixture", or "default" if no depth was requested.
        folder: folder of the separated files (None for the mixture).
        scores: metric -> utterance -> score.
    """

    label: str
    folder: Path | None
    scores: dict[str, dict[str, float]]

    def mean(self, metric: str) -> float:
        """Return the mean over the utterances."""
        return float(np.mean(list(self.scores[metric].values())))


@dataclass(frozen=True)
class SetResults:
    """Everything about one test set.

    Attributes:
        name: its name.
        mixture: the mixtures' own scores.
        depths: the scores at each depth.
        measured_levels: whether the mixtures have measured levels, unlike the published ones.
    """

    name: str
    mixture: Scored
    depths: list[Scored]
    measured_levels: bool = False

    def improvement(self, scored: Scored, metric: str) -> dict[str, float]:
        """Return utterance -> score minus the mixture's."""
        own = self.mixture.scores[metric]
        return {key: score - own[key] for key, score in scored.scores[metric].items()}

    def mean_improvements(self, scored: Scored) -> list[str]:
        """Return the mean of each of ``IMPROVED``, as text."""
        gains = (list(self.improvement(scored, metric).values()) for metric in IMPROVED)
        return [f"{np.mean(values):.2f}" for values in gains]


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


def write_csv(path: Path, all_results: Sequence[SetResults]) -> None:
    """Write one row for each set, depth and utterance, with all metrics and improvements."""
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
        TisdissError: the file is not such a table.
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
        raise TisdissError(f"{path}: not a table of stage 8: {error}") from None
    return tables
