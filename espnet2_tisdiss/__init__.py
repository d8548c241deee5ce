"""TISDiSS (arXiv 2509.15666) as a plugin for ESPnet's enhancement task.

Once this package is imported, ESPnet knows the separator ``tisdiss`` and the loss wrapper
``multi_depth_pit`` in every class and command of this process. ESPnet's task module, whose import
takes seconds, is not imported here: the two names are added in the moment it is.
"""

import importlib
from typing import Any

import wrapt

__version__ = "0.1.0"
__all__ = [
    "Estimate",
    "MultiDepthPIT",
    "SeparateSpeech",
    "TISDiSSConfig",
    "TISDiSSSeparator",
    "TisdissError",
    "register",
]

_MODULES = {
    "Estimate": "separate.speech",
    "MultiDepthPIT": "network.loss",
    "SeparateSpeech": "separate.speech",
    "TISDiSSConfig": "network.config",
    "TISDiSSSeparator": "network.separator",
    "TisdissError": "errors",
    "register": "espnet.registration",
}


def __getattr__(name: str) -> Any:
    """Import what the package exports when it is asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]


wrapt.register_post_import_hook(f"{__name__}.espnet.registration:register", "espnet2.tasks.enh")
