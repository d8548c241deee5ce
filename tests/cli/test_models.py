"""``tisdiss models`` and choosing a device."""

import json

import pytest
from typer.testing import CliRunner

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.cli.model_loading import pick_device
from espnet2_tisdiss.pretrained.bundled import bundled_models
from espnet2_tisdiss.pretrained.finding import find_model


def test_lists_the_models_with_the_scores_of_their_cards():
    result = CliRunner().invoke(app, ["models", "--json"])
    models = {model["model"]: model for model in json.loads(result.stdout)["models"]}
    assert sorted(models) == bundled_models()
    assert "8000 Hz" in models["mini"]["structure"] and "N_re 3" in models["mini"]["structure"]
    header, first, *_ = models["mini"]["scores"]
    assert header[0] == "N_re" and first[0] == "1" and len(first) == len(header)
    text = CliRunner().invoke(app, ["models"]).stdout
    assert "voices, the default" in text and header[1] in text


@pytest.mark.parametrize("device", ["gpu", "CPU ", "cuda:x", "xla"])
def test_a_device_that_is_none_gets_the_choices(device):
    with pytest.raises(TisdissError, match=f"--device {device}: expected auto, cpu, cuda, mps"):
        pick_device(device)


def test_a_missing_mps_is_one_line():
    with pytest.raises(TisdissError, match=r"mps: not available \(PyTorch finds none\); try cpu"):
        pick_device("mps")


def test_a_mistyped_model_is_not_looked_for_in_the_network(monkeypatch):
    monkeypatch.setattr(
        "espnet2_tisdiss.pretrained.finding._downloaded", lambda tag: pytest.fail("network")
    )
    with pytest.raises(TisdissError, match="voice: no such model .*; with the package come mini"):
        find_model("voice")
