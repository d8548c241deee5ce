"""Errors that a user is shown as one line."""


class TisdissError(ValueError):
    """What the user asked for cannot be done; the text says what, where, and what to do."""
