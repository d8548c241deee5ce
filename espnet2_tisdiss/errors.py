"""Errors that a user is shown as one line."""


class TisdissError(ValueError):
    """What the user asked for cannot be done; the text says what, where, and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its name where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
