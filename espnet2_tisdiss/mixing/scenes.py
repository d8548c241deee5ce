"""What happens in a mixture: who speaks when and how loud, in which room, over which noise.

A scene holds numbers alone and is drawn without touching a sample; ``rendering`` makes waveforms of
it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from espnet2_tisdiss.checks import check_choice, check_number
from espnet2_tisdiss.mixing.bank import Bank, Noise, Speaker, Utterance

PAIRS = MappingProxyType({"women": "FF", "men": "MM", "mixed": "FM"})


@dataclass
class MixingConfig:
    """How mixtures are drawn: ``mixing_conf`` of a training configuration.

    Attributes:
        bank: folder of the recordings.
        seconds: length of a mixture.
        pairs: shares of two women, two men, and one of each, of those that the bank has. Where it
            has none, as when nobody's sex is known, speakers are paired at random; speakers of
            unknown sex are not drawn otherwise.
        level_db: the first speaker is up to so much louder or softer than the second.
        speeds: factors on the speed, and with it the pitch, one of which is drawn for each voice.
        partial_share: share of mixtures in which one speaker is silent at the start or the end,
        alone_share: for between these shares of the mixture.
        room_share: share of mixtures in a room.
        noise_share: share of mixtures with noise,
        noise_snr_db: so much softer than the louder speaker.
        clean_snr_db: recordings with less signal-to-noise ratio than this are drawn
        noisy_weight: so many times as often as others.
        unsure_sources: data sets whose speakers are guessed: two of such speakers, who may be one
            person, are never mixed.
    """

    bank: str
    seconds: float = 3.0
    pairs: Mapping[str, float] = field(
        default_factory=lambda: {"women": 0.35, "men": 0.25, "mixed": 0.4}
    )
    level_db: float = 5.0
    speeds: Sequence[float] = (0.9, 0.95, 1.0, 1.05, 1.1)
    partial_share: float = 0.3
    alone_share: Sequence[float] = (0.2, 0.5)
    room_share: float = 0.25
    noise_share: float = 0.25
    noise_snr_db: Sequence[float] = (5.0, 25.0)
    clean_snr_db: float = 30.0
    noisy_weight: float = 0.5
    unsure_sources: Sequence[str] = ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "MixingConfig":
        """Build from a mapping; raise ValueError naming an option that is unknown or missing."""
        names = [option.name for option in fields(cls)]
        if not isinstance(options, Mapping):
            raise ValueError(f"mixing_conf must be a mapping of options; got {options!r}")
        for name in options:
            check_choice("an option of mixing_conf", name, names)
        if not options.get("bank"):
            raise ValueError("mixing_conf lacks bank, the folder of the recordings")
        return cls(**options)

    def __post_init__(self):
        """Check every option; raise ValueError naming it and the values allowed."""
        check_number("seconds", self.seconds, 0.5, 3600)
        check_number("level_db", self.level_db, 0, 100)
        check_number("clean_snr_db", self.clean_snr_db, float("-inf"), float("inf"))
        for name in ("partial_share", "room_share", "noise_share", "noisy_weight"):
            _check_share(name, getattr(self, name))
        _check_range("alone_share", self.alone_share, 0, 1)
        _check_range("noise_snr_db", self.noise_snr_db, -100, 100)
        if not isinstance(self.pairs, Mapping):
            raise ValueError(f"pairs must be a share for each of {_names()}; got {self.pairs!r}")
        for name in self.pairs:
            check_choice("a pair", name, list(PAIRS))
            check_number(f"pairs: {name}", self.pairs[name], 0, float("inf"))
        if not sum(self.pairs.values()) > 0:
            raise ValueError(f"pairs must not all be 0; got {dict(self.pairs)}")
        if not _is_list(self.speeds) or not self.speeds:
            raise ValueError(f"speeds must be a list of factors; got {self.speeds!r}")
        for speed in self.speeds:
            check_number("speeds", speed, 0.25, 4)
        if not _is_list(self.unsure_sources):
            raise ValueError(f"unsure_sources must be a list; got {self.unsure_sources!r}")


def _names() -> str:
    return ", ".join(PAIRS)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_share(name: str, value: Any) -> None:
    """Raise ValueError unless a value is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1; got {value!r}")


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError unless a value is two numbers in [low, high), the smaller one first."""
    if not _is_list(value) or len(value) != 2:
        raise ValueError(f"{name} must be a list of two numbers; got {value!r}")
    for number in value:
        check_number(name, number, low, high)
    if value[0] > value[1]:
        raise ValueError(f"{name} must begin with the smaller number; got {list(value)}")


@dataclass(frozen=True)
class Voice:
    """One speaker of a mixture.

    Attributes:
        speaker: name.
        utterances: spoken one after the other.
        speed: factor.
        offset: samples of them, at that speed, that are left out before the mixture begins.
        start: first sample at which the speaker is heard,
        stop: and the first one after.
        gain_db: level of the active frames.
        place: in the room, -1 without one.
    """

    speaker: str
    utterances: tuple[Utterance, ...]
    speed: float
    offset: int
    start: int
    stop: int
    gain_db: float
    place: int = -1


@dataclass(frozen=True)
class Scene:
    """A mixture of two voices.

    Attributes:
        voices: the two speakers.
        length: number of samples.
        room: number of the room, -1 without one.
        noise: None without one.
        noise_offset: first sample of the noise, which begins anew at its end.
        noise_snr_db: level of the louder speaker above the noise.
    """

    voices: tuple[Voice, Voice]
    length: int
    room: int = -1
    noise: Noise | None = None
    noise_offset: int = 0
    noise_snr_db: float = 0.0


class SceneDrawer:
    """Draws scenes of the speakers of a bank.

    Args:
        bank: the recordings of a split.
        config: how.

    Raises:
        ValueError: the bank lacks the rooms, noises or speakers that are asked for.
    """

    def __init__(self, bank: Bank, config: MixingConfig):
        if config.room_share and (len(bank.rooms) == 0 or bank.rooms.shape[1] < 2):
            raise ValueError(
                f"room_share is {config.room_share:g}, but {config.bank} has no rooms with two "
                "places"
            )
        if config.noise_share and not bank.noises:
            raise ValueError(
                f"noise_share is {config.noise_share:g}, but {config.bank} has no noises"
            )
        self.bank = bank
        self.config = config
        self.length = round(config.seconds * bank.rate)
        speakers = [s for s in bank.speakers if self._utterance_weights(s).any()]
        self._groups = {sex: _Group(speakers, sex, bank.rate) for sex in ("F", "M", "")}
        if not self._can_pair(""):
            raise ValueError(
                f"{config.bank} has no two speakers that may be mixed: look at unsure_sources, "
                "clean_snr_db and noisy_weight"
            )
        pairs = {PAIRS[name]: share for name, share in config.pairs.items() if share}
        known = {pair: share for pair, share in pairs.items() if self._can_pair(pair)}
        self._pairs = list(known) or [""]
        self._pair_shares = np.array(list(known.values()) or [1.0])
        self._pair_shares /= self._pair_shares.sum()
        unknown = len(speakers) - sum(len(self._groups[sex].speakers) for sex in ("F", "M"))
        if known and unknown:
            logging.warning(
                f"{config.bank}: {unknown} of {len(speakers)} speakers are of unknown sex and are "
                "not drawn"
            )

    def _pair_groups(self, pair: str) -> list["_Group"]:
        """Return the groups that the two of a pair are drawn from."""
        return [self._groups[sex] for sex in pair or ("", "")]

    def _can_pair(self, pair: str) -> bool:
        """Say whether the bank has two speakers of these sexes that may be mixed."""
        first, second = (group.speakers for group in self._pair_groups(pair))
        has_two = len(first) > 1 if first is second else bool(first and second)
        unsure = self.config.unsure_sources
        return has_two and any(s.source not in unsure for s in (*first, *second))

    def draw(self, rng: np.random.Generator, pair: str | None = None) -> Scene:
        """Draw a scene.

        Args:
            rng: source of all randomness.
            pair: sexes of the two, such as ``FM``; None: as often as ``pairs`` says.
        """
        config = self.config
        if pair is None or not self._can_pair(pair):
            pair = self._pairs[rng.choice(len(self._pairs), p=self._pair_shares)]
        first, second = self._draw_speakers(rng, pair)
        spans = [(0, self.length), (0, self.length)]
        if rng.random() < config.partial_share:
            alone = round(self.length * rng.uniform(*config.alone_share))
            is_late = rng.random() < 0.5
            spans[rng.integers(2)] = (alone, self.length) if is_late else (0, self.length - alone)
        gain_db = rng.uniform(-config.level_db, config.level_db) / 2
        room, places = -1, (-1, -1)
        if rng.random() < config.room_share:
            room = int(rng.integers(len(self.bank.rooms)))
            places = rng.permutation(self.bank.rooms.shape[1])[:2].tolist()
        noise, offset, snr_db = None, 0, 0.0
        if rng.random() < config.noise_share:
            noise = self.bank.noises[rng.integers(len(self.bank.noises))]
            offset, snr_db = int(rng.integers(noise.length)), rng.uniform(*config.noise_snr_db)
        voices = [
            self._draw_voice(rng, speaker, span, gain, place)
            for speaker, span, gain, place in zip(
                (first, second), spans, (gain_db, -gain_db), places, strict=True
            )
        ]
        return Scene((voices[0], voices[1]), self.length, room, noise, offset, snr_db)

    def _draw_speakers(self, rng: np.random.Generator, pair: str) -> tuple[Speaker, Speaker]:
        """Draw two different speakers of the sexes of ``pair``; any of both where it is empty."""
        groups = self._pair_groups(pair)
        while True:  # _can_pair has made sure that there are two
            first, second = (group.draw(rng) for group in groups)
            are_unsure = all(s.source in self.config.unsure_sources for s in (first, second))
            if first.name != second.name and not are_unsure:
                return first, second

    def _utterance_weights(self, speaker: Speaker) -> np.ndarray:
        """Return how often each of a speaker's utterances is drawn, relative to one another."""
        config = self.config
        return np.array(
            [
                config.noisy_weight if u.snr_db < config.clean_snr_db else 1.0
                for u in speaker.utterances
            ]
        )

    def _draw_voice(
        self,
        rng: np.random.Generator,
        speaker: Speaker,
        span: tuple[int, int],
        gain_db: float,
        place: int,
    ) -> Voice:
        """Draw what a speaker says, and how fast, between two samples."""
        speeds = self.config.speeds
        speed = float(speeds[rng.integers(len(speeds))])
        weights = self._utterance_weights(speaker)
        wanted, total, said = span[1] - span[0], 0, []
        while total < wanted:
            utterance = speaker.utterances[
                rng.choice(len(speaker.utterances), p=weights / weights.sum())
            ]
            said.append(utterance)
            total += changed_length(utterance.length, speed)
        offset = int(rng.integers(total - wanted + 1))
        return Voice(speaker.name, tuple(said), speed, offset, *span, gain_db, place)


class _Group:
    """Speakers of one sex, or all, drawn the more often the more they say, up to a minute."""

    def __init__(self, speakers: Sequence[Speaker], sex: str, rate: int):
        self.speakers = [speaker for speaker in speakers if sex in ("", speaker.sex)]
        seconds = [sum(u.length for u in s.utterances) / rate for s in self.speakers]
        weights = np.sqrt(np.minimum(seconds, 60.0))
        self._shares = weights / weights.sum() if len(weights) else weights

    def draw(self, rng: np.random.Generator) -> Speaker:
        return self.speakers[rng.choice(len(self.speakers), p=self._shares)]


def changed_length(length: int, speed: float) -> int:
    """Return how many samples ``length`` samples become at a speed."""
    return round(length / speed)
