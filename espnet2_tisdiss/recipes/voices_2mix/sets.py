"""The fixed validation and test sets: mixtures of the bank's held-out speakers, as wav files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from espnet2_tisdiss.atomic import replacing_folder, write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.mixing.bank import Bank, Split
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.rendering import PauseError
from espnet2_tisdiss.mixing.scenes import Scene, SceneDrawer
from espnet2_tisdiss.recipes.corpora.files import quantise, write_audio
from espnet2_tisdiss.recipes.data_directories import LIST_OF_SIGNAL, listed_path, write_speakers
from espnet2_tisdiss.recipes.parallel import map_in_processes

CONDITIONS = ("clean", "noisy", "rooms", "partial")
# The pairs alternate: two women, two men, one of each; so half of the pairs have the same sex.
PAIRS = ("FF", "FM", "MM", "FM")
LEVEL_DB = 5.0
NOISE_SNR_DB = (5.0, 25.0)
ALONE_SHARE = (0.2, 0.5)  # of the mixture: 1 to 2.5 s of 5 s

SCENES = "scenes.tsv"
SCENE_COLUMNS = (
    *("mixture", "condition", "speaker1", "speaker2", "utterances1", "utterances2"),
    # seconds in which each one may speak
    *("from1", "to1", "from2", "to2"),
    # level of the first above the second, of the louder one above the noise
    *("level_db", "room", "places", "noise", "noise_snr_db"),
)


@dataclass(frozen=True)
class FixedSet:
    """A set of ``count`` mixtures of ``seconds`` each, an equal share of each condition."""

    name: str
    conditions: tuple[str, ...]
    count: int
    seconds: float

    @property
    def split(self) -> Split:
        """The speakers' split."""
        return "valid" if self.name == "valid" else "test"

    def condition(self, number: int) -> str:
        """Return the condition of a mixture."""
        return self.conditions[number * len(self.conditions) // self.count]


def make_sets(corpus: Path, sets: Sequence[FixedSet], seed: int, processes: int) -> list[Path]:
    """Make the mixtures of the sets that do not exist.

    Args:
        corpus: folder of the corpus, with its bank.
        sets: what to make.
        seed: of the random draws.
        processes: number of processes.

    Returns:
        The folder of each set: ``mix``, ``s1`` and ``s2`` with a 16-bit wav of each mixture, and
        ``scenes.tsv``.

    Raises:
        TisdissError: a speaker has almost no speech.
    """
    folders = {fixed_set: corpus / "sets" / fixed_set.name for fixed_set in sets}
    # the table of scenes comes last
    missing = [fixed_set for fixed_set in sets if not (folders[fixed_set] / SCENES).exists()]
    items = [(fixed_set, number) for fixed_set in missing for number in range(fixed_set.count)]
    make = partial(_make_mixture, corpus, seed)
    rows: dict[FixedSet, list[str]] = {}
    made = map_in_processes(make, items, processes, "mixtures")
    for (fixed_set, _), row in zip(items, made, strict=True):
        rows.setdefault(fixed_set, []).append(row)
        if len(rows[fixed_set]) == fixed_set.count:
            lines = ["\t".join(SCENE_COLUMNS), *sorted(rows[fixed_set])]
            write_atomically(folders[fixed_set] / SCENES, "".join(f"{line}\n" for line in lines))
    return list(folders.values())


def _make_mixture(corpus: Path, seed: int, item: tuple[FixedSet, int]) -> str:
    """Make the files of a mixture, by its set and number; return its row of ``scenes.tsv``."""
    # here: it needs PyTorch, which takes a while to import
    from espnet2_tisdiss.mixing.iterator import draw_mixture

    fixed_set, number = item
    bank, folder = corpus / "bank", corpus / "sets" / fixed_set.name
    condition = fixed_set.condition(number)
    drawer = _drawer(bank, fixed_set.split, condition, fixed_set.seconds)
    # If the split lacks a sex, any pair is drawn.
    key = (seed, ("valid", "test").index(fixed_set.split), CONDITIONS.index(condition), number)
    try:
        scene, signals = draw_mixture(drawer, key, PAIRS[number % len(PAIRS)])
    except PauseError as error:
        raise TisdissError(f"{bank}: {error}: leave that speaker out") from None
    sexes = {speaker.name: speaker.sex for speaker in drawer.bank.speakers}
    pair = "".join(sorted(sexes[voice.speaker].replace("?", "X") for voice in scene.voices))
    name = f"{pair}_{condition}_{number:03d}"
    for signal, samples in signals.items():
        write_audio(folder / signal / f"{name}.wav", quantise(samples), drawer.bank.rate)
    return "\t".join([name, condition, *_describe(scene, drawer.bank)])


@lru_cache  # a process makes many mixtures of a set
def _drawer(bank: Path, split: Split, condition: str, seconds: float) -> SceneDrawer:
    config = MixingConfig(
        bank=str(bank),
        seconds=seconds,
        level_db=LEVEL_DB,
        speeds=(1.0,),
        partial_share=float(condition == "partial"),
        alone_share=ALONE_SHARE,
        room_share=float(condition == "rooms"),
        noise_share=float(condition == "noisy"),
        noise_snr_db=NOISE_SNR_DB,
    )
    return SceneDrawer(Bank(bank, split), config)


def _describe(scene: Scene, bank: Bank) -> list[str]:
    """Return the columns of ``scenes.tsv`` from the speakers on; ``-`` for missing values."""
    voices = scene.voices
    spans = [f"{end / bank.rate:.3f}" for voice in voices for end in (voice.start, voice.stop)]
    has_room, noise = scene.room >= 0, scene.noise
    return [
        *(voice.speaker for voice in voices),
        *("|".join(utterance.name for utterance in voice.utterances) for voice in voices),
        *spans,
        f"{voices[0].gain_db - voices[1].gain_db:.2f}",
        str(scene.room) if has_room else "-",
        ",".join(str(voice.place) for voice in voices) if has_room else "-",
        noise.name if noise else "-",
        f"{scene.noise_snr_db:.2f}" if noise else "-",
    ]


def make_data_dir(folder: Path, data: Path, recipe: Path) -> int:
    """Make the data directory of a set, with ``scenes.tsv``; return the number of mixtures."""
    scenes = (folder / SCENES).read_text(encoding="utf-8")
    names = [line.partition("\t")[0] for line in scenes.splitlines()[1:]]
    with replacing_folder(data) as temporary:
        for signal, list_name in LIST_OF_SIGNAL.items():
            files = {name: folder / signal / f"{name}.wav" for name in names}
            write_scp(temporary / list_name, {n: listed_path(p, recipe) for n, p in files.items()})
        write_speakers(temporary, {name: name for name in names})
        (temporary / SCENES).write_text(scenes, encoding="utf-8")
    return len(names)
