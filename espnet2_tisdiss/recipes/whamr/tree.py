"""The tree of WHAMR!, and the signals in the lists of its data directories.

A tree is ``wav<8k,16k>/<min,max>/<tr,cv,tt>/<signal>/<mixture>.wav``, two-channel files of 32-bit
floating point.  Signals are the sources (``s1_anechoic``, ``s1_reverb``, ...), the ``noise`` and
mixtures of them (``mix_both_reverb``, ...).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.recipes.corpora.data_sets import AudioCheck, DataSet
from espnet2_tisdiss.recipes.corpora.tree import Tree
from espnet2_tisdiss.recipes.wsj0_2mix.lists import KNOWN_COUNTS, entries, mixture_of_name

TEST_SPLIT = "tt"
MIXTURES = ("mix_both_reverb", "mix_both_anechoic", "mix_clean_reverb", "mix_clean_anechoic")
REFERENCES = ("anechoic", "reverb")
LEFT = 0  # the channel used for training


@dataclass(frozen=True)
class Task(Tree):
    """Input and targets of the separation.

    Attributes:
        mixture: the input, one of MIXTURES.
        reference: the kind of targets, one of REFERENCES.
    """

    mixture: str
    reference: str

    @property
    def noisy(self) -> bool:
        """Whether the mixture contains noise."""
        return self.mixture.startswith("mix_both")

    @property
    def room(self) -> str:
        """The kind of sources in the mixture: anechoic or reverb."""
        return self.mixture.rpartition("_")[2]

    @property
    def folder(self) -> Path:
        """Its folder in a tree."""
        return Path(f"wav{self.rate_name}", self.version)

    @property
    def lists(self) -> dict[str, str]:
        """The lists of a data directory and the folder of each, the mixture first.

        ``dereverb<N>.scp`` always lists the anechoic source, whatever the targets are;
        ``reverb<N>.scp`` lists the reverberant source, for which ESPnet has no name.
        """
        lists = {"wav.scp": self.mixture}
        lists |= {f"spk{number}.scp": f"s{number}_{self.reference}" for number in (1, 2)}
        if self.noisy:
            lists["noise1.scp"] = "noise"
        lists |= {f"dereverb{number}.scp": f"s{number}_anechoic" for number in (1, 2)}
        if self.room == "reverb":
            lists |= {f"reverb{number}.scp": f"s{number}_reverb" for number in (1, 2)}
        return lists

    @property
    def audio(self) -> AudioCheck:
        """Requirements on the files: the mixture is the sum of its parts."""
        sources = "reverb" if self.room == "reverb" else "dereverb"
        addends = (f"{sources}1.scp", f"{sources}2.scp", *(["noise1.scp"] if self.noisy else []))
        return AudioCheck(self.rate, addends, LEFT)

    def set_name(self, split: str) -> str:
        """Name of a split's data directory, e.g. ``tt_mix_both_reverb_min_8k``."""
        name = f"{split}_{self.mixture}_{self.version}_{self.rate_name}"
        return name if self.reference == REFERENCES[0] else f"{name}_to_{self.reference}"


def data_set(folder: Path, task: Task, split: str, names: Sequence[str]) -> DataSet:
    """Describe a split's data directory.

    Args:
        folder: the split's folder in the tree; its files need not exist yet.
        task: what is separated into what.
        split: tr, cv or tt.
        names: the mixtures, as WSJ0-2mix names them.
    """
    mixtures = [mixture_of_name(folder, name, 2) for name in names]
    return DataSet(task.set_name(split), entries(task, folder, mixtures), KNOWN_COUNTS[split])
