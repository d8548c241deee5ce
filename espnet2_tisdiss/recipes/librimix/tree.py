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
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import Version
from espnet2_tisdiss.recipes.corpora.tables import read_table

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
class Task:
    """A version of LibriMix's mixtures.

    Attributes:
        num_spk: number of speakers: 2 for Libri2Mix, 3 for Libri3Mix.
        condition: ``mix_clean`` adds the speakers, ``mix_both`` the speakers and noise,
            ``mix_single`` the first speaker and noise.
        rate: sample rate in Hz, 8000 or 16000.
        version: cut to the shortest utterance (min) or padded to the longest (max).
    """

    num_spk: int
    condition: str
    rate: int
    version: Version

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
        """The part of a tree with these mixtures, relative to LibriMix's root folder."""
        return Path(f"Libri{self.num_spk}Mix", f"wav{self.rate // 1000}k", self.version)

    @property
    def lists(self) -> dict[str, str]:
        """The lists of a data directory and the folder of each, the mixture first."""
        lists = {"wav.scp": self.condition}
        lists |= {f"spk{source[1:]}.scp": source for source in self.sources}
        return lists | ({"noise1.scp": "noise"} if self.noisy else {})

    @property
    def addends(self) -> list[str]:
        """Folders of the signals that add up to the mixture, in this order."""
        _, *addends = self.lists.values()
        return addends

    def files(self, sets: Path, name: str, mixture: str) -> dict[str, Path]:
        """Return the files of a mixture by the lists of a data directory, the mixture first.

        Args:
            sets: folder of the sets: the root of the tree with :attr:`folder`.
            name: the set.
            mixture: the mixture's ID.
        """
        return {
            list_name: sets / name / folder / f"{mixture}.wav"
            for list_name, folder in self.lists.items()
        }

    def table(self, sets: Path, name: str) -> Path:
        """Return the path of a set's table of mixtures."""
        return sets / "metadata" / f"mixture_{name}_{self.condition}.csv"


def find_sets(root: Path, task: Task, names: Sequence[str]) -> Path:
    """Return the folder of the sets in an existing tree.

    Args:
        root: the folder of the tree, or of its part with this number of speakers.
        task: which mixtures.
        names: the sets that are needed.
    """
    sets = root / task.folder
    if root.name == task.folder.parts[0] and not sets.is_dir():
        sets = root.parent / task.folder
    for name in names:
        for signal in task.lists.values():
            if not (folder := sets / name / signal).is_dir():
                raise TisdissError(
                    f"{folder}: no such folder in the LibriMix tree {root}; without LIBRIMIX the "
                    "mixtures are made from LIBRISPEECH"
                )
    return sets


def mixtures_in_tree(sets: Path, task: Task, name: str) -> list[str]:
    """Return the IDs of a set's mixtures, from its table or else from its files.

    The table's paths are ignored, because they are those of the machine that made the tree.
    """
    table = task.table(sets, name)
    if not table.is_file():
        return sorted(path.stem for path in (sets / name / task.condition).glob("[!.]*.wav"))
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
            writer.writerow([mixture, *task.files(sets, name, mixture).values(), length])
