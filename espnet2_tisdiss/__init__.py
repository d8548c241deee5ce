"""TISDiSS (arXiv 2509.15666) as a plugin for ESPnet's enhancement task.

Importing this package registers the separator ``tisdiss`` and the loss wrapper ``multi_depth_pit``
with ESPnet, for all of its classes and commands in this process. ESPnet's task module takes seconds
to import, so it is not imported here: an import hook adds the two names when it is.
"""

import importlib
from typing import Any

import wrapt

__version__ = "0.1.0"
__all__ = [
    "Estimate",
    "FileOptions",
    "MultiDepthPIT",
    "RecordingOptions",
    "SeparateSpeech",
    "TISDiSSConfig",
    "TISDiSSSeparator",
    "TisdissError",
    "register",
]

_MODULES = {
    "Estimate": "separate.interface",
    "FileOptions": "separate.options",
    "MultiDepthPIT": "network.loss",
    "RecordingOptions": "separate.options",
    "SeparateSpeech": "separate.speech",
    "TISDiSSConfig": "network.config",
    "TISDiSSSeparator": "network.separator",
    "TisdissError": "errors",
    "register": "espnet.registration",
}


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]


wrapt.register_post_import_hook(f"{__name__}.espnet.registration:register", "espnet2.tasks.enh")
wrapt.register_post_import_hook(
    f"{__name__}.espnet.registration:register_joint", "espnet2.tasks.enh_s2t"
)
