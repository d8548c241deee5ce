"""Notices of differences between a file and its header."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """A difference between a file and its header.

    Attributes:
        text: the difference, in one phrase.
        is_loss: whether samples are missing or damaged; otherwise all samples were found.
    """

    text: str
    is_loss: bool


OnNotice = Callable[[Notice], None]


def missing(found: float, stated: float) -> Notice:
    """Return the notice for a file with only ``found`` of the ``stated`` seconds."""
    return Notice(f"truncated: only {found:.3f} of {stated:.3f} s found", is_loss=True)


def left_over(found: float, stated: float) -> Notice:
    """Return the notice for a file with more seconds than its header states."""
    return Notice(f"the header states {stated:.3f} s; all {found:.3f} s were read", is_loss=False)
