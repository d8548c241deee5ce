"""The options of docs/training.md: each row of its tables is run for a step."""

import re
import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml
from models import TINY
from recipe_folder import REPOSITORY
from small_bank import RATE, write_small_bank

from espnet2_tisdiss.espnet.training import ResumableTask

PAGE = REPOSITORY / "docs" / "training.md"
STFT = {"n_fft": 128, "hop_length": 64}
FROZEN = "separator.encoder_blocks"


def rows() -> dict[str, dict]:
    """The configuration of each row, by the row's description."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and "`" in line:
            title, cell = line.strip("| ").split(" | ", 1)
            found[title] = yaml.safe_load("\n".join(re.findall("`([^`]+)`", cell)))
    return found


ROWS = rows()


def test_the_tables_are_read_and_every_option_exists():
    assert len(ROWS) > 20
    known = {action.dest for action in ResumableTask.get_parser()._actions}
    assert {option for row in ROWS.values() for option in row} - known == set()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the files that the rows name: mixtures, noises, rooms, recordings, weights."""
    folder = tmp_path_factory.mktemp("options")
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    write_small_bank(folder / "data" / "bank")
    lists: dict[str, list[str]] = {}

    def add(name: str, key: str, samples: np.ndarray) -> None:
        path = folder / f"{name}_{key}.wav"
        soundfile.write(path, samples, RATE)
        lists.setdefault(name, []).append(f"{key} {path}\n")

    for key in ("one", "two"):
        speakers = 0.1 * rng.standard_normal((2, RATE // 2))
        add("wav", key, speakers.sum(0))
        add("spk1", key, speakers[0])
        add("spk2", key, speakers[1])
    add("noise", "hiss", 0.1 * rng.standard_normal(RATE))
    add("rirs", "room", rng.standard_normal(400) * np.exp(-np.arange(400) / 50))
    for name, lines in lists.items():
        (folder / "data" / f"{name}.scp").write_text("".join(lines))
    (folder / "data" / "shape").write_text(f"one {RATE // 2}\ntwo {RATE // 2}\n")
    parts = (("wav", "speech_mix"), ("spk1", "speech_ref1"), ("spk2", "speech_ref2"))
    config = {
        "separator": "tisdiss",
        "separator_conf": {**TINY, "sample_rate": RATE},
        **{"encoder": "stft", "encoder_conf": STFT, "decoder": "stft", "decoder_conf": STFT},
        "model_conf": {"normalize_variance": True},
        "criterions": [
            {"name": "si_snr", "conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": {}}
        ],
        "batch_type": "unsorted",
        "batch_size": 1,
        "num_workers": 0,
        "num_att_plot": 0,
        "max_epoch": 1,
        "optim_conf": {"lr": 1.0e-2},
        "init": "xavier_uniform",
        "seed": 0,
        "use_matplotlib": False,
        "use_tensorboard": False,
    }
    for part in ("train", "valid"):
        config[f"{part}_shape_file"] = ["data/shape"]
        config[f"{part}_data_path_and_name_and_type"] = [
            [f"data/{name}.scp", data_name, "sound"] for name, data_name in parts
        ]
    (folder / "base.yaml").write_text(yaml.safe_dump(config))
    return folder


def train(folder, row: dict) -> None:
    """Train with the options of a row in ``folder``/exp/row."""
    config = yaml.safe_load((folder / "base.yaml").read_text())
    for option, value in row.items():
        is_part = isinstance(value, dict) and option == "separator_conf"
        config[option] = {**config[option], **value} if is_part else value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    ResumableTask.main(cmd=["--config", "config.yaml", "--output_dir", "exp/row"])


def weights(path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def trained(data):
    """The folder, with weights of a training for the rows that start from some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(data)
        patch.setattr("espnet2_tisdiss.espnet.training.keep_freed_memory", lambda: None)
        train(data, {})
        shutil.move(data / "exp/row", data / "exp/separation")
        yield data


@pytest.mark.slow
@pytest.mark.parametrize("title", ROWS)
def test_each_row_trains(trained, title):
    row = ROWS[title]
    shutil.rmtree(trained / "exp/row", ignore_errors=True)
    if "resume" in row:
        shutil.copytree(trained / "exp/separation", trained / "exp/row", symlinks=True)
        row = {**row, "max_epoch": 2}
    train(trained, row)
    folder = trained / "exp/row"
    last = row.get("max_epoch", 1)
    found = weights(folder / f"{last}epoch.pth")
    assert all(value.isfinite().all() for value in found.values())
    stats = torch.load(folder / "checkpoint.pth", weights_only=True)["reporter"]["stats"]
    assert sorted(stats) == list(range(1, last + 1)) and np.isfinite(stats[last]["train"]["loss"])
    if "freeze_param" in row:
        initial = weights(trained / "exp/separation/1epoch.pth")
        same = [torch.equal(found[name], initial[name]) for name in found if FROZEN in name]
        assert same and not all(same)  # the other training has changed them
        train(trained, {**row, "init_param": ["exp/separation/1epoch.pth"]})
        found = weights(folder / "1epoch.pth")
        moved = [name for name in found if not torch.equal(found[name], initial[name])]
        assert moved and not any(FROZEN in name for name in moved)
    if "keep_nbest_models" in row:
        assert (folder / "valid.loss.ave_1best.pth").exists()
    if "use_tensorboard" in row:
        assert list((folder / "tensorboard").rglob("events*"))
    if "valid_every_depth" in row:
        assert "si_snr_loss_depth-2" in stats[1]["valid"]
