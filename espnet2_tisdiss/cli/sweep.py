"""``tisdiss sweep``."""

EXAMPLES = ""


def command() -> None:
    """To be written."""
