"""The model of a subcommand: its device and threads, and loading it."""

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from espnet2_tisdiss.choices import Dtype
from espnet2_tisdiss.cli.console import LineHandler, messages
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.pretrained.bundled import TRAINED_ON, bundled_models

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech

DEVICES = ("cpu", "cuda", "mps")


def pick_device(device: str) -> str:
    """Return the PyTorch name of a device; ``auto`` is a GPU if available, else the CPU.

    Raises:
        TisdissError: the device is not available.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in DEVICES:
        raise TisdissError(f"--device {device}: expected auto, {', '.join(DEVICES)} or cuda:1")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch without CUDA
        # without any such device, PyTorch's message is a paragraph
        has_any = kind == "cuda" and torch.cuda.is_available()
        reason = first_line(error) if has_any else "PyTorch finds none"
        raise TisdissError(f"--device {device}: not available ({reason}); try cpu") from error
    return device


def load_for_command(
    name: str, device: str, dtype: Dtype, sample_rate: int | None
) -> "SeparateSpeech":
    """Load a model for a command while showing a status, with log messages on the console.

    Args:
        name: as for :func:`~espnet2_tisdiss.pretrained.finding.find_model`.
        device: PyTorch name of the device, or ``auto``.
        dtype: precision of the computation.
        sample_rate: sample rate of the model in Hz; None: from its configuration.

    Raises:
        TisdissError: the model does not exist or cannot be loaded, or the device is not available.
    """
    from espnet2_tisdiss.separate.speech import SeparateSpeech

    log_to_console()
    with messages.status(f"loading {name}"):
        model = SeparateSpeech.from_pretrained(
            name, device=pick_device(device), dtype=dtype, sample_rate=sample_rate
        )
    if name in bundled_models():
        messages.print(
            f"model: {name}, which comes with the package; trained on {TRAINED_ON[name]}",
            markup=False,
            highlight=False,
        )
    return model


def log_to_console() -> None:
    """Send the log's warnings to the console."""
    logging.basicConfig(level=logging.WARNING, handlers=[LineHandler()], force=True)


def set_threads(threads: int | None) -> None:
    """Set PyTorch's number of threads; None keeps PyTorch's choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def depths_of_interest(model: "SeparateSpeech") -> list[int]:
    """Return the depths from 1 to the last that may still improve the result."""
    return list(range(1, model.separator.config.deepest_useful + 1))


@contextlib.contextmanager
def reporting_torch_errors() -> Iterator[None]:
    """Turn errors of PyTorch in the block, mostly out of memory, into a TisdissError.

    Raises:
        TisdissError: PyTorch failed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = first_line(error)
        raise TisdissError(f"the model cannot be run: {reason}; try fewer --seconds") from error
