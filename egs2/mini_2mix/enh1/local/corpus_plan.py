"""The plan of a corpus: its sizes, its voices, and which utterances are mixed at which level.

The plan follows from the size and the seed alone; nothing here reads or writes audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

import voices
from voices import SPLITS, Voice

MAX_SNR_DB = 2.5

# The split names of WSJ0-2mix, as folders and lists of the corpus have them.
WSJ0_SPLIT = MappingProxyType({"train": "tr", "valid": "cv", "test": "tt"})


@dataclass(frozen=True)
class Size:
    """How much to make: espeak-ng voices, mixtures per split, seconds of an utterance."""

    name: str
    voices: int
    train: int
    valid: int
    test: int
    min_seconds: float
    max_seconds: float


SIZES = MappingProxyType(
    {
        size.name: size
        for size in (
            Size("tiny", 40, train=300, valid=12, test=4, min_seconds=2.0, max_seconds=3.0),
            Size("quick", 80, train=600, valid=40, test=20, min_seconds=2.5, max_seconds=4.0),
            Size("default", 240, train=4000, valid=150, test=100, min_seconds=3.0, max_seconds=5.0),
        )
    }
)


@dataclass(frozen=True)
class Mixture:
    """Two utterances of different speakers and the level of each, in dB, as text.

    As in WSJ0-2mix the second level is the negative of the first, so that the sources differ by
    twice that, by up to 5 dB.
    """

    split: str
    speakers: tuple[str, str]
    utterances: tuple[str, str]
    snrs: tuple[str, str]

    @property
    def name(self) -> str:
        """File name without suffix: ``<utt1>_<snr1>_<utt2>_<snr2>``."""
        (utt1, utt2), (snr1, snr2) = self.utterances, self.snrs
        return f"{utt1}_{snr1}_{utt2}_{snr2}"

    @property
    def speaker(self) -> str:
        """Speaker in ESPnet's lists: ``<spk1>_<spk2>``."""
        return "_".join(self.speakers)

    @property
    def key(self) -> str:
        """Utterance in ESPnet's lists: ``<spk1>_<spk2>_<utt1>_<snr1>_<utt2>_<snr2>``."""
        return f"{self.speaker}_{self.name}"


@dataclass(frozen=True)
class Plan:
    """All that is to be made: the voices, what each of them has to say, and the mixtures."""

    size: Size
    voices: tuple[Voice, ...]
    utterances: MappingProxyType[str, tuple[str, ...]]  # speaker -> names of utterances
    mixtures: tuple[Mixture, ...]


def make_plan(size: Size, seed: int, flite: Sequence[str]) -> Plan:
    """Plan the corpus of this size and seed, with these voices of flite (perhaps none)."""
    cast = voices.plan_voices(size.voices, seed) + voices.flite_voices(flite)
    mixtures: list[Mixture] = []
    for split in SPLITS:
        speakers = [voice.speaker for voice in cast if voice.split == split]
        mixtures += _pair_up(split, speakers, getattr(size, split), Random(f"{seed}/{split}"))
    spoken: dict[str, list[str]] = {voice.speaker: [] for voice in cast}
    for mixture in mixtures:
        for speaker, utterance in zip(mixture.speakers, mixture.utterances, strict=True):
            spoken[speaker].append(utterance)
    return Plan(
        size=size,
        voices=tuple(cast),
        utterances=MappingProxyType({who: tuple(what) for who, what in spoken.items()}),
        mixtures=tuple(mixtures),
    )


def _pair_up(split: str, speakers: list[str], count: int, rng: Random) -> list[Mixture]:
    """Let the speakers talk in rounds and mix two turns at a time; every utterance is used once."""
    turns: list[str] = []
    while len(turns) < 2 * count:
        round_ = rng.sample(speakers, len(speakers))
        if len(turns) % 2 and turns[-1] == round_[0]:  # would be mixed with themselves
            round_.reverse()
        turns += round_
    spoken = dict.fromkeys(speakers, 0)
    mixtures = []
    for pair in zip(turns[0 : 2 * count : 2], turns[1 : 2 * count : 2], strict=True):
        names = []
        for speaker in pair:
            spoken[speaker] += 1
            names.append(f"{speaker}u{spoken[speaker]:03d}")
        snr = round(rng.uniform(-MAX_SNR_DB, MAX_SNR_DB), 4)
        # 0.0 - snr, because -snr would read "-0.0000" for 0.
        levels = (f"{snr:.4f}", f"{0.0 - snr:.4f}")
        mixtures.append(Mixture(split, pair, (names[0], names[1]), levels))
    return mixtures
