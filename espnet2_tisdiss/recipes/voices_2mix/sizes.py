"""The sizes of the recipe: the sets it makes, and how many of the recordings it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espnet2_tisdiss.mixing.bank import SPLITS
from espnet2_tisdiss.recipes.voices_2mix.listing import Recording, hash_of, shuffled_speakers
from espnet2_tisdiss.recipes.voices_2mix.sets import CONDITIONS, FixedSet


@dataclass(frozen=True)
class Size:
    """A size of the corpus.

    ``speakers`` are the largest numbers for training, validation and test, ``recordings`` that of
    each speaker; ``rooms`` are drawn. The sets hold ``mixtures`` of ``seconds`` each.
    """

    name: str
    rooms: int
    valid_mixtures: int
    test_mixtures: int
    seconds: float
    speakers: tuple[int, int, int] | None = None
    recordings: int | None = None
    test_by_condition: bool = True

    def sets(self, has_noise: bool) -> list[FixedSet]:
        """Return the fixed sets: one per condition, or for validation one with all conditions."""
        conditions = tuple(c for c in CONDITIONS if has_noise or c != "noisy")
        tests = {"test": conditions}
        if self.test_by_condition:
            tests = {f"test_{c}": (c,) for c in conditions}
        return [
            FixedSet("valid", conditions, self.valid_mixtures, self.seconds),
            *(FixedSet(name, c, self.test_mixtures, self.seconds) for name, c in tests.items()),
        ]


SIZES = {
    size.name: size
    for size in (
        Size(
            "tiny",
            rooms=6,
            valid_mixtures=4,
            test_mixtures=4,
            seconds=2.0,
            speakers=(12, 4, 4),
            recordings=4,
            test_by_condition=False,
        ),
        Size("default", rooms=300, valid_mixtures=100, test_mixtures=100, seconds=5.0),
    )
}


def choose(recordings: Sequence[Recording], size: Size, seed: int) -> list[Recording]:
    """Return the recordings that a size uses, with its numbers of speakers."""
    if size.speakers is None:
        return list(recordings)
    chosen: list[Recording] = []
    for split, limit in zip(SPLITS, size.speakers, strict=True):
        members = [recording for recording in recordings if recording.split == split]
        for speaker in shuffled_speakers(members, seed)[:limit]:
            said = [recording for recording in members if recording.speaker == speaker]
            chosen += sorted(said, key=lambda r: hash_of(f"{seed}/{r.name}"))[: size.recordings]
    return sorted(chosen, key=lambda recording: recording.name)
