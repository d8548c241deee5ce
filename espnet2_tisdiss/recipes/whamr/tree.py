"""The tree of WHAMR!, and the signals in the lists of its data directories.

A tree is ``wav<8k,16k>/<min,max>/<tr,cv,tt>/<signal>/<mixture>.wav``, two-channel files of 32-bit
floating point.  Signals are the sources (``s1_anechoic``, ``s1_reverb``, ...), the ``noise`` and
mixtures of them (``mix_both_reverb``, ...).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.data_sets import AudioCheck, DataSet, Entry
from espnet2_tisdiss.recipes.corpora.files import Version
from espnet2_tisdiss.recipes.wsj0_2mix.lists import KNOWN_COUNTS, mixture_of_name

TEST_SPLIT = "tt"
MIXTURES = ("mix_both_reverb", "mix_both_anechoic", "mix_clean_reverb", "mix_clean_anechoic")
REFERENCES = ("anechoic", "reverb")
LEFT = 0  # the channel used for training


@dataclass(frozen=True)
class Task:
    """Input and targets of the separation.

    Attributes:
        mixture: the input, one of MIXTURES.
        reference: the kind of targets, one of REFERENCES.
        rate: sample rate in Hz.
        version: cut to the shorter utterance, or padded.
    """

    mixture: str = MIXTURES[0]
    reference: str = REFERENCES[0]
    rate: int = 8000
    version: Version = "min"

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
        """The folder of this rate and version in a tree."""
        return Path(f"wav{self.rate // 1000}k", self.version)

    @property
    def lists(self) -> dict[str, str]:
        """List of a data directory -> signal of the tree; the mixture first.

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
        name = f"{split}_{self.mixture}_{self.version}_{self.rate // 1000}k"
        return name if self.reference == REFERENCES[0] else f"{name}_to_{self.reference}"


def signal_path(folder: Path, signal: str, name: str) -> Path:
    """Return the file of a signal in a split's folder."""
    return folder / signal / f"{name}.wav"


def find_tree(root: Path, task: Task) -> Path:
    """Return the folder of the task's rate and version in a tree."""
    folder = root / task.folder
    if not (folder / TEST_SPLIT).is_dir():
        raise TisdissError(f"{root}: has no {task.folder / TEST_SPLIT}")
    return folder


def list_mixtures(folder: Path, task: Task) -> list[str]:
    """Name the mixtures of a split, whose folder must have all folders that the task needs."""
    for signal in task.lists.values():
        if not (folder / signal).is_dir():
            raise TisdissError(f"{folder / signal}: no such folder, which WHAMR! has")
    # temporary files of an interrupted run begin with a dot
    return sorted(path.stem for path in (folder / task.mixture).glob("[!.]*.wav"))


def data_set(folder: Path, task: Task, split: str, names: Sequence[str]) -> DataSet:
    """Describe a split's data directory.

    Args:
        folder: the split's folder in the tree; its files need not exist yet.
        task: what is separated into what.
        split: tr, cv or tt.
        names: the mixtures, as WSJ0-2mix names them.
    """
    entries = []
    for name in names:
        mixture = mixture_of_name(folder / f"{name}.wav", 2)
        files = {list_: signal_path(folder, sig, name) for list_, sig in task.lists.items()}
        entries.append(Entry(mixture.key, mixture.speaker, mixture.voices, files))
    return DataSet(task.set_name(split), entries, KNOWN_COUNTS[split])
