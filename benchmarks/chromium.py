"""Chromium, driven by playwright, for code that must run in a browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "chrome")


def missing() -> str | None:
    """Return what is not installed; None if everything is."""
    if not any(map(shutil.which, NAMES)):
        return "Chromium is not installed"
    return None if find_spec("playwright") else "playwright is not installed: make pages"


@contextmanager
def launched(*options: str) -> "Iterator[Browser]":
    """Provide a browser without a window.

    Args:
        *options: of its command line.

    Raises:
        TisdissError: it or its driver is missing.
    """
    if reason := missing():
        raise TisdissError(reason)
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", *options])
        try:
            yield browser
        finally:
            browser.close()
