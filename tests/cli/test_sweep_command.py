"""``tisdiss sweep``: tables, files, and how it ends."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib import image
from noise_mixtures import write_noise_mixtures
from typer.testing import CliRunner

import espnet2_tisdiss.evaluate.by_depth
from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.evaluate.cost import CostCounter
from espnet2_tisdiss.evaluate.pictures import Quality, draw_quality
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

FILES = ["mixtures.csv", "quality_by_cost.png", "quality_by_rtf.png", "sweep.csv"]


def run_sweep(*args):
    return CliRunner().invoke(app, ["sweep", *map(str, args)])


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Five mixtures m0 .. m4 of 0.3 to 0.7 s in the layout of wsj0-2mix."""
    return write_noise_mixtures(tmp_path / "corpus", [0.3 + 0.1 * index for index in range(5)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_model_may_be_left_out(espnet_model, corpus, tmp_path, monkeypatch):
    _, config, _ = espnet_model()
    for variable, model in (("", DEFAULT_MODEL), (str(config.parent), str(config.parent))):
        monkeypatch.setenv("TISDISS_MODEL", variable)
        options = ("--n-re", "1", "--limit", "1", "--resample", "--out", tmp_path / "out", "--json")
        run = run_sweep(corpus, *options)
        assert run.exit_code == 0
        assert json.loads(run.stdout)["model"] == model


def test_figures_are_means_of_those_by_mixture(espnet_model, corpus, tmp_path):
    model, config, _ = espnet_model()
    out = tmp_path / "new" / "out"
    run = run_sweep(config.parent, corpus, "--n-re", "4,1", "--sdr", "--out", out, "--json")
    assert run.exit_code == 0
    found = json.loads(run.stdout)
    assert (found["done"], found["left_out"], found["failed"]) == (5, [], [])
    assert found["seconds"] == pytest.approx(2.5)
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert sorted(found["files"]) == [str(out / name) for name in FILES]
    by_mixture = rows_of(out / "mixtures.csv")
    names = [f"m{index}" for index in range(5)]
    assert [row["mixture"] for row in by_mixture] == [name for name in names for _ in range(2)]
    counter = CostCounter(model.encoder, model.separator, 8000, 4)
    for depth in found["depths"]:
        rows = [row for row in by_mixture if row["n_re"] == str(depth["n_re"])]
        for column in ("si_snr", "si_snri", "sdr", "sdri"):
            expected = np.mean([float(row[column]) for row in rows])
            assert depth[column] == pytest.approx(expected)
        work = sum(float(row["rtf"]) * float(row["seconds"]) for row in rows)
        assert depth["rtf"] == pytest.approx(work / 2.5)
        assert depth["gmacs_per_s"] == counter.macs_per_s(depth["n_re"]) / 1e9
    rows = [
        {name: float(value) if value else None for name, value in row.items()}
        for row in rows_of(out / FILES[3])
    ]
    assert rows == found["depths"]
    assert found["depths"][0]["rtf"] < found["depths"][1]["rtf"]
    for name in FILES[1:3]:
        assert image.imread(out / name).shape == (480, 720, 4)


def test_each_model_and_data_set_has_a_folder(espnet_model, corpus, tmp_path, monkeypatch):
    _, config, weights = espnet_model()
    monkeypatch.chdir(tmp_path)
    experiment = config.parent.name
    for model, name in (
        (config.parent, f"{experiment}_corpus"),
        (weights, f"{experiment}_{weights.stem}_corpus"),
        ("mini", "mini_corpus"),
    ):
        run = run_sweep(model, corpus, "--n-re", "1", "--limit", "1")
        assert run.exit_code == 0
        assert sorted(path.name for path in (tmp_path / "sweep" / name).iterdir()) == FILES


def test_the_change_is_what_stop_db_is_compared_with(espnet_model, corpus, tmp_path):
    _, config, weights = espnet_model()
    run = run_sweep(
        config.parent, corpus, "--n-re", "1,3,4", "--keep-rumble", "--limit", "1", "--out", tmp_path
    )
    assert run.exit_code == 0
    first, *rows = rows_of(tmp_path / "mixtures.csv")
    assert first["change"] == "" and len(rows) == 2
    mixture = [soundfile.read(corpus / "mix/m0.wav", dtype="float32")[0]]
    model = SeparateSpeech(config, weights)
    for row in rows:
        n_re, change = int(row["n_re"]), float(row["change"])
        # a threshold just above this change finds the first smaller one
        stops = [
            int(model.until_stable(mixture, change + margin, n_re).n_re[0])
            for margin in (0.01, -0.01)
        ]
        by_hand = model.depths(mixture, [n_re - 1, n_re], scale="estimate")
        before, after = (by_hand[n][0] for n in (n_re - 1, n_re))
        ratio = np.square(after - before).sum() / np.square(after).sum()
        assert change == pytest.approx(10 * np.log10(ratio), abs=0.01)
        assert stops[0] <= n_re == stops[1]


def test_a_model_without_data_is_refused(tmp_path):
    run = run_sweep("mini")
    assert run.exit_code == 2 and "mini is a model; the data set is missing" in run.output


def test_table(espnet_model, corpus, tmp_path):
    _, config, _ = espnet_model()
    run = run_sweep(config.parent, corpus, "--n-re", "1,2", "--limit", "2", "--out", tmp_path)
    assert run.exit_code == 0
    assert "corpus: 2 mixtures, 1 s" in run.stdout
    for row in rows_of(tmp_path / "sweep.csv"):
        line = next(
            line for line in run.stdout.splitlines() if line.startswith(f"│    {row['n_re']}")
        )
        assert f"{float(row['si_snr']):.2f}" in line and f"{float(row['si_snri']):.2f}" in line
    assert run.stdout.count("best") == 1
    # evenly spread
    names = [row["mixture"] for row in rows_of(tmp_path / "mixtures.csv")]
    assert names == ["m0", "m0", "m2", "m2"]


def test_a_broken_mixture_is_reported_and_the_others_are_scored(espnet_model, corpus, tmp_path):
    _, config, _ = espnet_model()
    (corpus / "mix/m1.wav").write_bytes((corpus / "mix/m1.wav").read_bytes()[:1000])
    soundfile.write(corpus / "s2/m2.wav", np.zeros(4000), 8000)
    program = (
        "import sys; sys.argv[0] = 'tisdiss'; from espnet2_tisdiss.cli.app import main; main()"
    )
    command = ["sweep", config.parent, "corpus", "--n-re", "2", "--out", "out", "--json"]
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TERM": "dumb", "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 1, run.stderr
    found = json.loads(run.stdout)
    assert found["done"] == 3
    assert found["failed"][0].startswith("corpus/mix/m1.wav: truncated: only 1000 of")
    assert found["left_out"][0].startswith("corpus/s2/m2.wav: is silent")
    lines = [f"failed: {found['failed'][0]}", f"left out: {found['left_out'][0]}"]
    assert set(lines) <= set(run.stderr.splitlines())
    assert "Traceback" not in run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_without_any_score_there_are_no_files(espnet_model, corpus, tmp_path):
    _, config, _ = espnet_model()
    for path in corpus.glob("s1/*"):
        path.unlink()
    run = run_sweep(config.parent, corpus, "--out", tmp_path / "out")
    assert isinstance(run.exception, TisdissError)
    assert "no mixture could be scored; the first: " in str(run.exception)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_done_before_an_interrupt_is_kept(espnet_model, corpus, tmp_path, monkeypatch):
    _, config, _ = espnet_model()
    complete = espnet2_tisdiss.evaluate.by_depth.score_mixtures

    def interrupted(*args, **options):
        scored = complete(*args, **options)
        yield next(scored)
        yield next(scored)
        raise KeyboardInterrupt

    monkeypatch.setattr(espnet2_tisdiss.evaluate.by_depth, "score_mixtures", interrupted)
    run = run_sweep(config.parent, corpus, "--n-re", "1", "--out", tmp_path)
    assert run.exit_code == 130
    assert "2 mixtures, 1 s; 3 not reached" in run.stdout
    # the longest are first to be run
    assert [row["mixture"] for row in rows_of(tmp_path / "mixtures.csv")] == ["m3", "m4"]


@pytest.mark.parametrize(
    ("args", "message"),
    [(["--n-re", "0"], "--n-re 0: expected repetitions"), (["--out", "file"], "file: is a file")],
)
def test_options_are_checked_before_a_model_is_looked_for(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    run = run_sweep("nowhere", "data", *args)
    assert isinstance(run.exception, TisdissError) and str(run.exception).startswith(message)


def test_quality_is_drawn_over_its_cost_with_its_spread():
    # a band of 2 dB at the first depth and of 8 dB at the second
    gains = [[4.0, 5.0, 6.0], [1.0, 5.0, 9.0]]
    content = draw_quality({"set": Quality([1, 2], [10.0, 20.0], gains)}, "cost")
    red, _, blue, _ = image.imread(io.BytesIO(content)).transpose(2, 0, 1)
    filled = (blue - red > 0.05) & (blue - red < 0.3)
    columns = np.flatnonzero(filled.sum(0) > 20)
    # half of the axis is left of the first depth; the band grows to the right
    left, right = filled[:, columns[0] + 4].sum(), filled[:, columns[-1] - 4].sum()
    assert columns[0] > 0.4 * filled.shape[1]
    assert right / left == pytest.approx(4, rel=0.2)
