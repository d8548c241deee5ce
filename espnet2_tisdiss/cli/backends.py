"""The backend that runs the model, PyTorch or ONNX Runtime, and loading the model for it."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from espnet2_tisdiss.choices import Dtype
from espnet2_tisdiss.cli.console import messages
from espnet2_tisdiss.cli.model_loading import (
    load_for_command,
    log_to_console,
    pick_device,
    set_threads,
)
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # PyTorch and NumPy take long to import
    from espnet2_tisdiss.separate.any_length import RecordingSeparator

Backend = Literal["torch", "onnx"]
BackendOption = Annotated[
    Backend | None,
    typer.Option(
        help="What runs the model: PyTorch, or ONNX Runtime on the CPU, which starts faster. For "
        "onnx, a model is exported once and kept in the cache.",
        show_default="onnx for a folder of tisdiss export",
    ),
]


@dataclass(frozen=True)
class ModelSource:
    """A model and its backend: what the processes of a command need to load it.

    Args:
        name: of the model, as for :func:`~espnet2_tisdiss.pretrained.finding.find_model`.
        exported: its folder of ONNX graphs; None: PyTorch runs the model.
        device: PyTorch's name of the device, or ``auto``.
        dtype: precision of the computation.
        sample_rate: of the model in Hz; None: from its configuration.
        threads: of each process; None: the backend's choice.
    """

    name: str
    exported: Path | None
    device: str
    dtype: Dtype
    sample_rate: int | None
    threads: int | None = None

    @classmethod
    def chosen(
        cls,
        backend: Backend | None,
        name: str,
        device: str,
        dtype: Dtype,
        sample_rate: int | None = None,
        threads: int | None = None,
    ) -> "ModelSource":
        """Return the source that a command's options choose; export the model if they need that.

        Raises:
            TisdissError: the options contradict each other, or the model cannot be exported.
        """
        from espnet2_tisdiss.onnx.folder import exported_folder

        exported = exported_folder(name)
        if exported is not None and backend == "torch":
            raise TisdissError(f"{name}: was exported for ONNX Runtime; give the original model")
        has_torch = find_spec("torch") is not None
        if exported is None and backend != "onnx" and (backend or has_torch):
            return cls(name, None, device, dtype, sample_rate, threads)
        given = {"--device": device not in ("auto", "cpu"), "--dtype": dtype != "auto"}
        given["--model-rate"] = sample_rate is not None
        if wrong := [option for option, is_given in given.items() if is_given]:
            raise TisdissError(
                f"{wrong[0]}: cannot be combined with ONNX Runtime, which runs a model on the CPU "
                "as it was exported; see tisdiss export --help"
            )
        return cls(name, exported or _cached(name), "cpu", "auto", None, threads)

    def load(self) -> "RecordingSeparator":
        """Load the model."""
        if self.exported is None:
            from espnet2_tisdiss.separate.speech import SeparateSpeech

            set_threads(self.threads)
            return SeparateSpeech.from_pretrained(
                self.name,
                device=pick_device(self.device),
                dtype=self.dtype,
                sample_rate=self.sample_rate,
            )
        from espnet2_tisdiss.onnx.model import OnnxModel

        return OnnxModel(self.exported, self.threads)

    def load_for_command(self) -> "RecordingSeparator":
        """Load the model while showing a status, with log messages on the console."""
        if self.exported is None:
            set_threads(self.threads)
            return load_for_command(self.name, self.device, self.dtype, self.sample_rate)
        log_to_console()
        return self.load()

    def share_of_threads(self, jobs: int) -> int | None:
        """Return an equal share of the backend's threads for each of several processes."""
        if self.threads is not None or "OMP_NUM_THREADS" in os.environ:
            return self.threads
        if self.exported is None:
            import torch

            return max(1, torch.get_num_threads() // jobs)
        from espnet2_tisdiss.onnx.model import usual_threads

        return max(1, usual_threads() // jobs)


def _cached(name: str) -> Path:
    """Return the folder of a model's graphs in the user's cache; export them the first time.

    Raises:
        TisdissError: the model does not exist, or PyTorch or ONNX are missing.
    """
    from espnet2_tisdiss.onnx.folder import cached_folder, is_exported
    from espnet2_tisdiss.pretrained.finding import find_model

    folder = cached_folder(find_model(name))
    if not is_exported(folder):
        if find_spec("torch") is None:
            raise TisdissError(
                f"{name}: must be exported first, but PyTorch, which this needs, is not installed "
                f"here; run tisdiss export {name} OUT where it is, and give the folder OUT"
            )
        from espnet2_tisdiss.onnx.export import export_model

        model = load_for_command(name, "cpu", "float32", None)
        with messages.status(f"exporting {name} to {folder}, once"):
            export_model(model, folder)
    return folder
