"""Sentences from a small seeded grammar, enough for every voice; some in other languages.

The English sentences are statements, questions, requests, lists and numbers about everyday things.
They need not be true, only pronounceable: the words, ``english_words.json``, were chosen to cover
the sounds of English. ``foreign_sentences.json`` holds for each language the parts of a
sentence in order; any choice of one entry per part is a sentence.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any


@cache
def _words(name: str) -> dict[str, Any]:
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))


def _english(kind: str) -> list[str]:
    return _words("english_words")[kind]


def _one(kind: str, rng: Random) -> str:
    return rng.choice(_english(kind))


def _thing(rng: Random) -> str:
    adjective, noun = _one("adjectives", rng), _one("things", rng)
    # "the" mostly; "a" would need "an" before vowels.
    return f"{rng.choice(['the', 'the', 'this', 'that', 'his', 'her', 'our'])} {adjective} {noun}"


def _statement(rng: Random) -> str:
    """Subject, verb and object, with none to three additions; the usual sentence."""
    parts = [_one("people", rng), _one("past_verbs", rng), _thing(rng)]
    if rng.random() < 0.3:
        parts.append(_one("how", rng))
    if rng.random() < 0.5:
        parts.append(_one("places", rng))
    if rng.random() < 0.4:
        parts.append(_one("times", rng))
    if rng.random() < 0.3:
        parts[-1] += ","
        parts.append(_one("reasons", rng))
    if rng.random() < 0.2:
        parts.insert(0, _one("opinions", rng))
    return " ".join(parts) + "."


def _remark(rng: Random) -> str:
    """A short sentence, for slow voices and short mixtures."""
    return rng.choice(
        [
            f"{_one('people', rng)} {_one('past_verbs', rng)} the {_one('things', rng)}.",
            f"{_one('plurals', rng)} are {_one('adjectives', rng)} {_one('places', rng)}.",
            f"{_thing(rng)} vanished {_one('times', rng)}.",
            f"where did {_one('people', rng)} go {_one('times', rng)}?",
            f"{_one('people', rng)} sang {_one('how', rng)}.",
        ]
    )


def _question(rng: Random) -> str:
    opening = rng.choice(["did", "will", "could", "when did", "why should", "how would"])
    parts = [opening, _one("people", rng), _one("base_verbs", rng), _thing(rng)]
    if rng.random() < 0.5:
        parts.append(_one("places", rng))
    return " ".join(parts) + "?"


def _request(rng: Random) -> str:
    opening = rng.choice(["please", "do not", "let us", "you had better", "remember to", "try to"])
    parts = [
        opening,
        _one("base_verbs", rng),
        _thing(rng),
        rng.choice(_english("how") + _english("places")),
    ]
    if rng.random() < 0.3:
        parts.append(_one("times", rng))
    return " ".join(parts) + "."


def _list(rng: Random) -> str:
    first, second, third = rng.sample(_english("plurals"), 3)
    owner = _one("people", rng)
    number = rng.randint(2, 99)
    return f"{owner} {_one('past_verbs', rng)} {number} {first}, {second} and {third}."


def _number(rng: Random) -> str:
    amount = rng.choice([rng.randint(3, 20), rng.randint(21, 99), rng.randint(100, 999)])
    place = _one("places", rng)
    return rng.choice(
        [
            f"it is {amount} {_one('measures', rng)} from {_thing(rng)} to the one {place}.",
            f"{_one('people', rng)} counted {amount} {_one('plurals', rng)} {place}.",
            f"room {amount} is {place}, {_one('reasons', rng)}.",
            f"after {amount} {_one('measures', rng)} {_one('people', rng)} stopped {place}.",
        ]
    )


def _comparison(rng: Random) -> str:
    first, second = rng.sample(_english("plurals"), 2)
    return (
        f"{first} {_one('places', rng)} are more {rng.choice(['costly', 'common'])} than {second}."
    )


# twice: drawn twice as often
_KINDS: tuple[Callable[[Random], str], ...] = (
    *(_statement, _statement, _remark, _remark),
    *(_question, _request, _list, _number, _comparison),
)


def sentence(rng: Random) -> str:
    """Draw one sentence, of about 5 to 25 words, with its capital letter and full stop."""
    text = rng.choice(_KINDS)(rng)
    return text[0].upper() + text[1:]


def foreign_sentence(language: str, rng: Random) -> str:
    """Draw one sentence of a language (``it``, ``ca``, ``cs``, ``fi`` or ``ru``)."""
    text = " ".join(rng.choice(part) for part in _words("foreign_sentences")[language])
    return text[0].upper() + text[1:] + "."


def split_of(text: str) -> str:
    """Return the split (``train``, ``valid`` or ``test``) in which this text may be spoken.

    A fixed function of the text: 80 % of the sentences belong to training, 10 % to each other.
    """
    tenth = zlib.crc32(text.encode("utf-8")) % 10
    return {0: "valid", 1: "test"}.get(tenth, "train")
