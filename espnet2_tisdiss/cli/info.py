"""``tisdiss info``."""

EXAMPLES = ""


def command() -> None:
    """To be written."""
