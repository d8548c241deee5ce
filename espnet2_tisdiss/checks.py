"""Checks of arguments, whose errors name the argument and the values allowed."""

import numbers
import operator
import reprlib
import sys
from collections.abc import Collection, Sequence
from typing import Any

from espnet2_tisdiss.choices import MOST_N_RE
from espnet2_tisdiss.errors import OptionError

MOST_DIGITS = 18  # digits of an integer; Python refuses to read thousands
MOST_SHOWN = 300  # characters of a value in a message


class _Abbreviation(reprlib.Repr):
    """Python's notation of a value, cut where it is long, wide or deep."""

    def repr_int(self, value: int, level: int) -> str:
        """Return the text of a number; Python refuses to write one with thousands of digits."""
        if value.bit_length() > 1000:
            return f"<integer of {value.bit_length()} bits>"
        return super().repr_int(value, level)


_ABBREVIATION = _Abbreviation(maxlevel=3, maxstring=60, maxother=60)


def shown(value: Any) -> str:
    """Return the text of a value for a message, shortened: a user's file may hold any size."""
    text = _ABBREVIATION.repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise OptionError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise OptionError(
            f"{name} must be one of {', '.join(map(str, allowed))}; got {shown(value)}"
        )


def check_integer(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return ``value`` as an int; raise OptionError unless it is an integer in the range."""
    try:
        if isinstance(value, bool):
            raise TypeError
        integer = operator.index(value)
    except TypeError:
        integer = minimum - 1
    if integer < minimum or (maximum is not None and integer > maximum):
        allowed = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise OptionError(f"{name} must be an integer {allowed}; got {shown(value)}")
    return integer


def whole_number(text: str) -> int | None:
    """Return the integer >= 0 in decimal digits; None for other texts, or too many digits."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def check_n_re(name: str, value: Any, minimum: int = 1) -> int:
    """Return ``value`` as an int; raise OptionError unless it is a possible depth."""
    return check_integer(name, value, minimum, MOST_N_RE)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise OptionError unless ``value`` is a number in [``low``, ``high``)."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= value < high or abs(value) > sys.float_info.max:
        raise OptionError(f"{name} must be a number in [{low:g}, {high:g}); got {shown(value)}")


def check_divides(name: str, divisor: int, multiple: str, value: int) -> None:
    """Raise OptionError unless ``divisor``, the argument ``name``, divides ``value``."""
    if value % divisor:
        raise OptionError(f"{name} must divide {multiple} = {value}; got {divisor}")


def abbreviated(names: Collection[str], limit: int = 5) -> str:
    """Return the first ``limit`` names in alphabetical order, and how many more there are."""
    more = len(names) - limit
    return ", ".join(sorted(names)[:limit]) + (f" and {more} more" if more > 0 else "")


def span(numbers: Sequence[int]) -> str:
    """Return the range of numbers as ``3`` or ``2 to 5``; empty if there are none."""
    return " to ".join(map(str, sorted({min(numbers), max(numbers)}))) if numbers else ""


def as_list(value: Any) -> list:
    """Return a copy of a list or tuple as a list, any other value as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def check_flag(name: str, value: Any) -> None:
    """Raise OptionError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise OptionError(f"{name} must be true or false; got {shown(value)}")
