"""Import ESPnet modules, which takes seconds, only when they are needed."""

import contextlib
import importlib
import io
import logging
from types import ModuleType


def espnet_module(name: str) -> ModuleType:
    """Import one of ESPnet's modules, without its messages about missing optional packages."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module(name)
    finally:
        logging.disable(before)
