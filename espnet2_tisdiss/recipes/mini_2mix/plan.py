"""The plan of a corpus: its voices, and which utterances are mixed at which level.

The plan follows from the size, the seed and the installed engines; nothing here reads or writes
audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from espnet2_tisdiss.recipes.mini_2mix import festival as festival_engine
from espnet2_tisdiss.recipes.mini_2mix import flite as flite_engine
from espnet2_tisdiss.recipes.mini_2mix import noises, rooms, voices
from espnet2_tisdiss.recipes.mini_2mix.sizes import MixtureSet, Size, split_of_set
from espnet2_tisdiss.recipes.mini_2mix.voices import Voice

MAX_SNR_DB = 2.5
# Of the noise: below the speech of both.
NOISE_SNR_DB = (5.0, 20.0)
BABBLE_VOICES = (6, 14)

# The split names of WSJ0-2mix, as folders and lists of the corpus have them.
WSJ0_SPLIT = {"train": "tr", "valid": "cv", "test": "tt"}


@dataclass(frozen=True)
class Place:
    """A room of the bank (see rooms.py) and the positions of both speakers in it."""

    room: str
    positions: tuple[int, int]


@dataclass(frozen=True)
class Noise:
    """Kinds of noise (see noises.py), their level, and the utterances of the babble."""

    kinds: tuple[str, ...]
    snr_db: float  # speech of both speakers to noise
    babble: tuple[tuple[str, str], ...]  # (speaker, utterance)
    seed: str


@dataclass(frozen=True)
class Mixture:
    """Two utterances of different speakers and the level of each, in dB, as text.

    As in WSJ0-2mix the second level is the negative of the first, so that the sources differ by
    twice that, by up to 5 dB.
    """

    set_name: str
    speakers: tuple[str, str]
    utterances: tuple[str, str]
    snrs: tuple[str, str]
    place: Place | None = None
    noise: Noise | None = None

    @property
    def split(self) -> str:
        """The split of the speakers."""
        return split_of_set(self.set_name)

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
    """A planned corpus: the voices, the utterances of each, and the mixtures."""

    size: Size
    voices: tuple[Voice, ...]
    utterances: dict[str, tuple[str, ...]]  # speaker -> names of utterances
    mixtures: tuple[Mixture, ...]

    @property
    def by_set(self) -> dict[str, list[Mixture]]:
        """The mixtures of each set that has any."""
        sets: dict[str, list[Mixture]] = {}
        for mixture in self.mixtures:
            sets.setdefault(mixture.set_name, []).append(mixture)
        return sets


def make_plan(size: Size, seed: int, flite: Sequence[str], festival: Sequence[str] = ()) -> Plan:
    """Plan the corpus of this size and seed, with these voices of flite and festival, if any."""
    cast = voices.plan_voices(size.voices, seed)
    cast += flite_engine.plan_voices(flite, size.flite_versions, seed)
    cast += festival_engine.plan_voices(festival)
    spoken = {voice.speaker: 0 for voice in cast}
    mixtures: list[Mixture] = []
    for mixture_set in made_sets(size, festival):
        members = [
            voice
            for voice in cast
            if voice.split == mixture_set.split and voice.engine in mixture_set.engines
        ]
        count = getattr(size, mixture_set.split)
        rng = Random(f"{seed}/{mixture_set.name}")
        mixtures += _pair_up(mixture_set.name, members, count, rng, spoken)
    return Plan(
        size=size,
        voices=tuple(cast),
        utterances={
            speaker: tuple(_utterance(speaker, number) for number in range(1, count + 1))
            for speaker, count in spoken.items()
        },
        mixtures=tuple(_set_scenes(size, mixtures, seed)),
    )


def made_sets(size: Size, festival: Sequence[str]) -> list[MixtureSet]:
    """Return the sets that can be made: a set of festival alone needs two voices."""
    return [s for s in size.sets if s.engines != ("festival",) or len(festival) >= 2]


def _utterance(speaker: str, number: int) -> str:
    return f"{speaker}u{number:03d}"


def _pair_up(
    set_name: str, members: list[Voice], count: int, rng: Random, spoken: dict[str, int]
) -> list[Mixture]:
    """Pair the voices at random in rounds, with a new utterance of each; each is used once.

    ``spoken`` counts the utterances of each speaker so far.
    """
    person = {voice.speaker: voice.person for voice in members}
    turns: list[str] = []
    while len(turns) < 2 * count:
        round_ = rng.sample(list(person), len(person))
        if len(turns) % 2 and turns[-1] == round_[0]:  # would be mixed with themselves
            round_.reverse()
        turns += round_
    pairs = [turns[i : i + 2] for i in range(0, 2 * count, 2)]
    _part_persons(pairs, person)
    mixtures = []
    for pair in pairs:
        names = []
        for speaker in pair:
            spoken[speaker] += 1
            names.append(_utterance(speaker, spoken[speaker]))
        snr = round(rng.uniform(-MAX_SNR_DB, MAX_SNR_DB), 4)
        # 0.0 - snr, because -snr would read "-0.0000" for 0.
        levels = (f"{snr:.4f}", f"{0.0 - snr:.4f}")
        mixtures.append(Mixture(set_name, (pair[0], pair[1]), (names[0], names[1]), levels))
    return mixtures


def _part_persons(pairs: list[list[str]], person: dict[str, str]) -> None:
    """Swap second speakers, in place, until no one is mixed with another version of themselves."""
    for index, pair in enumerate(pairs):
        who = person[pair[0]]
        if person[pair[1]] != who:
            continue
        for other in pairs[index + 1 :] + pairs[:index]:
            if who not in (person[other[0]], person[other[1]]):
                pair[1], other[1] = other[1], pair[1]
                break
        else:
            raise ValueError(f"there are too few voices besides those of {who}")


def _set_scenes(size: Size, mixtures: Sequence[Mixture], seed: int) -> Iterator[Mixture]:
    """Give the mixtures their rooms and noises, by the conditions of their sets."""
    conditions = {mixture_set.name: mixture_set.conditions for mixture_set in size.sets}
    rngs = {name: Random(f"{seed}/{name}/scenes") for name in conditions}
    training: dict[str, list[str]] = {}  # speakers and utterances for the babble
    for mixture in mixtures:
        if mixture.split == "train":
            for speaker, utterance in zip(mixture.speakers, mixture.utterances, strict=True):
                training.setdefault(speaker, []).append(utterance)
    for mixture in mixtures:
        rng = rngs[mixture.set_name]
        kinds, shares = zip(*conditions[mixture.set_name], strict=True)
        (condition,) = rng.choices(kinds, shares)
        place = _draw_place(mixture.split, rng) if condition.reverberant else None
        noise = _draw_noise(mixture, training, seed, rng) if condition.noisy else None
        yield replace(mixture, place=place, noise=noise)


def _draw_place(split: str, rng: Random) -> Place:
    first, second = rng.sample(range(rooms.POSITIONS), 2)
    return Place(rng.choice(rooms.room_names(split)), (first, second))


def _draw_noise(mixture: Mixture, training: dict[str, list[str]], seed: int, rng: Random) -> Noise:
    """Draw one kind of noise, or sometimes a mixture of two."""
    number = 2 if rng.random() < 1 / (len(noises.KINDS) + 1) else 1
    kinds = tuple(rng.sample(list(noises.KINDS), number))
    babble: list[tuple[str, str]] = []
    if "babble" in kinds:
        others = [speaker for speaker in training if speaker not in mixture.speakers]
        crowd = rng.sample(others, min(rng.randint(*BABBLE_VOICES), len(others)))
        babble = [(speaker, rng.choice(training[speaker])) for speaker in crowd]
    return Noise(
        kinds=kinds,
        snr_db=round(rng.uniform(*NOISE_SNR_DB), 2),
        babble=tuple(babble),
        seed=f"{seed}/{mixture.key}",
    )
