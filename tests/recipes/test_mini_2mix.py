"""The mini_2mix recipe from nothing to RESULTS.md, as a user runs it."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from recipe_folder import copy_recipe

from espnet2_tisdiss.lists import read_scp


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return copy_recipe("mini_2mix", tmp_path)


def run(recipe: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [recipe / "run.sh", "--python", sys.executable, *options], capture_output=True, text=True
    )


def improvements(exp: Path, n_re: int) -> list[float]:
    """SI-SNRi in dB of every test mixture at a depth, from RESULTS.csv."""
    with (exp / "RESULTS.csv").open() as file:
        return [float(row["SI_SNRi"]) for row in csv.DictReader(file) if row["n_re"] == str(n_re)]


def test_tiny_size_runs_every_stage(recipe):
    done = run(recipe, "--size", "tiny", "--nj", "1")
    assert done.returncode == 0, done.stderr
    exp = recipe / "exp/tiny_0/enh_train_tiny_raw"
    # training: the loss of every depth is in the log, the plots and TensorBoard
    log = (exp / "train.log").read_text()
    for depth in range(3):
        assert f"si_snr_loss_depth-{depth}=" in log
        assert (exp / f"images/si_snr_loss_depth-{depth}.png").is_file()
    assert list((exp / "tensorboard").rglob("events*"))
    # separation: two files for each mixture and depth, as long as the mixture
    mixtures = read_scp(recipe / "dump/tiny_0/raw/test_tiny_0/wav.scp")
    assert len(mixtures) == 4
    for n_re in (1, 2, 3):
        assert len(improvements(exp, n_re)) == 4
        for speaker in (1, 2):
            separated = read_scp(exp / f"enhanced_re{n_re}_test_tiny_0/spk{speaker}.scp")
            assert separated.keys() == mixtures.keys()
            for name, path in separated.items():
                frames = soundfile.info(recipe / mixtures[name]).frames
                assert soundfile.info(recipe / path).frames == frames
    # results: printed, written and drawn
    assert "|N_re|STOI|" in done.stdout
    assert "|N_re|STOI|" in (exp / "RESULTS.md").read_text()
    assert (exp / "quality_by_cost.png").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_quick_size_separates_unseen_voices(recipe):
    done = run(recipe, "--size", "quick")
    assert done.returncode == 0, done.stderr
    exp = recipe / "exp/quick_0/enh_train_quick_raw"
    best = max(sum(improvements(exp, n_re)) / 20 for n_re in (1, 2, 3, 4))
    assert best > 1.5  # dB; far above an untrained model, which is below 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "huge"], "run.sh: --size huge: must be tiny, quick, default or full"),
        (["--size"], "run.sh: --size lacks its value"),
        (["--size", "tiny", "--stages", "3"], "unknown option --stages (see --help)"),
        (["--size", "tiny", "--seed", "x"], "run.sh: --seed x: must be a whole number"),
    ],
)
def test_wrong_options_are_one_line(recipe, options, message):
    done = run(recipe, *options)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and done.stderr.endswith(f"{message}\n")
    assert not (recipe / "data").exists()
