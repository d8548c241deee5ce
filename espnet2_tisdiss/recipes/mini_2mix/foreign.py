"""Sentences of other languages, for voices that read no English.

``foreign_sentences.json`` holds, by language, the parts of a sentence in their order; any choice of
one from each part is a sentence.
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
