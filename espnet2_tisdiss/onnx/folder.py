"""The folder of an exported model: three graphs, and their description in model.json.

``encode.onnx`` maps the spectrum (t, f, 2) of a mixture to the speakers' streams (j, t, f, h), and
to the reference (1, t, f, h) if the model adds one before each repetition. ``repeat.onnx`` is one
repetition, from streams and reference to streams. ``decode.onnx`` maps streams and spectrum to the
speakers' spectra (j, t, f, 2). The last axis of spectra has the real and the imaginary part; t is
any number of frames. Nothing here needs PyTorch.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

import platformdirs

from espnet2_tisdiss.checks import check_choice, check_flag, check_integer, check_number
from espnet2_tisdiss.choices import MOST_N_RE, PRECISIONS, RATES, Precision
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.pretrained.bundled import bundled_models
from espnet2_tisdiss.pretrained.layouts import CALIBRATION, EXPORTED
from espnet2_tisdiss.user_files import check_ordinary, read_json

GRAPHS = ("encode", "repeat", "decode")
FORMAT = 2  # increased when earlier versions of the program could not run a new folder


@dataclass(frozen=True)
class Description:
    """The content of model.json.

    Attributes:
        format: version of this format.
        made_by: the program that wrote the folder.
        fingerprint: a name of the model, derived from its weights and configuration.
        precision: ``float32``; ``float16``: the weights are stored in it; ``int8``: matrix products
            with weights are computed in it.
        sample_rate: in Hz.
        num_spk: number of speakers j.
        usual_n_re: default number of repetitions.
        trained_n_re: number of repetitions in training.
        deepest_useful: number of repetitions beyond which quality hardly improves.
        normalises: whether the mixture is divided by its standard deviation, and the estimates
            multiplied by it.
        window: the window of the STFT, as long as the transform.
        hop: samples from one frame to the next.
        look_ahead: number of later samples that an estimated sample depends on; None: all.
        center: whether frames are centred on their time; then the waveform is mirrored at both
            ends.
        gain: factor on the spectra.
        files: SHA-256 of each graph's file.
    """

    format: int
    made_by: str
    fingerprint: str
    precision: Precision
    sample_rate: int
    num_spk: int
    usual_n_re: int
    trained_n_re: int
    deepest_useful: int
    normalises: bool
    window: list[float]
    hop: int
    look_ahead: int | None
    center: bool
    gain: float
    files: dict[str, str]

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise OptionError(f"format must be {FORMAT}, which this version of tisdiss reads")
        for name in ("made_by", "fingerprint"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} must be text")
        check_choice("precision", self.precision, PRECISIONS)
        check_integer("sample_rate", self.sample_rate, RATES[0], RATES[-1])
        check_integer("num_spk", self.num_spk, 1)
        for name in ("usual_n_re", "trained_n_re", "deepest_useful"):
            check_integer(name, getattr(self, name), 0, MOST_N_RE)
        check_flag("normalises", self.normalises)
        check_flag("center", self.center)
        check_number("gain", self.gain, 0, float("inf"))
        if not isinstance(self.window, list) or not self.window:
            raise OptionError("window must be a list of numbers")
        for sample in self.window:
            check_number("window", sample, -float("inf"), float("inf"))
        check_integer("hop", self.hop, 1, len(self.window))
        if self.look_ahead is not None:
            check_integer("look_ahead", self.look_ahead, 0, len(self.window))
        graphs = [file_name(graph) for graph in GRAPHS]
        if not isinstance(self.files, dict) or sorted(self.files) != sorted(graphs):
            raise OptionError(f"files must be the SHA-256 of {', '.join(graphs)}")

    def as_dict(self) -> dict[str, Any]:
        """Return the content of model.json."""
        return asdict(self)


def file_name(graph: str) -> str:
    """Return the name of a graph's file."""
    return f"{graph}.onnx"


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_exported(folder: str | Path) -> bool:
    """Return whether a folder is that of an exported model."""
    return isfile(Path(folder) / EXPORTED)


def exported_folder(name: str) -> Path | None:
    """Return the folder that a model's name refers to, if it is that of an exported model.

    The names of the package's models never refer to folders.
    """
    return Path(name) if name not in bundled_models() and is_exported(name) else None


def cached_folder(files: Mapping[str, str]) -> Path:
    """Return the folder in the user's cache for the graphs of a model, named by its content."""
    digest = hashlib.sha256(f"{FORMAT}".encode())
    paths = [Path(file) for _, file in sorted(files.items())]
    calibration = Path(files["model_file"]).with_name(CALIBRATION)
    for path in (*paths, *filter(isfile, [calibration])):
        check_ordinary(path)
        digest.update(sha256(path).encode())
    return platformdirs.user_cache_path("tisdiss") / "onnx" / digest.hexdigest()[:16]


def read_description(folder: Path) -> Description:
    """Read model.json, and check that the graphs are unchanged.

    Raises:
        TisdissError: the folder is not an exported model, or a file is missing or damaged.
    """
    path = folder / EXPORTED
    if not is_exported(folder):
        raise TisdissError(f"{folder}: not an exported model (no {EXPORTED}); see tisdiss export")
    content = read_json(path)
    try:
        description = Description(**content)
    except TypeError:  # entries are missing or unknown
        raise TisdissError(f"{path}: not written by this version; export the model again") from None
    except OptionError as error:
        raise TisdissError(f"{path}: {error}; export the model again") from None
    for name, digest in description.files.items():
        check_ordinary(folder / name)
        if sha256(folder / name) != digest:
            raise TisdissError(
                f"{folder / name}: is not the file that was written (its SHA-256 differs from "
                f"{EXPORTED}); export the model again"
            )
    return description
