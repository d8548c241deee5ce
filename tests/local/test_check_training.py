"""What the check before a training finds, as a user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from check_training import build, check_model, check_weights
from datadir import DataError
from recipe_folder import REPOSITORY, TINY_CONFIG


@pytest.fixture
def config(tmp_path: Path):
    """Returns a function that writes the tiny configuration with changes."""

    def write(separator_conf: dict | None = None, **changes: object) -> Path:
        content = yaml.safe_load(TINY_CONFIG) | changes
        content["separator_conf"] |= separator_conf or {}
        path = tmp_path / "conf.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_a_sound_configuration_passes(config) -> None:
    check_model(build(config(), []), 8000)


def test_an_option_the_separator_refuses(config) -> None:
    with pytest.raises(DataError, match="conf.yaml: num_groups must divide emb_dim = 8; got 3"):
        build(config({"num_groups": 3}), [])
    with pytest.raises(DataError, match="num_groups must divide emb_dim = 8; got 5"):
        build(config(), ["--separator_conf", "num_groups=5"])


def test_the_stock_wrapper_is_refused(config) -> None:
    criterion = {"name": "si_snr", "conf": {}, "wrapper": "pit", "wrapper_conf": {}}
    model = build(config(criterions=[criterion]), [])
    with pytest.raises(DataError, match="si_snr_loss: .* write 'wrapper: multi_depth_pit'"):
        check_model(model, 8000)


def test_a_model_for_another_rate_is_refused(config) -> None:
    model = build(config({"sample_rate": 16000}), [])
    check_model(model, 16000)
    with pytest.raises(DataError, match="is for 16000 Hz, but the data has 8000 Hz"):
        check_model(model, 8000)


def test_deeper_training_starts_from_the_same_weights(config, tmp_path: Path) -> None:
    shallow, deep = build(config(), []), build(config({"reconstructor_repeat_times": 9}), [])
    torch.save(shallow.state_dict(), tmp_path / "shallow.pth")
    check_weights(deep, tmp_path / "shallow.pth")


def test_weights_that_do_not_fit_are_listed(config, tmp_path: Path) -> None:
    model = build(config(), [])
    weights = model.state_dict()
    kept = {k: v for k, v in weights.items() if "encoder_blocks" not in k}
    torch.save(
        {**kept, "separator.conv.0.bias": torch.zeros(3), "more": torch.zeros(1)}, tmp_path / "w"
    )
    with pytest.raises(DataError) as error:
        check_weights(model, tmp_path / "w")
    told = str(error.value)
    n_missing = len(weights) - len(kept) - 5
    assert told.startswith(f"--init_param {tmp_path}/w does not fit the model: missing: separator.")
    assert f"and {n_missing} more; left over: more; of another shape: separator.conv.0.bias" in told


@pytest.mark.parametrize("name", ["checkpoint.pth", "broken.pth", "empty.pth"])
def test_a_file_of_anything_else_is_refused_in_one_line(config, tmp_path: Path, name: str) -> None:
    model, path = build(config(), []), tmp_path / name
    path.touch()
    if name == "broken.pth":
        path.write_bytes(b"no weights")
    if name == "checkpoint.pth":  # as ESPnet's training leaves it
        content = {"model": model.state_dict(), "reporter": {"epoch": 1}, "optimizers": [{}]}
        torch.save(content | {"schedulers": [None], "scaler": None}, path)
    with pytest.raises(DataError) as error:
        check_weights(model, path)
    assert str(error.value) == (
        f"--init_param {path}: is no file of weights alone; give latest.pth or "
        "valid.loss.ave.pth of an experiment"
    )


def test_finetuning_configuration_fits_the_model_it_is_for(tmp_path: Path) -> None:
    trained = build(REPOSITORY / "conf/train_sep1x2-re1x3.yaml", [])
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    deeper = build(REPOSITORY / "conf/finetune_sep1x2-re1x6.yaml", [])
    check_weights(deeper, tmp_path / "trained.pth")
    assert deeper.separator.reconstructor_repeat_times == 6
