"""Writing a model as ONNX graphs, so that it runs without PyTorch and ESPnet."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import espnet2_tisdiss
from espnet2_tisdiss.atomic import replacing_folder, write_atomically
from espnet2_tisdiss.choices import Precision
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.network.graphs import Decode, Encode, Repeat
from espnet2_tisdiss.network.kernels.attention import FEW_POSITIONS
from espnet2_tisdiss.network.stft import STFT
from espnet2_tisdiss.onnx.folder import (
    FORMAT,
    GRAPHS,
    Description,
    file_name,
    sha256,
)
from espnet2_tisdiss.onnx.model import OnnxModel
from espnet2_tisdiss.onnx.precision import fold_constants, lower_precision
from espnet2_tisdiss.pretrained.layouts import CALIBRATION, EXPORTED

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # version of ONNX's operators, which browsers also support
MOST_FRAMES = 2**20
# Frames of the trace in excess of the minimum, and frames of the check: an odd and an even number.
TRACED, CHECKED = 41, 64
# Largest accepted deviation from PyTorch, relative to the largest sample; wrong graphs deviate by
# far more. For speech it is 1e-5; for noise, rounding alone causes 1e-3, even within PyTorch.
TOLERANCE = 1e-2


def export_model(model: "SeparateSpeech", folder: Path, precision: Precision = "float32") -> None:
    """Write a model's graphs, after checking that in float32 they give the model's results.

    Args:
        model: the model, on the CPU and in float32.
        folder: new folder.
        precision: that of the graphs; see :class:`~espnet2_tisdiss.onnx.folder.Description`.

    Raises:
        TisdissError: the folder exists, the model is of a kind that cannot be exported, a package
            is missing, or the graphs give other results.
        OSError: the folder cannot be written.
    """
    if lexists(folder):
        raise TisdissError(f"{folder}: exists; give a new folder")
    description = _description(model)
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise TisdissError(
            f"exporting needs {', '.join(missing)}: pip install {' '.join(PACKAGES)}"
        )
    with replacing_folder(folder) as temporary:
        if model.calibration is not None:
            model.calibration.save(temporary / CALIBRATION)
        _write_graphs(model, temporary)
        _write_description(description, temporary)
        _check_equality(model, temporary)
        for graph in GRAPHS:
            lower_precision(temporary / file_name(graph), precision)
        _write_description(replace(description, precision=precision), temporary)


def _description(model: "SeparateSpeech") -> Description:
    """Return the description of a model's graphs, without their checksums.

    Raises:
        TisdissError: the model cannot be exported.
    """
    stft, network = _stft(model), model.enh_model
    if not model.separator.config.reconstructor_n_layers:
        raise TisdissError("a model without reconstructor has no depth; it is not exported")
    window = torch.ones(stft.win_length)
    if stft.window is not None:
        window = getattr(torch, f"{stft.window}_window")(stft.win_length)
    before = (stft.n_fft - stft.win_length) // 2
    window = nn.functional.pad(window, (before, stft.n_fft - stft.win_length - before))
    return Description(
        format=FORMAT,
        made_by=f"tisdiss {espnet2_tisdiss.__version__}",
        fingerprint=model.fingerprint,
        precision="float32",
        sample_rate=model.sample_rate,
        num_spk=model.num_spk,
        usual_n_re=model.usual_n_re,
        trained_n_re=model.trained_n_re,
        deepest_useful=model.deepest_useful,
        normalises=network.normalize_variance or network.normalize_variance_per_ch,
        window=window.tolist(),
        hop=stft.hop_length,
        look_ahead=model.look_ahead,
        center=stft.center,
        gain=stft.n_fft**-0.5 if stft.normalized else 1.0,
        files={file_name(graph): "" for graph in GRAPHS},
    )


def _stft(model: "SeparateSpeech") -> STFT:
    """Return the transform of a model, the same for encoder and decoder.

    Raises:
        TisdissError: it has another encoder, or two-sided spectra.
    """
    config = vars(model.enh_train_args)
    prefix = "enh_" if "enh_encoder" in config else ""  # of a joint model
    if config[f"{prefix}encoder"] != "stft":
        raise TisdissError("a model with a learned encoder is not exported; only those with stft")
    stft = STFT(**config[f"{prefix}encoder_conf"])
    if not stft.onesided:
        raise TisdissError("a model is exported only if its encoder has onesided spectra")
    return stft


def _write_graphs(model: "SeparateSpeech", folder: Path) -> None:
    """Trace the three parts of a model and write their graphs."""
    config = model.separator.config
    # so that the trace does not contain the code for shorter ones
    fewest = 1 + max(FEW_POSITIONS, config.conv1d_kernel)
    t = torch.export.Dim("frames", min=fewest, max=MOST_FRAMES)
    spectrum = torch.randn(fewest + TRACED, model.separator.input_dim, 2)
    encode, repeat, decode = (part(model.separator).eval() for part in (Encode, Repeat, Decode))
    with torch.no_grad():
        state = encode(spectrum)
    names = ["streams", "reference"][: len(state)]
    state_axes = tuple({1: t} for _ in state)
    parts = {
        "encode": (encode, (spectrum,), ["spectrum"], names, ({0: t},)),
        "repeat": (repeat, state, names, ["next_streams"], state_axes),
        "decode": (
            decode,
            (state[0], spectrum),
            ["streams", "spectrum"],
            ["estimates"],
            ({1: t}, {0: t}),
        ),
    }
    for graph, part in parts.items():
        _write_graph(folder / file_name(graph), *part)


def _write_graph(
    path: Path,
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    axes: tuple[dict[int, torch.export.Dim], ...],
) -> None:
    """Trace a module with arguments whose ``axes`` may have any length, and write its graph."""
    with _quietly(), torch.no_grad():
        torch.onnx.export(
            module,
            arguments,
            path,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=axes,
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            optimize=False,  # fold_constants does all that is needed
            verbose=False,
        )
    fold_constants(path)


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the exporter's messages about its internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _write_description(description: Description, folder: Path) -> None:
    """Write model.json with the checksums of the graphs in its folder."""
    files = {file_name(graph): sha256(folder / file_name(graph)) for graph in GRAPHS}
    content = replace(description, files=files).as_dict()
    write_atomically(folder / EXPORTED, json.dumps(content) + "\n")


def _check_equality(model: "SeparateSpeech", folder: Path) -> None:
    """Check that the graphs give the model's results for a length other than that of the trace.

    Raises:
        TisdissError: they do not.
    """
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(CHECKED * model.hop - 1).astype(np.float32)
    expected, found = (one.depths([wave], [1, 2], "estimate") for one in (model, OnnxModel(folder)))
    for n_re, (wanted,) in expected.items():
        error = np.abs(found[n_re][0] - wanted).max() / max(1e-9, np.abs(wanted).max())
        if not error <= TOLERANCE:
            raise TisdissError(
                f"the exported graphs differ from the model by {error:.1e} of the peak at N_re "
                f"{n_re}; please report this with the model's configuration"
            )
