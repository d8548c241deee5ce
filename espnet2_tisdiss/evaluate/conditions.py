"""The conditions, apart from the model, on which the speed of a separation depends."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from espnet2_tisdiss.network.precision import HALF_TYPES

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech


@dataclass(frozen=True)
class Conditions:
    """The conditions of a measurement.

    Attributes:
        device: name of the processor.
        threads: PyTorch's number of threads.
        dtype: data type of the computation, and whether the weights have it too and the model is
            compiled.
    """

    device: str
    threads: int
    dtype: str

    @classmethod
    def of(cls, model: "SeparateSpeech") -> Self:
        """Return the conditions of a model on its device in this process."""
        words = [model.precision]
        if next(model.separator.parameters()).dtype in HALF_TYPES:
            words.append("weights too")
        if model.separator.is_compiled:
            words.append("compiled")
        device = _device_name(torch.device(model.device))
        return cls(device, torch.get_num_threads(), ", ".join(words))


def _device_name(device: torch.device) -> str:
    """Return the name of the processor of ``device``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:  # on Linux, platform.processor() returns at best the architecture
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
