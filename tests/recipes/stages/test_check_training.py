"""Errors found by the check before a training, as users see them."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
import yaml
from espnet2.samplers.build_batch_sampler import build_batch_sampler
from espnet2.train.abs_espnet_model import AbsESPnetModel
from recipe_folder import REPOSITORY, TINY_CONFIG

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.stages.check_training import (
    build,
    check_gpus,
    check_model,
    check_segments,
    check_weights,
    training_options,
)


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


def options(path: Path, *words: str) -> argparse.Namespace:
    return training_options(path, words)


def built(path: Path, *words: str) -> AbsESPnetModel:
    return build(training_options(path, words))


def test_a_sound_configuration_passes(config) -> None:
    check_model(built(config()), 8000)


def test_an_option_the_separator_refuses(config) -> None:
    with pytest.raises(TisdissError, match="conf.yaml: num_groups must divide emb_dim = 8; got 3"):
        built(config({"num_groups": 3}))
    with pytest.raises(TisdissError, match="num_groups must divide emb_dim = 8; got 5"):
        built(config(), "--separator_conf", "num_groups=5")


def test_the_stock_wrapper_is_refused(config) -> None:
    criterion = {"name": "si_snr", "conf": {}, "wrapper": "pit", "wrapper_conf": {}}
    with pytest.raises(TisdissError, match="si_snr_loss: .* write 'wrapper: multi_depth_pit'"):
        built(config(criterions=[criterion]))


def test_a_model_for_another_rate_is_refused(config) -> None:
    model = built(config({"sample_rate": 16000}))
    check_model(model, 16000)
    with pytest.raises(TisdissError, match="is for 16000 Hz, but the data has 8000 Hz"):
        check_model(model, 8000)


def test_gpus_that_do_not_exist_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_gpus(1)
    with pytest.raises(TisdissError, match="^--ngpu 2: PyTorch does not find that many GPUs here"):
        check_gpus(2)


@pytest.mark.parametrize(("given", "better"), [(4000, 8000), (12001, 16000), (27000, 24000)])
def test_segments_of_another_length_than_they_say_are_refused(config, given, better) -> None:
    path = config(speech_segment=given)
    with pytest.raises(TisdissError) as error:
        check_segments(options(path))
    assert str(error.value) == (
        f"{path}: speech_segment {given}: ESPnet takes only multiples of 8000 samples; "
        f"write {better}"
    )
    check_segments(options(path, "--speech_segment", str(better)))
    check_segments(options(path, "--sample_rate", "1"))
    check_segments(options(path, "--preprocessor", "dynamic_mixing"))  # uses as many as configured


def test_a_batch_type_that_makes_batches_smaller_is_told(config, capsys) -> None:
    path = config(batch_type="folded")
    check_segments(options(path))
    text = "batch_type folded counts the length of mixtures, so batches of long ones have "
    assert f"{path}: {text}fewer than 2 segments" in capsys.readouterr().err
    check_segments(options(path, "--batch_type", "sorted"))
    check_segments(options(config(batch_type="folded", speech_segment=None)))
    assert capsys.readouterr().err == ""


SHIPPED = [*REPOSITORY.glob("conf/*.yaml"), *REPOSITORY.glob("egs2/*/enh1/conf/train_*.yaml")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_batches_have_as_many_segments_as_the_configuration_says(path, tmp_path, capsys) -> None:
    check_segments(options(path))
    assert capsys.readouterr().err == ""
    args = options(path)
    lengths = tmp_path / "speech_mix_shape"  # mixtures of 2 to 26 s
    write_scp(lengths, {f"utt{n:02}": str(16000 + 5000 * (n * 17 % 40)) for n in range(40)})
    batches = build_batch_sampler(
        type=args.batch_type,
        batch_size=args.batch_size,
        batch_bins=0,
        shape_files=[str(lengths)],
        fold_lengths=[80000],
    )
    assert {len(batch) for batch in batches} == {args.batch_size}


def test_deeper_training_starts_from_the_same_weights(config, tmp_path: Path) -> None:
    shallow, deep = built(config()), built(config({"reconstructor_repeat_times": 9}))
    torch.save(shallow.state_dict(), tmp_path / "shallow.pth")
    check_weights(deep, tmp_path / "shallow.pth")


def test_weights_that_do_not_fit_are_listed(config, tmp_path: Path) -> None:
    model = built(config())
    weights = model.state_dict()
    kept = {k: v for k, v in weights.items() if "encoder_blocks" not in k}
    torch.save(
        {**kept, "separator.conv.0.bias": torch.zeros(3), "more": torch.zeros(1)}, tmp_path / "w"
    )
    with pytest.raises(TisdissError) as error:
        check_weights(model, tmp_path / "w")
    told = str(error.value)
    n_missing = len(weights) - len(kept) - 5
    assert told.startswith(f"--init_param {tmp_path}/w does not fit the model: missing: separator.")
    assert f"and {n_missing} more; left over: more; of another shape: separator.conv.0.bias" in told


@pytest.mark.parametrize("name", ["checkpoint.pth", "broken.pth", "empty.pth"])
def test_a_file_of_anything_else_is_refused_in_one_line(config, tmp_path: Path, name: str) -> None:
    model, path = built(config()), tmp_path / name
    path.touch()
    if name == "broken.pth":
        path.write_bytes(b"no weights")
    if name == "checkpoint.pth":  # as ESPnet's training leaves it
        content = {"model": model.state_dict(), "reporter": {"epoch": 1}, "optimizers": [{}]}
        torch.save(content | {"schedulers": [None], "scaler": None}, path)
    with pytest.raises(TisdissError) as error:
        check_weights(model, path)
    told = {
        "checkpoint.pth": "holds more than weights, as a training's checkpoint.pth does; give its "
        "latest.pth or valid.loss.ave.pth",
        "broken.pth": "not a valid weights file (wrong format or corrupted); replace it",
        "empty.pth": "not a valid weights file (wrong format or corrupted); replace it",
    }
    assert str(error.value) == f"--init_param {path}: {told[name]}"


def test_finetuning_configuration_fits_the_model_it_is_for(tmp_path: Path) -> None:
    trained = built(REPOSITORY / "conf/train_sep1x2-re1x3.yaml")
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    deeper = built(REPOSITORY / "conf/finetune_sep1x2-re1x6.yaml")
    check_weights(deeper, tmp_path / "trained.pth")
    assert deeper.separator.reconstructor_repeat_times == 6
