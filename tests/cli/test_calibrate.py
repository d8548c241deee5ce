"""``tisdiss calibrate``, and the use of its file by ``tisdiss separate``."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from noise_mixtures import RATE, write_noise_mixtures
from typer.testing import CliRunner

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.cli import console
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.pretrained.layouts import CALIBRATION
from espnet2_tisdiss.separate.calibration import Calibration


def tisdiss(*args):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, args)])


@pytest.fixture
def model(espnet_model, tmp_path, monkeypatch) -> Path:
    _, config, _ = espnet_model()
    monkeypatch.chdir(tmp_path)
    return config.parent


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Fifty mixtures of 0.3 s."""
    return write_noise_mixtures(tmp_path / "corpus", [0.3] * 50)


def test_the_file_is_used_by_separate(model, corpus, monkeypatch):
    run = tisdiss("calibrate", model, corpus, "--n-re", "1,2", "--json")
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout)
    path = model / CALIBRATION
    assert facts["file"] == str(path) and facts["mixtures"] == 50
    loaded = SeparateSpeech(model / "config.yaml", model / "model.pth")
    assert loaded.calibration == Calibration.load(path)
    assert loaded.calibration.poor == pytest.approx(facts["poor_db"])
    soundfile.write("a.wav", 0.1 * np.random.randn(RATE), RATE)
    options = ("a.wav", "-m", model, "--until", "-100dB", "--probability", "0.9", "--json")
    run = tisdiss("separate", *options)
    assert run.exit_code == 0, run.output
    (file,) = json.loads(run.stdout)["files"]
    assert file["n_re"] == [1]
    assert file["expected_si_snr"] == pytest.approx(facts["interval_db"][0], abs=60)
    monkeypatch.setattr(console.messages, "file", io.StringIO())
    run = tisdiss("separate", "a.wav", "-m", model, "--until", "100", "--overwrite")
    assert run.exit_code == 0, run.output
    lines = console.messages.file.getvalue()
    assert re.search(r"N_re 2, about -?\d+ dB SI-SNR expected", lines)
    assert (
        "--until 100dB: 1 of 1 chunks ended at the maximum, N_re 2, and may not have reached it"
        in lines
    )


def test_few_mixtures_are_refused_and_nothing_is_written(model, corpus):
    run = tisdiss("calibrate", model, corpus, "--n-re", "1", "--limit", "3")
    assert "3 scored mixtures are too few" in str(run.exception)
    assert not (model / CALIBRATION).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--until", "ten"], "--until ten: expected a number of decibels, such as 10dB"),
        (["--until", "nan"], "--until nan: expected"),
        (["--until", "9dB", "--rtf", "1"], "exclude each other"),
        (["--until", "9dB"], "has no calibration.yaml next to its weights"),
    ],
)
def test_mistakes_are_one_line(model, options, message):
    soundfile.write("a.wav", np.ones(RATE), RATE)
    run = tisdiss("separate", "a.wav", "-m", model, *options)
    assert run.exit_code != 0 and message in str(run.exception)
    assert not list(Path("separated").glob("*"))
