"""A LibriMix tree: its folders, and its tables of mixtures.

The tree is ``Libri<N>Mix/wav<rate>/<min or max>/<set>/<signal>/<mixture_ID>.wav``; the signals are
``s1 s2 [s3]``, ``noise`` and the conditions ``mix_clean``, ``mix_both`` and ``mix_single``.  Next
to the sets, ``metadata/mixture_<set>_<condition>.csv`` lists the files with absolute paths.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.recipes.corpora.tables import read_table
from espnet2_tisdiss.recipes.corpora.tree import Tree

CONDITIONS = ("mix_clean", "mix_both", "mix_single")
# LibriMix's name of a set -> LibriSpeech's
SUBSETS = {
    "train-360": "train-clean-360",
    "train-100": "train-clean-100",
    "dev": "dev-clean",
    "test": "test-clean",
}
# number of speakers -> set -> number of mixtures
KNOWN_COUNTS = {
    2: {"train-360": 50800, "train-100": 13900, "dev": 3000, "test": 3000},
    3: {"train-360": 33900, "train-100": 9300, "dev": 3000, "test": 3000},
}


@dataclass(frozen=True)
class Task(Tree):
    """A version of LibriMix's mixtures.

    Attributes:
        num_spk: number of speakers: 2 for Libri2Mix, 3 for Libri3Mix.
        condition: ``mix_clean`` adds the speakers, ``mix_both`` the speakers and noise,
            ``mix_single`` the first speaker and noise.
    """

    num_spk: int
    condition: str

    @property
    def noisy(self) -> bool:
        """Whether noise is added."""
        return self.condition != "mix_clean"

    @property
    def sources(self) -> list[str]:
        """Folders of the speakers in the mixture."""
        heard = 1 if self.condition == "mix_single" else self.num_spk
        return [f"s{number + 1}" for number in range(heard)]

    @property
    def folder(self) -> Path:
        """Its folder in a tree."""
        return Path(f"Libri{self.num_spk}Mix", f"wav{self.rate_name}", self.version)

    @property
    def lists(self) -> dict[str, str]:
        """The lists of a data directory and the folder of each, the mixture first."""
        lists = {"wav.scp": self.condition}
        lists |= {f"spk{source[1:]}.scp": source for source in self.sources}
        return lists | ({"noise1.scp": "noise"} if self.noisy else {})

    def table(self, sets: Path, name: str) -> Path:
        """Return the path of a set's table of mixtures."""
        return sets / "metadata" / f"mixture_{name}_{self.condition}.csv"


def mixtures_in_tree(sets: Path, task: Task, name: str) -> list[str]:
    """Return the IDs of a set's mixtures, from its table or else from its files.

    The table's paths are ignored, because they are those of the machine that made the tree.
    """
    table = task.table(sets, name)
    if not table.is_file():
        return task.mixtures(sets / name)
    return [row["mixture_ID"] for _, row in read_table(table, ["mixture_ID"])]


def write_mixture_table(
    sets: Path, task: Task, name: str, lengths: Sequence[tuple[str, int]]
) -> None:
    """Write the table of a new set, in the form that other programs for LibriMix expect.

    Args:
        sets: folder of the sets.
        task: which mixtures.
        name: the set.
        lengths: ID and number of samples of every mixture.
    """
    columns = ["mixture_ID", "mixture_path"]
    columns += [f"source_{number + 1}_path" for number in range(len(task.sources))]
    columns += ["noise_path"] * task.noisy + ["length"]
    with (
        replacing(task.table(sets, name)) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for mixture, length in lengths:
            writer.writerow([mixture, *task.files(sets / name, mixture).values(), length])
