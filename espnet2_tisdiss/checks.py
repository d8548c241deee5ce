"""Checks of constructor arguments: errors that name the argument and the values allowed."""

import numbers
import operator
from collections.abc import Collection, Sequence
from typing import Any


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}; got {value!r}")


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Return ``value`` as an int; raise ValueError unless it is an integer >= ``minimum``."""
    try:
        if isinstance(value, bool):
            raise TypeError
        integer = operator.index(value)
    except TypeError:
        integer = minimum - 1
    if integer < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}; got {value!r}")
    return integer


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError unless ``value`` is a number with ``low`` <= value < ``high``."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not low <= value < high:
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}); got {value!r}")


def check_divides(name: str, divisor: int, whole: str, value: int) -> None:
    """Raise ValueError unless the argument ``name``, a divisor, divides ``value``."""
    if value % divisor:
        raise ValueError(f"{name} must divide {whole} = {value}; got {divisor}")


def some_of(names: Collection[str], most: int = 5) -> str:
    """Return the first names in the order of the alphabet, and how many more there are."""
    more = len(names) - most
    return ", ".join(sorted(names)[:most]) + (f" and {more} more" if more > 0 else "")


def as_list(value: Any) -> list:
    """Return a list as a new list, and anything else (a string too) as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false; got {value!r}")
