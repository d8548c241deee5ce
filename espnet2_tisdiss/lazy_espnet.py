"""What of ESPnet takes seconds to import, and is therefore imported when it is first needed."""

import contextlib
import importlib
import io
import logging
from types import ModuleType


def espnet_module(name: str) -> ModuleType:
    """Import one of ESPnet's modules, without its remarks on optional packages that are missing."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module(name)
    finally:
        logging.disable(before)
