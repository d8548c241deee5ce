"""Finding a trained model's files, and errors about faulty ones."""

import io
import multiprocessing
import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import torch
from espnet2.main_funcs.pack_funcs import pack
from models import TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.pretrained import archives, bundled
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
        "encoder: [": "config.yaml: not YAML: .* line 1",
        # one written by hand for training, not by training
        "separator: tisdiss": "the configuration has no encoder, encoder_conf, separator_conf, dec",
        config.replace("n_fft: 128", "n_fft: many"): "n_fft must be an integer .*; got 'many'",
        config.replace("emb_dim: 8", "emb_dims: 8"): "unknown argument 'emb_dims'; the arguments",
        config.replace("emb_dim: 8", "emb_dim: 16"): "cannot be loaded: .*size mismatch",
        config.replace("encoder: stft", "encoder: [stft]", 1): r"encoder must be a name; got \['",
        config.replace(
            "encoder: stft", "encoder: fft", 1
        ): "encoder fft and decoder stft do not fit",
        config.replace("coder: stft", "coder: conv"): "encoder_conf: channel must be an integer",
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

    shutil.rmtree(tmp_path / "model")  # the archive is a separate model
    packed = torch.load(found["model_file"], weights_only=True)
    loaded = SeparateSpeech.from_pretrained(archive).enh_model.state_dict()
    for name, value in loaded.items():
        torch.testing.assert_close(value, packed[name])


@pytest.mark.promise("one-cache")
def test_processes_share_the_cache_of_unpacked_models(archive, tmp_path, monkeypatch):
    unpack = archives._unpack

    def unpack_slowly(*args):
        with (tmp_path / "unpacked").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        unpack(*args)

    monkeypatch.setattr(archives, "_unpack", unpack_slowly)
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        found = pool.map(find_model, [archive] * 4, chunksize=1)
    assert len({files["model_file"] for files in found}) == 1
    assert Path(found[0]["model_file"]).is_file()
    assert len((tmp_path / "unpacked").read_text().splitlines()) == 1
    (models,) = (tmp_path / "cache").rglob("models")
    assert len(list(models.iterdir())) == 1  # there is no temporary file


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


@pytest.mark.promise("strange-models")
def test_what_is_no_ordinary_file_is_refused_at_once(folder, tmp_path, record_property):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "zero.zip").symlink_to("/dev/zero")
    names = [tmp_path / "pipe.pth", tmp_path / "zero.zip", Path("/dev/zero"), Path("/dev/null")]
    record_property("cases", len(names) + 5)
    for name in names:
        refused(name, "is a device or a pipe; give an ordinary file")
    config, weights = folder / "config.yaml", folder / "model.pth"
    for files in ((names[0], weights), (config, names[0]), (config, "/dev/zero")):
        with pytest.raises(TisdissError, match="is a device or a pipe"):
            SeparateSpeech(*files)
    with pytest.raises(TisdissError, match="folder.pth: is a folder; give a file"):
        SeparateSpeech(config, tmp_path / "folder.pth")
    with pytest.raises(TisdissError, match="holds a NUL character; correct the name"):
        SeparateSpeech(config, "model\0.pth")


def pack_by_hand(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.promise("strange-models")
def test_a_zip_bomb_is_stopped(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(archives, "MOST_MORE", 2**20)
    zeros = bytes(8 * 2**20)
    for files in ({"model.pth": zeros, "config.yaml": b""}, {"a.pth": b"", "config.yaml": zeros}):
        bomb = pack_by_hand(tmp_path / "bomb.zip", files)
        refused(bomb, "unpacks to more than 20 times its size, which no model does; get it again")
    content = bytearray(bomb.read_bytes())  # the size that the archive itself states is no limit
    for place in (content.find(len(zeros).to_bytes(4, "little")), content.rfind(b"PK\1\2") + 24):
        content[place : place + 4] = (100).to_bytes(4, "little")
    bomb.write_bytes(content)
    refused(bomb, "bomb.zip: ")
    assert [path.name for path in (tmp_path / "cache").rglob("*.*")] == [".models.lock"]
    packed = zipfile.ZipFile(folder / "model.pth")
    weights = {name: packed.read(name) for name in packed.namelist()}
    refused_weights = pack_by_hand(folder / "model.pth", weights)
    refused(refused_weights, "is compressed, which PyTorch's weights are not; replace it")


@pytest.mark.promise("strange-models")
def test_tensors_that_take_more_memory_than_their_file_are_refused(folder):
    weights = folder / "model.pth"
    state = torch.load(weights, weights_only=True)
    name = next(iter(state))
    for value in (
        torch.zeros(1).expand(10**12),
        torch.eye(3).to_sparse(),
        torch.empty(2, device="meta"),
    ):
        torch.save({**state, name: value}, weights)
        refused(weights, "not a valid weights file")
    torch.save({0: torch.ones(1)}, weights)
    refused(weights, "not a valid weights file")


@pytest.mark.promise("strange-models")
def test_configurations_that_no_training_writes(folder, record_property):
    config = folder / "config.yaml"
    good = config.read_text()
    cases = {
        "a: !!python/object/apply:os.system [true]": "not YAML: .*could not determine a constr",
        "a: !!int x": "not YAML: ",
        "a: !!bool x": "not YAML: ",
        "a: !!timestamp x": "not YAML: ",
        "a: " + "9" * 5000: "not YAML: Exceeds the limit",
        "a: " + "[" * 5000: "not YAML: ",
        "\0": "not YAML: ",
        "1: 2\n" + good: "the configuration must be options by name; got {",
        "#" * (4 * 2**20 + 1): "has more than 4194304 bytes",
        good.replace("n_fft: 128", "n_fft: 0x" + "f" * 5000): "got <integer of 20000 bits>",
        good.replace("emb_dim: 8", "emb_dim: &a [9, 9]\n  x: [*a, *a]"): "unknown argument 'x'",
    }
    lines = ["a: &a0 [x, x]"] + [f"a{n}: &a{n} [" + f"*a{n - 1}, " * 9 + "]" for n in range(1, 30)]
    bomb = "\n".join([*lines, "encoder: *a29", good.replace("encoder: stft", "", 1)])
    cases[bomb] = r"encoder must be a name; got \[\["
    record_property("cases", len(cases))
    for text, message in cases.items():
        config.write_text(text)
        with pytest.raises(TisdissError, match=message) as caught:
            SeparateSpeech.from_pretrained(folder)
        assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
