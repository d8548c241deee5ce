import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from espnet2_tisdiss import SeparateSpeech, TISDiSSConfig, TisdissError
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.cli.calibrate import predictions
from espnet2_tisdiss.separate import budget
from espnet2_tisdiss.separate.budget import Calibration, CalibrationStore, Conditions

CONDITIONS = Conditions("0123456789abcdef", "Some CPU", 2, "float32", "2.14.1", "0.1.0")
QUICK = ["--seconds", "0.5", "--n-re", "3", "--repeats", "1"]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def calibrate(*args):
    return CliRunner().invoke(app, ["calibrate", *map(str, args)])


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (0.125, {1.0: 7, 0.5: 3, 0.25: 1}),  # each of them just fits
        (0.375, {1.0: 5, 0.5: 1, 0.25: None}),
    ],
)
def test_depths_for_budgets(base, expected):
    model = SimpleNamespace(separator=SimpleNamespace(config=TISDiSSConfig()))  # N_re 6
    found = predictions(Calibration(CONDITIONS, 8.0, 1, base, 0.125, 0.0), model)
    assert found["n_re_within"] == expected
    assert found["rtf"] == {n_re: base + 0.125 * n_re for n_re in range(1, 9)}


def test_what_is_measured_is_kept(espnet_model, tmp_path):
    espnet_model()
    out = tmp_path / "new" / "here.json"
    run = calibrate(tmp_path, *QUICK, "--json", "--out", out)
    assert run.exit_code == 0
    found = json.loads(run.stdout)
    kept = CalibrationStore().get(
        Conditions.of(SeparateSpeech.from_pretrained(tmp_path)), seconds=0.5
    )
    assert kept == Calibration.load(out)
    assert (kept.seconds, found["seconds"]) == (0.5, 0.5)
    assert found["rtf"] == {str(n_re): kept.predict(n_re) for n_re in (1, 2, 3)}
    assert found["files"] == [str(CalibrationStore().path), str(out)]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_tables(espnet_model, tmp_path):
    espnet_model()
    run = calibrate(tmp_path, *QUICK)
    assert run.exit_code == 0
    assert all(text in run.stdout for text in ("RTF", "--rtf", "0.25", "N_re"))
    assert str(CalibrationStore().path) not in run.stdout  # among the messages


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seconds", "0"], "--seconds 0: expected seconds of audio"),
        (["--seconds", "nan"], "--seconds nan: expected seconds of audio"),
        (["--out", "."], "--out .: is a folder"),
        (["--device", "cuda:99"], "--device cuda:99: not available ("),
    ],
)
def test_options_are_checked(espnet_model, tmp_path, args, message):
    espnet_model()
    run = calibrate(tmp_path, *args)
    assert isinstance(run.exception, TisdissError) and message in str(run.exception)
    assert not CalibrationStore().path.exists()


def test_an_unwritable_output_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    run = calibrate("no model is looked for", "--out", tmp_path / "file" / "here.json")
    assert isinstance(run.exception, TisdissError)
    assert str(run.exception).startswith(f"{tmp_path / 'file'}: is a file")


def test_an_unwritable_cache_is_refused_before_the_work(espnet_model, tmp_path, monkeypatch):
    espnet_model()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(budget, "calibrate", None)
    run = calibrate(tmp_path)
    assert isinstance(run.exception, TisdissError)
    assert str(run.exception).startswith(f"{tmp_path / 'file/tisdiss'}: cannot be written to")
