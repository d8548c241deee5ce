"""An exported model, run by ONNX Runtime, without PyTorch and ESPnet.

Axis letters: j speaker, n sample.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, override

import numpy as np

from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.onnx.folder import GRAPHS, file_name, read_description
from espnet2_tisdiss.onnx.transform import Transform
from espnet2_tisdiss.pretrained.layouts import CALIBRATION
from espnet2_tisdiss.separate.any_length import RecordingSeparator
from espnet2_tisdiss.separate.calibration import Calibration, calibration_of

if TYPE_CHECKING:
    import onnxruntime

ERRORS_ONLY = 3  # one of ONNX Runtime's log levels


class OnnxModel(RecordingSeparator):
    """An exported model with the methods of :class:`~espnet2_tisdiss.SeparateSpeech`.

    Mixtures of a batch are separated one after the other.

    Args:
        folder: folder written by ``tisdiss export``.
        threads: number of threads; None: :func:`usual_threads`.

    Raises:
        TisdissError: the folder is not an exported model, a file is damaged, or ONNX Runtime is
            missing.

    Example:
        >>> model = OnnxModel("exported")
        >>> voices = model.recording(samples, 44100, n_re=4)
    """

    device = "cpu"

    def __init__(self, folder: str | Path, threads: int | None = None):
        self._folder = Path(folder)
        description = read_description(self._folder)
        self._description, self._transform = description, Transform(description)
        self.sample_rate, self.num_spk = description.sample_rate, description.num_spk
        self.precision, self.hop = description.precision, description.hop
        self.look_ahead = description.look_ahead
        threads = threads or usual_threads()
        self._encode, self._repeat, self._decode = (
            _session(self._folder / file_name(graph), threads) for graph in GRAPHS
        )

    @property
    @override
    def fingerprint(self) -> str:
        """A name of the model, derived from its weights, configuration and precision."""
        suffix = "" if self.precision == "float32" else f"-{self.precision}"
        return self._description.fingerprint + suffix

    @functools.cached_property
    @override
    def calibration(self) -> Calibration | None:
        return calibration_of(self._description.fingerprint, self._folder / CALIBRATION)

    @property
    @override
    def usual_n_re(self) -> int:
        return self._description.usual_n_re

    @property
    @override
    def trained_n_re(self) -> int:
        return self._description.trained_n_re

    @property
    @override
    def deepest_useful(self) -> int:
        return self._description.deepest_useful

    @override
    def _estimates(
        self, waves: Sequence[np.ndarray], last: int
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        inputs = [self._transform.encode(wave) for wave in waves]
        states = [_run(self._encode, {"spectrum": spectrum}) for spectrum, _ in inputs]
        for depth in range(1, last + 1):
            estimates = []
            for state, wave, (spectrum, scale) in zip(states, waves, inputs, strict=True):
                state |= _run(self._repeat, state)
                found = _run(self._decode, {"streams": state["streams"], "spectrum": spectrum})
                estimates.append(self._transform.decode(found["estimates"], len(wave), scale))
            yield depth, estimates


def usual_threads() -> int:
    """Return the default number of threads: that set for OpenMP, or the number of cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else len(os.sched_getaffinity(0))


def _session(path: Path, threads: int) -> "onnxruntime.InferenceSession":
    """Load a graph.

    Raises:
        TisdissError: it is not a graph that ONNX Runtime runs, or ONNX Runtime is missing.
    """
    try:
        import onnxruntime
    except ImportError:
        raise TisdissError(
            "exported models need ONNX Runtime, which is missing: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common type
        raise TisdissError(f"{path}: cannot be run: {first_line(error)}") from error


def _run(
    session: "onnxruntime.InferenceSession", inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run a graph; return its outputs by name, with ``next_x`` renamed to ``x``.

    Raises:
        RuntimeError: it failed, possibly out of memory.
    """
    try:
        outputs = session.run(None, inputs)
    except Exception as error:  # its exceptions have no common type
        raise RuntimeError(first_line(error)) from error
    names = [output.name.removeprefix("next_") for output in session.get_outputs()]
    return dict(zip(names, outputs, strict=True))
