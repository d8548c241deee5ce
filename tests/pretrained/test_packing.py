"""Models as folders for ESPnet and the hub: written, loaded by both, uploaded, and damaged ones."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from espnet2.bin import asr_inference, enh_inference
from joint_model import write_joint_model
from typer.testing import CliRunner

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.espnet.joint import JointTask
from espnet2_tisdiss.pretrained.bundled import bundled_model
from espnet2_tisdiss.pretrained.finding import find_model
from espnet2_tisdiss.pretrained.packing import pack_model, upload_model

# a multiple of the hop: this package pads others
MIXTURE = np.random.default_rng(0).standard_normal((1, 4096)).astype(np.float32)


def run(*words) -> str:
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packing") / "packed"
    assert run("pack", "mini", folder, "--name", "me/mine") == f"{folder}\n"
    return folder


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    np.savez(folder / "stats.npz", count=10, sum=np.zeros(20), sum_square=np.ones(20))
    statistics = {"stats_file": str(folder / "stats.npz")}
    write_joint_model(folder, JointTask, normalize="global_mvn", normalize_conf=statistics)
    return folder


@pytest.fixture
def on_the_hub(monkeypatch):
    """Return a function that makes a folder the hub's content of ``me/mine``."""

    def put(folder: Path) -> None:
        monkeypatch.setattr(
            "espnet_model_zoo.downloader.ModelDownloader.huggingface_download",
            lambda self, name, **options: str(folder),
        )

    return put


def test_a_packed_model_is_the_model(packed):
    expected = SeparateSpeech.from_pretrained("mini")(MIXTURE)
    found = SeparateSpeech.from_pretrained(packed)(MIXTURE)
    assert np.array_equal(found, expected)
    names = {str(p.relative_to(packed)) for p in packed.rglob("*") if p.is_file()}
    parts = {"exp/config.yaml", "exp/model.pth", "exp/SHA256SUMS"}
    assert names == {"README.md", "meta.yaml", *parts}
    meta = yaml.safe_load((packed / "meta.yaml").read_text())
    assert meta["requires"] == "espnet2_tisdiss" and "must import espnet2_tisdiss" in meta["note"]
    card = (packed / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: espnet\n") and "import espnet2_tisdiss\n" in card
    assert 'from_pretrained("me/mine")' in card and "$" not in card
    results = (bundled_model("mini") / "RESULTS.md").read_text()
    assert card.endswith(results)


def test_a_calibration_goes_with_the_weights(espnet_model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, config, weights = espnet_model()
    calibration = weights.with_name("calibration.yaml")
    calibration.write_text("of these weights")
    pack_model({"train_config": config, "model_file": weights}, tmp_path / "packed", "name")
    copy = tmp_path / "packed" / "exp" / "calibration.yaml"
    assert copy.read_text() == "of these weights"
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in (config, weights, calibration):
            archive.write(path, f"exp/{path.name}")
        archive.write(tmp_path / "packed" / "meta.yaml", "meta.yaml")
    found = find_model(tmp_path / "packed.zip")
    beside = Path(found["model_file"]).with_name("calibration.yaml")
    assert beside.read_text() == "of these weights"


def test_espnet_loads_it_from_the_hub(packed, on_the_hub, tmp_path):
    copy = tmp_path / "snapshot"
    pack_model(find_model(packed), copy, "me/mine")  # ESPnet writes into its folder
    on_the_hub(copy)
    stock = enh_inference.SeparateSpeech.from_pretrained("me/mine")
    ours = SeparateSpeech.from_pretrained("me/mine")
    expected = SeparateSpeech.from_pretrained("mini")(MIXTURE, fs=8000)
    np.testing.assert_allclose(stock(MIXTURE, fs=8000), expected, atol=1e-4)
    assert np.array_equal(ours(MIXTURE), expected)


def test_a_joint_model_is_loaded_by_both(joint, on_the_hub, tmp_path):
    folder = tmp_path / "packed"
    run("pack", joint, folder, "--name", "me/mine")
    (joint / "stats.npz").rename(joint / "moved.npz")  # the folder has its own
    try:
        model = SeparateSpeech.from_pretrained(folder)
        speakers = model(MIXTURE)
        assert len(speakers) == 2 and model.sample_rate == 8000
        assert "sep" in run("info", folder)
        on_the_hub(folder)
        recogniser = asr_inference.Speech2Text.from_pretrained(
            "me/mine", enh_s2t_task=True, beam_size=2, maxlenratio=-2
        )
        assert len(recogniser(MIXTURE[0])) == 2
        assert np.array_equal(SeparateSpeech.from_pretrained("me/mine")(MIXTURE), speakers)
    finally:
        (joint / "moved.npz").rename(joint / "stats.npz")
    card = (folder / "README.md").read_text()
    assert 'Speech2Text.from_pretrained("me/mine", enh_s2t_task=True)' in card
    weights = torch.load(folder / "exp/model.pth", weights_only=True)
    assert any(name.startswith("s2t_model.") for name in weights)


def test_a_file_that_a_configuration_names_must_be_there(joint, tmp_path):
    files = find_model(joint)
    config = yaml.safe_load(Path(files["train_config"]).read_text())
    config["bpemodel"] = "none/bpe.model"
    changed = tmp_path / "config.yaml"
    changed.write_text(yaml.safe_dump(config))
    with pytest.raises(TisdissError, match="names none/bpe.model, which is missing"):
        pack_model({**files, "train_config": str(changed)}, tmp_path / "packed", "mine")
    assert not (tmp_path / "packed").exists()


def test_an_existing_folder_is_kept(packed, tmp_path):
    (tmp_path / "mine").touch()
    for folder in (packed, tmp_path, tmp_path / "mine"):
        with pytest.raises(TisdissError, match=f"{folder}: exists; give a new folder"):
            pack_model(find_model(packed), folder, "mine")


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"files": {}}, "meta.yaml: has no yaml_files; pack the model again"),
        ({"files": {}, "yaml_files": {}}, "is not a separation model; it has no files"),
        (
            {"files": {"asr_model_file": "a"}, "yaml_files": {"asr_train_config": "b"}},
            "is not a separation model; it has asr_model_file, asr_train_config",
        ),
        (
            {"files": {"model_file": "a.pth"}, "yaml_files": {"train_config": "../b.yaml"}},
            "meta.yaml: train_config: ../b.yaml is not in the folder",
        ),
        (
            {"files": {"model_file": "/a.pth"}, "yaml_files": {"train_config": "b.yaml"}},
            "meta.yaml: model_file: /a.pth is not in the folder",
        ),
        (
            {"files": {"model_file": "a.pth"}, "yaml_files": {"train_config": "b.yaml"}},
            "b.yaml: missing, but .*/meta.yaml names it; get the model again",
        ),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path, meta, told):
    (tmp_path / "meta.yaml").write_text(yaml.safe_dump(meta))
    with pytest.raises(TisdissError, match=told) as error:
        SeparateSpeech.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


class Hub:
    """Replaces the hub's client and records its calls."""

    calls: list = []

    def create_repo(self, repository, **options):
        self.calls.append((repository, options))
        return f"https://huggingface.co/{repository}"

    def upload_folder(self, **options):
        self.calls.append(options)


def test_upload(packed, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    assert run("upload", packed, "me/mine", "--private") == "https://huggingface.co/me/mine\n"
    repository, upload = Hub.calls
    assert repository == ("me/mine", {"private": True, "exist_ok": True})
    assert upload == {"repo_id": "me/mine", "folder_path": packed}


def test_upload_is_refused_in_one_line(packed, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    with pytest.raises(
        TisdissError, match="holds no meta.yaml; write the folder with tisdiss pack"
    ):
        upload_model(tmp_path, "me/mine", private=False)

    def refuse(self, **options):
        raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(Hub, "upload_folder", refuse)
    with pytest.raises(TisdissError, match=r"me/mine: cannot be uploaded \(401 Unauthorized\);"):
        upload_model(packed, "me/mine", private=False)
