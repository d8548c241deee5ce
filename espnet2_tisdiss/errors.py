"""Errors that commands print as one line."""


class TisdissError(ValueError):
    """The user's request cannot be met; the text says what is wrong, where, and what to do."""


class OptionError(TisdissError):
    """An argument or an option of a configuration is wrong; the text names it and what is allowed.

    Code that reads a user's configuration catches this error to name the file. It does not catch
    any other ValueError, which is a bug.
    """


class UnknownOptionError(OptionError, TypeError):
    """An option does not exist; a TypeError, as for any unknown keyword argument."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the error's class name if it has no text.

    If that line ends in a colon, as in PyTorch's errors on weights that do not match, the next line
    is appended.
    """
    first, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first


class AudioError(TisdissError):
    """A file cannot be read or written; the text is one line, ``path: reason; what to do``."""
