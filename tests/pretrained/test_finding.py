"""Where a trained model's files are, and how what is wrong with them is told."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from espnet2.main_funcs import pack_funcs
from espnet2.main_funcs.pack_funcs import pack, unpack
from models import TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.pretrained import bundled
from espnet2_tisdiss.pretrained.finding import find_model


@pytest.fixture
def folder(espnet_model, tmp_path):
    espnet_model()
    (tmp_path / "model").mkdir()
    for name in ("config.yaml", "model.pth"):
        shutil.move(tmp_path / name, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def archive(folder, tmp_path, monkeypatch):
    """Pack the model as stage 11 of a recipe does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    configs, weights = {"train_config": "model/config.yaml"}, {"model_file": "model/model.pth"}
    pack(files=weights, yaml_files=configs, outpath="packed.zip")
    return tmp_path / "packed.zip"


def refused(name, match):
    with pytest.raises(TisdissError, match=match) as caught:
        SeparateSpeech.from_pretrained(name)
    assert str(name) in str(caught.value) and "\n" not in str(caught.value)


def test_the_best_weights_of_a_folder(folder):
    config = str(folder / "config.yaml")
    names = [
        "model.pth",
        "latest.pth",
        "valid.si_snr.best.pth",
        "valid.loss.best.pth",
        "valid.loss.ave_3best.pth",
        "train.loss.ave.pth",
        "valid.loss.ave.pth",
    ]
    (folder / "checkpoint.pth").touch()  # of the training, never weights
    for name in names:  # each is better than those before
        (folder / name).touch()
        expected = {"train_config": config, "model_file": str(folder / name)}
        assert find_model(folder) == find_model(str(folder)) == expected
    assert find_model(folder / "model.pth")["model_file"] == str(folder / "model.pth")


def test_folders_that_are_no_model(folder):
    (folder / "other.pth").touch()
    refused(folder, "which weights.* there: model.pth, other.pth")
    for path in folder.glob("*.pth"):
        path.unlink()
    refused(folder, "holds no weights")
    (folder / "model.pth").touch()
    (folder / "config.yaml").unlink()
    for name in (folder, folder / "model.pth"):
        with pytest.raises(TisdissError, match=r"model/config.yaml: missing"):
            find_model(name)


@pytest.mark.parametrize(
    "name", ["./none", "/none/at/all", "none.pth", "exp/none.zip", "./" + "long" * 100]
)
def test_nothing_there(name):
    refused(name, "no such model folder, weights or archive")


def test_a_published_model_of_another_task(monkeypatch):
    files = {"asr_train_config": "a.yaml", "asr_model_file": "a.pth"}
    monkeypatch.setattr("espnet2.utils.pretrained.download_pretrained", lambda tag: files)
    refused("someone/asr", "someone/asr: is not a separation model; it has asr_model_file, asr_tr")


def test_other_files(folder):
    refused(folder / "config.yaml", "weights are a .pth file")


def test_broken_files(folder):
    weights = folder / "model.pth"
    content = weights.read_bytes()
    for broken in (b"", b"no weights", b"version https://git-lfs", content[: len(content) // 2]):
        weights.write_bytes(broken)
        refused(folder, "model.pth: not a valid weights file")
    torch.save([1, 2], weights)
    refused(folder, "model.pth: holds a list, not weights")
    torch.save({"model": {}, "reporter": {}}, weights)  # as checkpoint.pth
    refused(folder, "model.pth: holds more than weights")
    for number in (torch.nan, torch.inf):
        state = torch.load(io.BytesIO(content))
        next(reversed(state.values())).view(-1)[-1] = number
        torch.save(state, weights)
        refused(folder, f"model.pth: {next(reversed(state))} holds NaN or infinity")
    weights.write_bytes(content)
    config = (folder / "config.yaml").read_text()
    for broken, message in {
        config.replace("separator: tisdiss", "separator: none"): "the model cannot be loaded: .",
        "encoder: [": "config.yaml: is not a YAML file .* line 1",
        # one that is written by hand: to train with, not what training wrote
        "separator: tisdiss": "the configuration has no encoder, encoder_conf, separator_conf, dec",
        config.replace("n_fft: 128", "n_fft: many"): "n_fft must be an integer >= 1; got 'many'",
        config.replace("emb_dim: 8", "emb_dims: 8"): "unknown argument 'emb_dims'; the arguments",
        config.replace("emb_dim: 8", "emb_dim: 16"): "cannot be loaded: .*size mismatch",
        config.replace("encoder: stft", "encoder: [stft]", 1): r"encoder must be a name; got \['",
        config.replace("encoder: stft", "encoder: fft", 1): "encoder must be one of .*; got 'fft'",
        config.replace(
            "encoder: stft", "encoder: conv", 1
        ): "encoder_conf is refused: .*unexpected keyword",
    }.items():
        assert broken != config
        (folder / "config.yaml").write_text(broken)
        refused(folder, message)


@pytest.mark.parametrize("error", [AttributeError("no x"), ValueError("x"), TypeError("x")])
def test_a_bug_is_no_faulty_model(folder, monkeypatch, error):
    def build(*_):
        raise error

    monkeypatch.setattr("espnet2_tisdiss.network.separator.build_front_end", build)
    with pytest.raises(type(error)) as caught:
        SeparateSpeech.from_pretrained(folder)
    assert caught.value is error


def test_an_archive_is_unpacked_once(archive, folder, tmp_path):
    found = find_model(archive)
    unpacked = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert found == find_model(archive)
    assert unpacked == [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    shutil.copy(archive, tmp_path / "again.zip")  # it is the content that counts
    assert found == find_model(tmp_path / "again.zip")

    shutil.rmtree(tmp_path / "model")  # the archive is a model of its own
    packed = torch.load(found["model_file"], weights_only=True)
    loaded = SeparateSpeech.from_pretrained(archive).enh_model.state_dict()
    for name, value in loaded.items():
        torch.testing.assert_close(value, packed[name])


def test_an_archive_that_another_process_unpacks_as_well(archive, tmp_path, monkeypatch):
    def unpack_twice(*args, **options):
        unpack(*args, **options)
        monkeypatch.setattr(pack_funcs, "unpack", unpack)
        find_model(archive)  # is faster

    monkeypatch.setattr(pack_funcs, "unpack", unpack_twice)
    assert Path(find_model(archive)["model_file"]).is_file()
    (models,) = (tmp_path / "cache").rglob("models")
    assert len(list(models.iterdir())) == 1  # nothing lies temporary


def test_an_archive_where_nothing_can_be_unpacked(archive, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    refused(archive, "packed.zip: cannot be unpacked into .*: Not a directory")


def test_the_packages_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = bundled.DEFAULT_MODEL
    (tmp_path / name).mkdir()  # a name is the package's model wherever the program runs
    folder = bundled.bundled_model(name)
    files = {"train_config": str(folder / "config.yaml"), "model_file": str(folder / "model.pth")}
    assert find_model(name) == files
    with pytest.raises(TisdissError, match=f"{name}: holds no weights"):
        find_model(Path(name))
    packed = torch.load(folder / "model.pth", weights_only=True)
    for model in (SeparateSpeech.from_pretrained(), SeparateSpeech.from_pretrained(name)):
        loaded = model.enh_model.state_dict()
        assert loaded.keys() == packed.keys()
        assert all(torch.equal(value, packed[name]) for name, value in loaded.items())


def test_files_that_are_given_are_not_the_packages(espnet_model):
    _, config, weights = espnet_model()
    model = SeparateSpeech.from_pretrained(train_config=config, model_file=weights)
    assert model.separator.config.emb_dim == TINY["emb_dim"]


@pytest.mark.parametrize("damage", ["weights", "record", "lost weights", "lost record"])
def test_weights_of_the_package_that_are_not_whole_are_refused(damage, tmp_path, monkeypatch):
    shutil.copytree(bundled.MODELS, tmp_path / "models")
    monkeypatch.setattr(bundled, "MODELS", tmp_path / "models")
    assert find_model("mini")["model_file"] == str(tmp_path / "models/mini/model.pth")
    file = tmp_path / "models/mini" / ("SHA256SUMS" if "record" in damage else "model.pth")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    if "lost" in damage:
        file.unlink()
    refused("mini", r"model.pth: is missing or is not the file that was packed .*; install")


def test_archives_that_are_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("notes.txt", "no model")
    refused(tmp_path / "other.zip", "not a packed ESPnet model")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and no more")
    refused(tmp_path / "broken.zip", ".")
    assert not list((tmp_path / "cache").rglob(".aside-*"))
