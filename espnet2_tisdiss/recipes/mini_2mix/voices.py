"""The voices of the corpus: speakers, their differences, and the split of each.

A voice of the espeak-ng engine is an accent, a variant (a set of formants: a vocal tract), a
pitch, a pitch range and a speaking rate.  Accents that are not English read the same English
text by their own rules, which adds phonemes that English lacks.  The voices of other engines are in
flite.py and festival.py.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError

ENGLISH_ACCENTS = (
    "en",  # Great Britain
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",  # Caribbean
    "en-us",
    "en-us-nyc",
)
OTHER_ACCENTS = ("ca", "cs", "de", "es", "fi", "fr", "hr", "id", "it", "nl", "pl", "pt-br", "sv")

# Variants that sound like different people, by their formants. Left out are whispers, croaks,
# robots, strong echoes, and those whose long-term spectrum equals that of one listed here.
# At the engine's middle pitch the low ones speak at about 75 to 150 Hz, the high ones at 180 to
# 270 Hz.
# fmt: off
LOW_VARIANTS = (
    "adam", "Alex", "Andy", "antonio", "benjamin", "boris", "david", "Denis", "Diogo", "ed",
    "edward", "edward2", "Gene", "Henrique", "Hugo", "iven", "iven4", "john", "kaukovalta",
    "klatt3", "klatt4", "Lee", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max",
    "Michael", "michel", "Mike", "mike2", "Nguyen", "norbert", "pablo", "paul", "pedro", "Reed",
    "robert", "sandro", "travis", "victor",
)
HIGH_VARIANTS = (
    "Andrea", "anika", "Annie", "belinda", "f1", "f2", "f3", "f4", "f5", "grandma", "linda",
    "shelby", "steph",
)
# fmt: on

# The engine's pitch scale is 0 to 99; 18 of its steps are about 3 semitones.
LOW_PITCHES = (28.0, 82.0)
HIGH_PITCHES = (18.0, 66.0)


ENGLISH = "en"
OWN_TRACT = 100

# Speaks a text: (samples as float32 of shape (n,), sample rate in hertz).
Speak = Callable[[str], tuple[np.ndarray, float]]


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One speaker.

    For espeak-ng ``pitch`` and ``pitch_range`` are on the engine's scale, 0 to 99, and ``rate`` is
    words per minute; for flite ``pitch`` is in hertz and ``rate`` the duration in percent of the
    original voice's.  0: the engine's default.
    """

    speaker: str
    engine: str  # "espeak-ng", "flite" or "festival"
    accent: str
    variant: str
    pitch: int = 0
    pitch_range: int = 0
    rate: int = 0
    split: str
    tract: int = OWN_TRACT  # length of the vocal tract in percent of that of the original voice

    @property
    def person(self) -> str:
        """The person: the versions of a voice of flite are one person."""
        return f"flite {self.variant}" if self.engine == "flite" else self.speaker

    @property
    def language(self) -> str:
        """The language of the text; espeak-ng's foreign accents read English."""
        return self.accent.partition("-")[0] if self.engine == "festival" else ENGLISH


def run_engine(
    voice: Voice, command: Sequence[str | Path], spoken: Path, text: str
) -> tuple[np.ndarray, float]:
    """Let a command speak a text into a file of its folder; see :data:`Speak`."""
    spoken.unlink(missing_ok=True)
    result = subprocess.run(
        command, cwd=spoken.parent, stdin=subprocess.DEVNULL, capture_output=True
    )
    if result.returncode != 0 or not spoken.exists():
        errors = result.stderr.decode(errors="replace").split("\n")[0].strip()
        reason = errors or f"status {result.returncode}"
        raise TisdissError(f"{voice.engine}, voice {voice.variant}, on {text!r}: {reason}")
    return soundfile.read(spoken, dtype="float32")


def plan_voices(count: int, seed: int) -> list[Voice]:
    """Choose ``count`` espeak-ng voices, half of them low and half high, and their splits.

    Each combination of accent and variant occurs once, and voices with the same variant are spread
    over the pitch range, each in a different part, so that no two voices are nearly the same.
    """
    rng = Random(f"{seed}/voices")
    groups = [
        _pitch_group(HIGH_VARIANTS, HIGH_PITCHES, count // 2, rng),
        _pitch_group(LOW_VARIANTS, LOW_PITCHES, count - count // 2, rng),
    ]
    held_out = max(4, round(0.1 * count))  # voices in valid, and as many in test
    voices: list[Voice] = []
    for group, share in zip(groups, (held_out // 2, held_out - held_out // 2), strict=True):
        splits = ["valid"] * share + ["test"] * share
        splits += ["train"] * (len(group) - len(splits))
        voices += [replace(v, split=s) for v, s in zip(group, splits, strict=True)]
    rng.shuffle(voices)
    digits = len(str(count))
    return [replace(v, speaker=f"e{i:0{digits}d}") for i, v in enumerate(voices, start=1)]


def _pitch_group(
    variants: tuple[str, ...], pitches: tuple[float, float], count: int, rng: Random
) -> list[Voice]:
    """Make ``count`` voices of these variants, in random order and not yet named."""
    low, high = pitches
    order = rng.sample(variants, len(variants))
    group = []
    for index, variant in enumerate(order):
        share = len(range(index, count, len(order)))  # variants are dealt out in turn
        width = (high - low) / max(share, 1)
        for part, accent in enumerate(_accents(share, rng)):
            group.append(
                Voice(
                    speaker="",
                    engine="espeak-ng",
                    accent=accent,
                    variant=variant,
                    pitch=round(low + width * (part + rng.uniform(0.25, 0.75))),
                    pitch_range=rng.randint(30, 75),
                    rate=rng.randint(140, 205),
                    split="",
                )
            )
    rng.shuffle(group)
    return group


def _accents(count: int, rng: Random) -> list[str]:
    """Draw different accents, about two thirds of them English."""
    english = min(len(ENGLISH_ACCENTS), math.ceil(count * 2 / 3))
    if count == 1:
        english = int(rng.random() < 2 / 3)
    if count - english > len(OTHER_ACCENTS):
        raise ValueError(f"{count} voices of one variant are more than there are accents")
    drawn = rng.sample(ENGLISH_ACCENTS, english) + rng.sample(OTHER_ACCENTS, count - english)
    rng.shuffle(drawn)
    return drawn


def write_voices(path: Path, voices: list[Voice]) -> None:
    """Write the table of voices, tab-separated, with a header line.

    The column ``tract`` is present if a voice's tract was changed.
    """
    names = [field.name for field in fields(Voice)]
    if all(voice.tract == OWN_TRACT for voice in voices):
        names.remove("tract")
    rows = ["\t".join(str(getattr(voice, name)) for name in names) for voice in voices]
    write_atomically(path, "\n".join(["\t".join(names), *rows]) + "\n")
