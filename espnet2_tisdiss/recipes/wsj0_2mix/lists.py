"""WSJ0-2mix's lists of mixtures: their utterances and levels.

A line of ``mix_2_spk_<tr,cv,tt>.txt`` is ``path1 level1 path2 level2`` (three pairs in
``mix_3_spk_*``), levels in dB.  The mixture's name consists of these texts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.data_sets import Entry
from espnet2_tisdiss.recipes.corpora.files import fetch
from espnet2_tisdiss.recipes.corpora.tree import Tree

LEVEL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")  # in dB
SPLITS = ("tr", "cv", "tt")
KNOWN_COUNTS = {"tr": 20000, "cv": 5000, "tt": 3000}
SPEAKER_LENGTH = (
    3  # characters of an utterance's name that name the speaker: 01xo031a is from speaker 01x
)


@dataclass(frozen=True)
class Mixture:
    """Utterances of different speakers, each with its level in dB, as text.

    ``sources`` are the paths in the list; a mixture that was found in a tree has none.
    """

    utterances: tuple[str, ...]
    levels: tuple[str, ...]
    sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without suffix: ``<utt1>_<level1>_<utt2>_<level2>``."""
        pairs = zip(self.utterances, self.levels, strict=True)
        return "_".join(f"{utterance}_{level}" for utterance, level in pairs)

    @property
    def voices(self) -> tuple[str, ...]:
        """The speakers in the mixture."""
        return tuple(utterance[:SPEAKER_LENGTH] for utterance in self.utterances)

    @property
    def speaker(self) -> str:
        """Speaker in ESPnet's lists: ``<spk1>_<spk2>``."""
        return "_".join(self.voices)

    @property
    def key(self) -> str:
        """Utterance in ESPnet's lists: ``<spk1>_<spk2>_<utt1>_<level1>_<utt2>_<level2>``."""
        return f"{self.speaker}_{self.name}"


def find_list(split: str, num_spk: int, given: Path | None, kept: Path, url: str) -> Path:
    """Return the list of a split: in the given folder, or else downloaded.

    Args:
        split: tr, cv or tt.
        num_spk: speakers in a mixture.
        given: folder of the lists; None downloads.
        kept: folder for downloaded lists.
        url: address of the folder to download from.
    """
    name = f"mix_{num_spk}_spk_{split}.txt"
    if given is None:
        return fetch(
            kept / name,
            f"{url}/{name}",
            "take it from MERL's create-speaker-mixtures.zip (deep clustering) or from pywsj0-mix, "
            "and set WSJ0_MIX_LISTS in db.sh to its folder",
        )
    if not (given / name).is_file():
        raise TisdissError(
            f"{given / name}: no such file; it is part of MERL's create-speaker-mixtures.zip "
            "(deep clustering)"
        )
    return given / name


def read_list(path: Path, num_spk: int) -> list[Mixture]:
    """Read a list of mixtures."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TisdissError(f"{path}: cannot be read: {error}") from None
    if not lines:
        raise TisdissError(f"{path}: the list is empty")
    return [_read_line(f"{path}:{i}", line, num_spk) for i, line in enumerate(lines, start=1)]


def _read_line(where: str, line: str, num_spk: int) -> Mixture:
    sources, levels = tuple(line.split()[0::2]), tuple(line.split()[1::2])
    if not (
        len(sources) == len(levels) == num_spk
        and all(map(LEVEL.fullmatch, levels))
        # <set>/<speaker>/<utterance>.wav
        and all(source.endswith(".wav") and source.count("/") >= 2 for source in sources)
    ):
        raise TisdissError(f"{where}: expected {num_spk} times a path and a level, found {line!r}")
    return Mixture(tuple(PurePosixPath(source).stem for source in sources), levels, sources)


def mixture_of_name(folder: Path, name: str, num_spk: int) -> Mixture:
    """Return the mixture that the name of its files in ``folder`` describes."""
    parts = name.split("_")
    if len(parts) != 2 * num_spk or not all(map(LEVEL.fullmatch, parts[1::2])):
        raise TisdissError(
            f"{folder / name}.wav: is not named as WSJ0-{num_spk}mix's files are: "
            f"{'_'.join(f'<utt{i}>_<level{i}>' for i in range(1, num_spk + 1))}.wav"
        )
    return Mixture(tuple(parts[0::2]), tuple(parts[1::2]))


def entries(tree: Tree, folder: Path, mixtures: Iterable[Mixture]) -> list[Entry]:
    """Describe the mixtures of a set whose folder in a tree is ``folder``."""
    return [
        Entry(mixture.key, mixture.speaker, mixture.voices, tree.files(folder, mixture.name))
        for mixture in mixtures
    ]


def all_sources(lists: Iterable[Sequence[Mixture]]) -> dict[str, str]:
    """Return each utterance of some lists once, with its path there, sorted by name."""
    found = {
        utterance: source
        for mixtures in lists
        for mixture in mixtures
        for utterance, source in zip(mixture.utterances, mixture.sources, strict=True)
    }
    return dict(sorted(found.items()))
