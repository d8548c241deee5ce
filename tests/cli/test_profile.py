import csv
import io
import json

import pytest
from matplotlib import image
from typer.testing import CliRunner

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.evaluate.cost import CostCounter
from espnet2_tisdiss.evaluate.pictures import draw_by_depth

QUICK = ["--seconds", "0.5", "--repeats", "1"]
FILES = ["memory_by_n_re.png", "profile.csv", "rtf_by_n_re.png"]


def profile(*args):
    return CliRunner().invoke(app, ["profile", *map(str, args)])


def test_figures_by_depth(espnet_model, tmp_path):
    model, _, _ = espnet_model()
    run = profile(tmp_path, *QUICK, "--n-re", "5,1", "--json")
    assert run.exit_code == 0
    found = json.loads(run.stdout)
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert (found["structure"], found["seconds"]) == ("sep1x2-re1x2", 0.5)
    assert [row["n_re"] for row in found["depths"]] == [1, 5]
    counter = CostCounter(model.encoder, model.separator, 8000, 0.5)
    assert [row["macs_per_s"] for row in found["depths"]] == [
        counter.macs_per_s(1),
        counter.macs_per_s(5),
    ]
    assert all(row["rtf"] > 0 and row["peak_bytes"] >= 0 for row in found["depths"])
    assert found["files"] == []


def test_files(espnet_model, tmp_path):
    espnet_model()
    out = tmp_path / "new" / "profile"
    run = profile(tmp_path, *QUICK, "--out", out, "--json")
    assert run.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    with (out / "profile.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == json.loads(run.stdout)["depths"]
    assert [row["n_re"] for row in rows] == [1, 2, 3]  # a third beyond the training's 2
    for name in FILES[::2]:
        assert image.imread(out / name).shape == (480, 720, 4)


def test_table(espnet_model, tmp_path):
    espnet_model()
    run = profile(tmp_path, *QUICK, "--n-re", "2")
    assert run.exit_code == 0
    assert all(text in run.stdout for text in ("N_re", "GMAC/s", "RTF", "peak memory"))
    assert list(tmp_path.glob("*.csv")) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seconds", "0"], "--seconds 0: expected seconds of audio"),
        (["--n-re", "1,,2"], "--n-re 1,,2: expected repetitions"),
        (["--n-re", "0"], "--n-re 0: expected repetitions"),
    ],
)
def test_options_are_checked_before_a_model_is_looked_for(args, message):
    run = profile("nowhere", *args)
    assert isinstance(run.exception, TisdissError) and str(run.exception).startswith(message)


def test_an_unwritable_folder_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    run = profile("nowhere", "--out", tmp_path / "file")
    assert isinstance(run.exception, TisdissError)
    assert str(run.exception).startswith(f"{tmp_path / 'file'}: is a file")


@pytest.mark.parametrize(("rtf", "is_near"), [(0.9, True), (1.5, True), (0.05, False)])
def test_a_limit_is_drawn_where_the_values_come_near_it(rtf, is_near):
    content = draw_by_depth([1, 4], [rtf / 2, rtf], "RTF", "title", {"real time": 1.0})
    red, green, _, _ = image.imread(io.BytesIO(content)).transpose(2, 0, 1)
    assert bool((red - green > 0.5).sum() > 100) == is_near
