"""``tisdiss calibrate``."""

EXAMPLES = ""


def command() -> None:
    """To be written."""
