"""Empty files for the tests of searches in folders."""

from pathlib import Path


def touch(*names):
    """Make empty files and their folders."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
