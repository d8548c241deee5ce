import json

import pytest
import torch
from models import LEARNED_ENCODER, TINY
from typer.testing import CliRunner

from espnet2_tisdiss import TISDiSSSeparator
from espnet2_tisdiss.cli.app import app


def info(folder) -> dict:
    run = CliRunner().invoke(app, ["info", str(folder), "--json"], catch_exceptions=False)
    assert run.exit_code == 0
    return json.loads(run.stdout)


def test_facts_of_the_configuration(espnet_model, tmp_path):
    model, config_file, model_file = espnet_model()
    found = info(tmp_path)
    assert found["config_file"] == str(config_file)
    assert found["model_file"] == str(model_file)
    assert found["model_file_bytes"] == len(model_file.read_bytes())
    assert found["structure"] == "sep1x2-re1x2"
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert found["num_spk"] == 2
    assert found["encoder"] == {"name": "stft", "n_fft": 128, "hop_length": 64, "output_dim": 65}
    assert found["front_end"] == "every bin, 65"
    assert found["trained_n_re"] == 2
    assert found["changed_options"] == TINY
    assert found["macs_per_s"] > 0


def test_learned_encoder(espnet_model, tmp_path):
    espnet_model(**LEARNED_ENCODER)
    found = info(tmp_path)
    assert found["encoder"] == {"name": "conv", "kernel_size": 16, "stride": 8, "output_dim": 12}
    assert found["decoder"] == {"name": "conv", "channel": 12, "kernel_size": 16, "stride": 8}
    assert found["front_end"] == "segments of 20 frames of 12 learned features"
    assert found["mask"]


@pytest.mark.parametrize(
    ("options", "front_end"),
    [
        ({"band_split": [5, 20, 40]}, "3 chosen bands of 65 bins"),
        ({"band_split": "mel", "num_bands": 7}, "7 mel bands of 65 bins"),
    ],
)
def test_bands(espnet_model, tmp_path, options, front_end):
    espnet_model(separator_conf={**TINY, "mask": True, **options})
    assert info(tmp_path)["front_end"] == front_end


def test_look_ahead(espnet_model, tmp_path):
    espnet_model()
    assert info(tmp_path)["look_ahead_frames"] is None
    conf = {"separator_conf": {**TINY, "causal": True}, "model_conf": {}}
    espnet_model(**conf)
    found = info(tmp_path)
    assert (found["causal"], found["look_ahead_frames"]) == (True, 0)
    assert found["look_ahead_samples"] == found["encoder"]["n_fft"]
    text = CliRunner().invoke(app, ["info", str(tmp_path)]).stdout
    assert "no frames; 16 ms, the window of a frame" in text


@pytest.mark.parametrize(
    ("options", "rate", "source"),
    [({}, 8000, "default"), ({"sample_rate": 16000}, 16000, "configuration")],
)
def test_where_the_sample_rate_comes_from(espnet_model, tmp_path, options, rate, source):
    espnet_model(separator_conf={**TINY, **options})
    found = info(tmp_path)
    assert (found["sample_rate"], found["sample_rate_from"]) == (rate, source)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"spliter_loss": False}, [1, 2, 3]),
        ({"reconstructor_multi_decoder": False}, [0, 3]),
        ({"encoder_decoder": True, "spliter_loss": False}, [0, 1, 2, 3]),
        ({"reconstructor_repeat_times": 0, "spliter_loss": False}, [0]),
        ({"reconstructor_n_layers": 0, "spliter_loss": False}, [0]),
    ],
)
def test_supervised_depths_are_those_of_the_training(espnet_model, tmp_path, options, expected):
    conf = {**TINY, "reconstructor_repeat_times": 3, **options}
    estimates, _, _ = TISDiSSSeparator(65, **conf)(torch.randn(1, 9, 65) + 0j, None)
    assert len(estimates) == 2 * len(expected)  # in training: a pair for each depth
    espnet_model(separator_conf=conf)
    assert info(tmp_path)["supervised_n_re"] == expected


def test_text_is_one_fact_a_line(espnet_model, tmp_path):
    espnet_model()
    run = CliRunner().invoke(app, ["info", str(tmp_path)], catch_exceptions=False)
    lines = run.stdout.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert facts["model"] == str(tmp_path)
    assert facts["speakers"] == "2"
    assert any(line.split() == ["emb_dim", "8"] for line in lines)
    assert "supervised at  N_re 0 (splitter), 1, 2" in lines
