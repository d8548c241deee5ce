"""Weights whose names do not fit a model."""

from collections.abc import Iterable

from espnet2_tisdiss.checks import abbreviated


class WeightsError(RuntimeError):
    """Weights do not fit the model; a RuntimeError, as PyTorch raises for other shapes."""


def check_names(expected: Iterable[str], found: Iterable[str]) -> None:
    """Check that the weights found have the names expected, all of them and no others.

    ESPnet loads with strict=False, which would silently skip weights that do not match.

    Raises:
        WeightsError: names are missing or left over; the message lists them.
    """
    missing, left_over = set(expected) - set(found), set(found) - set(expected)
    if missing or left_over:
        raise WeightsError(
            "the weights do not fit this TISDiSS configuration; "
            f"missing: {abbreviated(missing) or 'none'}; "
            f"left over: {abbreviated(left_over) or 'none'}"
        )
