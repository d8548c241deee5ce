"""Exported models give the results of PyTorch's model, without PyTorch; errors are one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from models import LEARNED_ENCODER, TINY
from tiny_model import write_model
from typer.testing import CliRunner

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.separate.calibration import Calibration

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
from espnet2_tisdiss.onnx import export  # noqa: E402  (needs the two)
from espnet2_tisdiss.onnx.folder import GRAPHS, file_name, sha256  # noqa: E402
from espnet2_tisdiss.onnx.model import OnnxModel  # noqa: E402
from espnet2_tisdiss.onnx.precision import lower_precision  # noqa: E402

RATE = 8000
BOTH_SIDES = {"n_fft": 64, "hop_length": 32, "onesided": False}
# even smaller, because tracing is slow
SMALL = {**TINY, "encoder_repeat_times": 1, "ffn_type": "conv1d", "ffn_hidden_dim": 6}
# a command in an environment without the packages that exported models do not need
WITHOUT = """
import sys

sys.modules |= dict.fromkeys(["torch", "torchaudio", "torch_complex", "espnet2", "av"])
from espnet2_tisdiss.cli.app import main

main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Write a model and its export once, because tracing takes seconds."""
    folder = tmp_path_factory.mktemp("exported")
    write_model(folder, separator_conf=SMALL)
    model = SeparateSpeech.from_pretrained(folder)
    Calibration(model.fingerprint, 1.0, 2.0, 3.0, (-1.0, 0.0, 1.0), 4.0, 5).save(
        folder / "calibration.yaml"
    )
    export.export_model(SeparateSpeech.from_pretrained(folder), folder / "out")
    return folder


@pytest.fixture(scope="module")
def model(place) -> SeparateSpeech:
    return SeparateSpeech.from_pretrained(place)


@pytest.fixture
def exported(place, tmp_path) -> Path:
    """Return a copy of the folder, to be damaged."""
    return Path(shutil.copytree(place / "out", tmp_path / "out"))


def noise(length: int) -> np.ndarray:
    return np.random.default_rng(length).standard_normal(length).astype(np.float32)


def assert_same(found: OnnxModel, model: SeparateSpeech, lengths: list[int]) -> None:
    """Compare the estimates at several depths of mixtures of several lengths."""
    waves = [noise(length) for length in lengths]
    expected = model.depths(waves, [1, 3])
    for n_re, estimates in found.depths(waves, [1, 3]).items():
        for wanted, estimate in zip(expected[n_re], estimates, strict=True):
            assert estimate.shape == wanted.shape and estimate.dtype == np.float32
            np.testing.assert_allclose(estimate, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_estimates_are_pytorchs_at_any_depth_and_length(place, model):
    assert_same(OnnxModel(place / "out"), model, [1, 63, 128, 1000, 4001])


def test_the_facts_of_the_model(place, model):
    found = OnnxModel(place / "out", threads=1)
    names = ("sample_rate", "num_spk", "hop", "usual_n_re", "trained_n_re", "deepest_useful")
    for name in (*names, "look_ahead", "fingerprint", "precision", "device"):
        assert getattr(found, name) == getattr(model, name)
    assert sorted(path.name for path in (place / "out").iterdir()) == sorted(
        [*map(file_name, GRAPHS), "model.json", "calibration.yaml"]
    )
    assert found.calibration == model.calibration is not None


def test_silence_stays_silence(place):
    (estimate,) = OnnxModel(place / "out").depths([np.zeros(1000)], [2], "estimate")[2]
    assert not estimate.any()


def test_recordings_and_sound_as_it_arrives(place, model):
    samples = 0.1 * noise(20_000)
    found = OnnxModel(place / "out")
    options = {"n_re": 2, "chunk_seconds": 1.0}
    expected = model.recording(samples, 16_000, **options)
    np.testing.assert_allclose(found.recording(samples, 16_000, **options), expected, atol=1e-4)
    lives = [one.live(RATE, n_re=1, window=1.0) for one in (found, model)]
    for block in np.split(samples[:8000], 4):
        blocks = [live.push(block) for live in lives]
        np.testing.assert_allclose(blocks[0], blocks[1], atol=1e-4)


def test_the_command_needs_neither_pytorch_nor_espnet(place, model, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * noise(RATE), RATE)
    words = ["separate", "-m", str(place / "out"), str(tmp_path / "a.wav"), "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words, "--n-re", "1,3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (result,) = model.files(tmp_path / "a.wav", tmp_path / "torch", n_re=[1, 3])
    for path in result.outputs:
        found, expected = soundfile.read(tmp_path / path.name)[0], soundfile.read(path)[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "separate", str(tmp_path / "a.wav"), "-o", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "run tisdiss export voices OUT where it is" in done.stderr
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "info", "voices"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("tisdiss: this command needs PyTorch, which is not installed")


@pytest.mark.parametrize(("precision", "least_db"), [("float16", 50), ("int8", 15)])
def test_lower_precision(exported, model, precision, least_db):
    before = (exported / "encode.onnx").stat().st_size
    for graph in GRAPHS:
        lower_precision(exported / file_name(graph), precision)
    description = json.loads((exported / "model.json").read_text())
    description["files"] = {path.name: sha256(path) for path in exported.glob("*.onnx")}
    (exported / "model.json").write_text(json.dumps(description | {"precision": precision}))
    found = OnnxModel(exported)
    assert found.fingerprint == f"{model.fingerprint}-{precision}"
    if precision == "float16":
        assert (exported / "encode.onnx").stat().st_size < before
    wave = noise(4000)
    (estimate,), (expected,) = (one.depths([wave], [2])[2] for one in (found, model))
    error = np.square(estimate - expected).sum() / np.square(expected).sum()
    assert least_db < -10 * np.log10(error) < np.inf


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda out: (out / "repeat.onnx").unlink(), "repeat.onnx: no such file"),
        (lambda out: (out / "encode.onnx").write_bytes(b"no graph"), "SHA-256 differs from"),
        (lambda out: (out / "model.json").unlink(), "not an exported model"),
        (lambda out: (out / "model.json").write_text("{"), "not JSON"),
        (lambda out: (out / "model.json").write_text("{}"), "not written by this version"),
        (lambda out: change(out, format=1), "format must be 2"),
        (lambda out: change(out, look_ahead=-1), "look_ahead must be an integer from 0"),
        (lambda out: change(out, hop=0), "hop must be an integer from 1"),
        (lambda out: change(out, window=["a"]), "window must be a number"),
        (lambda out: change(out, files={"../x": ""}), "files must be the SHA-256 of"),
        (lambda out: change(out, files=replaced(out, b"no graph")), "encode.onnx: cannot be run: "),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(exported, damage, reason):
    damage(exported)
    with pytest.raises(TisdissError, match=reason) as error:
        OnnxModel(exported)
    assert "\n" not in str(error.value)


def change(folder: Path, **values) -> None:
    """Change the content of model.json."""
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def replaced(folder: Path, content: bytes) -> dict[str, str]:
    """Replace a graph; return all checksums."""
    (folder / "encode.onnx").write_bytes(content)
    return {path.name: sha256(path) for path in folder.glob("*.onnx")}


def test_onnx_runtime_is_named_where_it_is_missing(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TisdissError, match="pip install onnxruntime$"):
        OnnxModel(place / "out")


def test_packages_for_the_export_are_named_where_they_are_missing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: name != "onnxscript" or None)
    with pytest.raises(TisdissError, match="^exporting needs onnxscript: pip install onnx onnxscr"):
        export.export_model(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_graphs_that_compute_something_else_are_not_written(
    place, espnet_model, tmp_path, monkeypatch
):
    def write_graphs(_, folder):
        for graph in GRAPHS:
            shutil.copy(place / "out" / file_name(graph), folder)

    torch.manual_seed(1)  # other weights
    _, config, weights = espnet_model(separator_conf=SMALL)
    monkeypatch.setattr(export, "_write_graphs", write_graphs)
    with pytest.raises(TisdissError, match="^the exported graphs differ from the model by "):
        export.export_model(SeparateSpeech(config, weights), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (LEARNED_ENCODER, "learned encoder"),
        ({"separator_conf": {**TINY, "reconstructor_n_layers": 0}}, "without reconstructor"),
        ({"encoder_conf": BOTH_SIDES, "decoder_conf": BOTH_SIDES}, "onesided spectra"),
    ],
)
def test_models_without_graphs(espnet_model, tmp_path, changes, reason):
    _, config, weights = espnet_model(**changes)
    with pytest.raises(TisdissError, match=reason):
        export.export_model(SeparateSpeech(config, weights), tmp_path / "out")


class TestCommands:
    """``tisdiss export`` and the option ``--backend``."""

    @pytest.fixture(autouse=True)
    def _begin(self, place, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        soundfile.write("a.wav", 0.1 * noise(RATE), RATE)
        self.written = []

        def export_model(model, folder, precision="float32"):
            self.written.append((folder, precision))
            shutil.copytree(place / "out", folder)

        monkeypatch.setattr(export, "export_model", export_model)

    def call(self, *words):
        return CliRunner().invoke(app, list(map(str, words)))

    def test_export(self, place):
        done = self.call("export", place, "out", "--precision", "float16")
        assert (done.exit_code, done.stdout) == (0, "out\n")
        assert self.written == [(Path("out"), "float16")]

    def test_a_model_is_exported_into_the_cache_once(self, place):
        for number in (1, 2):
            done = self.call(
                "separate", "-m", place, "--backend", "onnx", "a.wav", "-o", f"out{number}"
            )
            assert done.exit_code == 0, done.stderr
        ((folder, _),) = self.written
        assert folder.parent == Path("cache/tisdiss/onnx").absolute()
        assert len(list(Path("out2").iterdir())) == 2

    def test_several_processes(self, place):
        soundfile.write("b.wav", 0.1 * noise(RATE), RATE)
        done = self.call("separate", "-m", place / "out", "a.wav", "b.wav", "--jobs", 2)
        assert done.exit_code == 0, done.stderr
        assert len(list(Path("separated").iterdir())) == 4

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["separate", "a.wav", "--device", "cuda"], "--device: cannot be combined with ONNX"),
            (["separate", "a.wav", "--dtype", "bfloat16"], "--dtype: cannot be combined with ONNX"),
            (["separate", "a.wav", "--model-rate", "8000"], "--model-rate: cannot be combined"),
            (["separate", "a.wav", "--backend", "torch"], "was exported for ONNX Runtime"),
        ],
    )
    def test_what_does_not_fit_an_exported_model(self, place, words, reason):
        done = self.call(*words, "-m", place / "out")
        assert isinstance(done.exception, TisdissError) and reason in str(done.exception)


def test_other_commands_want_the_model_itself(place):
    with pytest.raises(TisdissError, match="was exported, for tisdiss separate and live; give the"):
        SeparateSpeech.from_pretrained(place / "out")


def test_an_existing_folder_is_left_alone(place, model):
    before = (place / "out" / "model.json").read_bytes()
    with pytest.raises(TisdissError, match="out: exists; give a new folder"):
        export.export_model(model, place / "out")
    assert (place / "out" / "model.json").read_bytes() == before


STFT = {"n_fft": 128, "win_length": 100, "hop_length": 32, "normalized": True}
UNCENTRED = {"n_fft": 128, "hop_length": 32, "window": "hamming", "center": False}
RESIDUAL = {"reconstructor_repeat_residual_module": True}
COMPRESSED = {"emb_dim": 16, "attention_dim": 16, "ffn_hidden_dim": [8, 12], "split_compress": True}
CAUSAL = {"causal": True, "attention_window": 9, "mask": True, "band_split": "mel"}
OTHERS = {"reconstructor_n_layers": 2, "norm_type": "layernorm", "num_spk": 3, "tf_order": "tf"}
OTHERS |= {"spk_spliter_type": "conv2d", "ffn_type": "conv1d", "ffn_hidden_dim": 6}
OTHERS |= {"conv1d_kernel": 5, "conv1d_shift": 3, "mask": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"separator_conf": {**TINY, **RESIDUAL}},
        {"separator_conf": {**TINY, **RESIDUAL, **COMPRESSED}},
        {"separator_conf": {**TINY, **OTHERS}, "encoder_conf": STFT, "decoder_conf": STFT},
        {"encoder_conf": UNCENTRED, "decoder_conf": UNCENTRED, "model_conf": {}},
        {"separator_conf": {**TINY, **RESIDUAL, **CAUSAL}, "model_conf": {}},
    ],
)
def test_other_structures(espnet_model, tmp_path, changes):
    _, config, weights = espnet_model(**changes)
    model = SeparateSpeech(config, weights)
    export.export_model(model, tmp_path / "out")
    assert_same(OnnxModel(tmp_path / "out"), model, [1, 333, 4001])
