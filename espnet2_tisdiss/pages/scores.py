"""The scores that a folder holds: an experiment's RESULTS.csv, or a sweep's mixtures.csv."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError

RESULTS, SWEEP = "RESULTS.csv", "mixtures.csv"
GAIN = "SI-SNRi"
# headings by the columns of the two files; other columns are left out
UNCHANGED = ("SDRi", "SDR", "SIR", "SAR", "STOI", "ESTOI")
METRICS = {
    RESULTS: {"SI_SNRi": GAIN, "SI_SNR": "SI-SNR", **{name: name for name in UNCHANGED}},
    SWEEP: {"si_snri": GAIN, "si_snr": "SI-SNR", "sdri": "SDRi"},
}


@dataclass
class SetScores:
    """Scores of a test set.

    Attributes:
        name: its name.
        depths: N_re as text -> metric -> mixture -> score.
    """

    name: str
    depths: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def gains(self, n_re: str) -> dict[str, float]:
        """Return the SI-SNR improvement of each mixture at a depth, in dB."""
        return self.depths[n_re][GAIN]

    @property
    def best(self) -> str:
        """The depth with the highest mean SI-SNR improvement."""
        return max(self.depths, key=lambda n_re: _mean(self.gains(n_re)))

    def worst(self, count: int) -> list[str]:
        """Return the mixtures that gain least at the best depth, the worst first."""
        gains = self.gains(self.best)
        return sorted(gains, key=gains.__getitem__)[:count]

    def means(self, n_re: str) -> dict[str, float]:
        """Return the mean of each metric at a depth."""
        return {name: _mean(scores) for name, scores in self.depths[n_re].items()}


def read_scores(folder: Path) -> list[SetScores]:
    """Return the scores of each test set of a folder; empty if it has no such file.

    Raises:
        TisdissError: a file is not such a table.
    """
    if (folder / RESULTS).is_file():
        return _read(folder / RESULTS, lambda row: (row["dataset"], row["utterance"]))
    if (folder / SWEEP).is_file():
        return _read(folder / SWEEP, lambda row: (folder.name, row["mixture"]))
    return []


def _read(path: Path, names: Callable[[Mapping[str, str]], tuple[str, str]]) -> list[SetScores]:
    """Read a table; ``names`` gives a row's test set and mixture."""
    sets: dict[str, SetScores] = {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                # the scores of the mixture itself, before the separation
                if row["n_re"] == "mixture":
                    continue
                dataset, mixture = names(row)
                scores = sets.setdefault(dataset, SetScores(dataset))
                depth = scores.depths.setdefault(row["n_re"], {})
                for column, heading in METRICS[path.name].items():
                    if row.get(column):
                        depth.setdefault(heading, {})[mixture] = float(row[column])
        if any(GAIN not in depth for scores in sets.values() for depth in scores.depths.values()):
            raise KeyError(GAIN)
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise TisdissError(f"{path}: is no table of scores ({error}); make it again") from None
    return list(sets.values())


def _mean(scores: Mapping[str, float]) -> float:
    return sum(scores.values()) / len(scores)
