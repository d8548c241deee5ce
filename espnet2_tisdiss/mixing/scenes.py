"""Draw the parameters of a mixture: who speaks when and how loud, in which room, with which noise.

A scene contains only these parameters and is drawn without reading samples; ``rendering`` computes
its waveforms.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.mixing.bank import Bank, Noise, Speaker, Utterance
from espnet2_tisdiss.mixing.configuration import PAIRS, MixingConfig


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
            pair: sexes of the two speakers, such as ``FM``; None: drawn according to ``pairs``.
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
        """Draw two different speakers of the sexes in ``pair``, or of any sex if it is empty."""
        groups = self._pair_groups(pair)
        while True:  # this ends, because _can_pair has ensured that there are two
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

    They are drawn in proportion to the square root of their duration, capped at a minute.
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
