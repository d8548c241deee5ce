"""TISDiSS (arXiv 2509.15666) as a plugin for ESPnet's enhancement task.

Importing this package registers with ESPnet the separator ``tisdiss`` and the loss wrapper
``multi_depth_pit``; after that every ESPnet class and command of this process knows them.
"""

from espnet2_tisdiss.config import TISDiSSConfig
from espnet2_tisdiss.inference import Estimate, SeparateSpeech
from espnet2_tisdiss.loss import MultiDepthPIT
from espnet2_tisdiss.registration import register
from espnet2_tisdiss.separator import TISDiSSSeparator

__version__ = "0.1.0"
__all__ = [
    "Estimate",
    "MultiDepthPIT",
    "SeparateSpeech",
    "TISDiSSConfig",
    "TISDiSSSeparator",
    "register",
]

register()
