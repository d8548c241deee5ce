"""The corpus's sentences as transcripts: words in lower case, with numbers spelt out."""

from __future__ import annotations

import re

UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORD = re.compile(r"[a-z']+|[0-9]+")


def transcript(sentence: str) -> str:
    """Return the words of a sentence, separated by spaces.

    Raises:
        ValueError: it has a number above 999, which no sentence of the corpus has.
    """
    found = WORD.findall(sentence.lower())
    return " ".join(_spelt(int(word)) if word.isdigit() else word for word in found)


def _spelt(number: int) -> str:
    """Return a number in words, as espeak-ng says it in English."""
    if number < len(UNITS):
        return UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return f"{TENS[tens - 2]} {UNITS[units]}" if units else TENS[tens - 2]
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        words = f"{UNITS[hundreds]} hundred"
        return f"{words} and {_spelt(rest)}" if rest else words
    raise ValueError(f"{number}: numbers above 999 are not spelt")
