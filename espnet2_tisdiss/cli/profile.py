"""``tisdiss profile``."""

EXAMPLES = ""


def command() -> None:
    """To be written."""
