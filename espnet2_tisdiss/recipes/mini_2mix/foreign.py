"""Sentences in other languages, for voices that do not read English.

``foreign_sentences.json`` holds for each language the parts of a sentence in order; any choice of
one entry per part is a sentence.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random


@cache
def _parts() -> dict[str, list[list[str]]]:
    path = Path(__file__).with_name("foreign_sentences.json")
    return json.loads(path.read_text(encoding="utf-8"))


def foreign_sentence(language: str, rng: Random) -> str:
    """Draw one sentence of a language (``it``, ``ca``, ``cs``, ``fi`` or ``ru``)."""
    text = " ".join(rng.choice(part) for part in _parts()[language])
    return text[0].upper() + text[1:] + "."
