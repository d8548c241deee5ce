"""Errors that a user is shown as one line."""


class TisdissError(ValueError):
    """What the user asked for cannot be done; the text says what, where, and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its name where it has none.

    After a colon at its end (as PyTorch has it on weights that do not fit) the next line is added.
    """
    first, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first


class AudioError(TisdissError):
    """A file that cannot be read or written: ``path: what; what to do``, in one line."""
