"""The tree of a corpus: its folders, the files of a mixture, and the mixtures that it holds.

A tree is ``<folder of a version>/<set>/<signal>/<mixture>.wav``; each corpus derives a class from
:class:`Tree`, which says what the folders are called.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import Version
from espnet2_tisdiss.recipes.signals import frames_of


@dataclass(frozen=True)
class Tree:
    """A version of a corpus's mixtures.

    Attributes:
        rate: sample rate in Hz.
        version: min cuts a mixture to the shortest utterance, max pads it to the longest.
    """

    rate: int
    version: Version

    @property
    def rate_name(self) -> str:
        """8k or 16k."""
        return f"{self.rate // 1000}k"

    @property
    def folder(self) -> Path:
        """Its folder in a tree."""
        raise NotImplementedError

    @property
    def lists(self) -> dict[str, str]:
        """The lists of a data directory and the folder of each, the mixture first."""
        raise NotImplementedError

    def files(self, folder: Path, mixture: str) -> dict[str, Path]:
        """Return the files of a mixture by the lists of a data directory, the mixture first.

        Args:
            folder: the set's folder; the files need not exist yet.
            mixture: name of the mixture.
        """
        return {name: folder / signal / f"{mixture}.wav" for name, signal in self.lists.items()}

    def mixtures(self, folder: Path) -> list[str]:
        """Return the names of the mixtures in a set's folder."""
        # temporary files of an interrupted run begin with a dot
        return sorted(path.stem for path in (folder / self.lists["wav.scp"]).glob("[!.]*.wav"))

    def find(self, root: Path, test: str, names: Collection[str], advice: str = "") -> Path:
        """Return the folder of the sets in an existing tree.

        Args:
            root: the folder of the tree, or one below it that leads to this version.
            test: a test set, by which the folder is known.
            names: the sets that are needed.
            advice: what to do about a missing folder, for messages.
        """
        mixtures, parts = self.lists["wav.scp"], self.folder.parts
        for start in range(len(parts) + 1):
            folder = root.joinpath(*parts[start:])
            # the version's folder itself may be given, if its name is right
            if (folder / test / mixtures).is_dir() and folder.name == self.version:
                break
        else:
            raise TisdissError(f"{root}: has no {self.folder / test / mixtures}{advice}")
        for name in names:
            for signal in self.lists.values():
                if not (folder / name / signal).is_dir():
                    raise TisdissError(f"{folder / name / signal}: no such folder{advice}")
        # the folder's name may not show the rate; a header does, before all are read
        for first in self.mixtures(folder / test)[:1]:
            frames_of(folder / test / mixtures / f"{first}.wav", self.rate)
        return folder
