"""The sizes of the corpus: how many voices and mixtures, and the conditions of each set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """Condition of a mixture: with or without a room, with or without noise."""

    reverberant: bool = False
    noisy: bool = False


CLEAN, REVERBERANT, NOISY = Condition(), Condition(reverberant=True), Condition(noisy=True)
BOTH = Condition(reverberant=True, noisy=True)


@dataclass(frozen=True)
class MixtureSet:
    """One data directory: the engines of its voices, and the conditions with their shares.

    The name begins with the split of the voices.
    """

    name: str
    conditions: tuple[tuple[Condition, float], ...] = ((CLEAN, 1.0),)
    engines: tuple[str, ...] = ("espeak-ng", "flite")

    @property
    def split(self) -> str:
        """``train``, ``valid`` or ``test``."""
        return split_of_set(self.name)


def split_of_set(name: str) -> str:
    """Return the split of a set: ``test`` of ``test_noisy``."""
    return name.partition("_")[0]


@dataclass(frozen=True)
class Size:
    """How much to make: espeak-ng voices, mixtures in each set of a split, seconds of an utterance.

    ``flite_versions`` is the number of speakers made from each voice of flite; with 1, it is the
    original voice.  ``conditions`` are those of training and validation.
    """

    name: str
    voices: int
    train: int
    valid: int
    test: int
    min_seconds: float
    max_seconds: float
    flite_versions: int = 1
    conditions: tuple[tuple[Condition, float], ...] = ((CLEAN, 1.0),)
    test_sets: tuple[MixtureSet, ...] = (MixtureSet("test"),)

    @property
    def sets(self) -> tuple[MixtureSet, ...]:
        """All sets, those of training and validation first."""
        learning = (MixtureSet(split, self.conditions) for split in ("train", "valid"))
        return (*learning, *self.test_sets)

    @property
    def optional_engines(self) -> tuple[str, ...]:
        """The engines that are used if they are installed."""
        heard = {engine for mixture_set in self.sets for engine in mixture_set.engines}
        return tuple(engine for engine in ("flite", "festival") if engine in heard)


FULL_TEST_SETS = (
    MixtureSet("test_voices"),
    MixtureSet("test_engines", engines=("festival",)),
    MixtureSet("test_noisy", ((NOISY, 1.0),)),
    MixtureSet("test_reverb", ((REVERBERANT, 1.0),)),
)

SIZES = {
    size.name: size
    for size in (
        Size("tiny", 40, train=80, valid=12, test=4, min_seconds=2.0, max_seconds=3.0),
        Size("quick", 80, train=600, valid=40, test=20, min_seconds=2.5, max_seconds=4.0),
        Size("default", 240, train=4000, valid=150, test=100, min_seconds=3.0, max_seconds=5.0),
        Size(
            "full",
            480,
            train=10000,
            valid=300,
            test=100,
            min_seconds=3.0,
            max_seconds=5.0,
            # 4 x 48 flite speakers and 384 of espeak-ng, so a third of the speech is flite's
            flite_versions=48,
            conditions=((CLEAN, 0.6), (REVERBERANT, 0.13), (NOISY, 0.13), (BOTH, 0.14)),
            test_sets=FULL_TEST_SETS,
        ),
    )
}
