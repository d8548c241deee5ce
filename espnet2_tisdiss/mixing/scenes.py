"""Draw the parameters of a mixture: who speaks when and how loud, in which room, with which noise.

A scene contains only these parameters and is drawn without reading samples; ``rendering`` computes
its waveforms.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeGuard

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
        pairs: relative frequencies of ``women``, ``men`` and ``mixed`` pairs, among the kinds that
            the bank has. If it has none of them, because no speaker's sex is known, speakers are
            paired at random; otherwise speakers of unknown sex are not drawn.
        level_db: largest level difference between the two speakers.
        speeds: factors on the speed, and so on the pitch; one is drawn for each voice.
        partial_share: fraction of mixtures in which one speaker is silent at the start or the end.
        alone_share: range of that silence, as fractions of the mixture's length.
        room_share: fraction of mixtures in a room.
        noise_share: fraction of mixtures with noise.
        noise_snr_db: range of the louder speaker's level above the noise.
        clean_snr_db: recordings with a lower signal-to-noise ratio are noisy.
        noisy_weight: frequency of noisy recordings, relative to clean ones.
        unsure_sources: data sets whose speaker labels are guesses. Two speakers of such sets, who
            may be the same person, are never mixed.
    """

    bank: str
    seconds: float = 3.0
    pairs: Mapping[str, float] = field(
        default_factory=lambda: {"women": 0.35, "men": 0.25, "mixed": 0.4}
    )
    level_db: float = 5.0
    speeds: Sequence[float] = (0.9, 0.95, 1.0, 1.05, 1.1)
    partial_share: float = 0.3
    alone_share: tuple[float, float] = (0.2, 0.5)
    room_share: float = 0.25
    noise_share: float = 0.25
    noise_snr_db: tuple[float, float] = (5.0, 25.0)
    clean_snr_db: float = 30.0
    noisy_weight: float = 0.5
    unsure_sources: Sequence[str] = ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "MixingConfig":
        """Build from a mapping of options.

        Raises:
            ValueError: an option is unknown, missing or has a wrong value; the message names it.
        """
        names = [option.name for option in fields(cls)]
        if not isinstance(options, Mapping):
            raise ValueError(f"mixing_conf must be a mapping of options; got {options!r}")
        for name in options:
            check_choice("an option of mixing_conf", name, names)
        if not options.get("bank"):
            raise ValueError("mixing_conf lacks bank, the folder of the recordings")
        return cls(**options)

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ValueError: a value is wrong; the message names the option and the values allowed.
        """
        check_number("seconds", self.seconds, 0.5, 3600)
        check_number("level_db", self.level_db, 0, 100)
        check_number("clean_snr_db", self.clean_snr_db, float("-inf"), float("inf"))
        for name in ("partial_share", "room_share", "noise_share", "noisy_weight"):
            _check_share(name, getattr(self, name))
        _check_range("alone_share", self.alone_share, 0, 1)
        _check_range("noise_snr_db", self.noise_snr_db, -100, 100)
        if not isinstance(self.pairs, Mapping):
            raise ValueError(
                f"pairs must be a mapping of {', '.join(PAIRS)} to numbers; got {self.pairs!r}"
            )
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


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Return whether a value is a list or tuple, not a string."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_share(name: str, value: Any) -> None:
    """Raise ValueError unless a value is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1; got {value!r}")


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError unless a value is two numbers in [low, high), the smaller one first."""
    if not _is_list(value) or len(value) != 2:
        raise ValueError(f"{name} must be a list of two numbers; got {value!r}")
    for number in value:
        check_number(name, number, low, high)
    if value[0] > value[1]:
        raise ValueError(f"{name} must start with the smaller number; got {list(value)}")


@dataclass(frozen=True)
class Voice:
    """One speaker of a mixture.

    Attributes:
        speaker: name.
        utterances: recordings, concatenated.
        speed: factor.
        offset: samples skipped at the start of the recordings, at that speed.
        start: first sample of the mixture in which the speaker is active.
        stop: sample after the last one.
        gain_db: level of the active frames.
        place: index of the place in the room; -1 without a room.
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
        room: index of the room; -1 without a room.
        noise: the noise; None without noise.
        noise_offset: first sample of the noise, which is repeated from its start as needed.
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
        config: how scenes are drawn.

    Raises:
        ValueError: the bank lacks rooms, noises or speakers that ``config`` needs.
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
                f"{config.bank} has no two speakers that may be mixed: check unsure_sources, "
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
        """Return the groups from which the two speakers of a pair are drawn."""
        return [self._groups[sex] for sex in pair or ("", "")]

    def _can_pair(self, pair: str) -> bool:
        """Return whether the bank has two speakers of these sexes that may be mixed."""
        first, second = (group.speakers for group in self._pair_groups(pair))
        has_two = len(first) > 1 if first is second else bool(first and second)
        unsure = self.config.unsure_sources
        return has_two and any(s.source not in unsure for s in (*first, *second))

    def draw(self, rng: np.random.Generator, pair: str | None = None) -> Scene:
        """Draw a scene.

        Args:
            rng: source of randomness.
            pair: sexes of the two speakers, such as ``FM``; None: drawn as ``pairs`` says.
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
        """Draw two different speakers of the sexes of ``pair``; if it is empty, of any."""
        groups = self._pair_groups(pair)
        while True:  # ends: _can_pair has ensured that there are two
            first, second = (group.draw(rng) for group in groups)
            are_unsure = all(s.source in self.config.unsure_sources for s in (first, second))
            if first.name != second.name and not are_unsure:
                return first, second

    def _utterance_weights(self, speaker: Speaker) -> np.ndarray:
        """Return the relative frequency of each of a speaker's utterances."""
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
        """Draw a speaker's utterances and speed for a span of samples (start, stop)."""
        speeds = self.config.speeds
        speed = float(speeds[int(rng.integers(len(speeds)))])
        weights = self._utterance_weights(speaker)
        wanted, total, utterances = span[1] - span[0], 0, []
        while total < wanted:
            utterance = speaker.utterances[
                rng.choice(len(speaker.utterances), p=weights / weights.sum())
            ]
            utterances.append(utterance)
            total += changed_length(utterance.length, speed)
        offset = int(rng.integers(total - wanted + 1))
        return Voice(speaker.name, tuple(utterances), speed, offset, *span, gain_db, place)


class _Group:
    """Speakers of one sex, or all of them.

    They are drawn in proportion to the square root of their duration, of at most a minute.
    """

    def __init__(self, speakers: Sequence[Speaker], sex: str, rate: int):
        self.speakers = [speaker for speaker in speakers if sex in ("", speaker.sex)]
        seconds = [sum(u.length for u in s.utterances) / rate for s in self.speakers]
        weights = np.sqrt(np.minimum(seconds, 60.0))
        self._shares = weights / weights.sum() if len(weights) else weights

    def draw(self, rng: np.random.Generator) -> Speaker:
        """Draw a speaker."""
        return self.speakers[rng.choice(len(self.speakers), p=self._shares)]


def changed_length(length: int, speed: float) -> int:
    """Return the number of samples of ``length`` samples after a change of speed."""
    return round(length / speed)
