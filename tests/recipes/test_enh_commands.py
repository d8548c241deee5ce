"""What the driver asks of the programs it runs, told by a stand-in for Python that runs nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from recipe_folder import REPOSITORY, TINY_CONFIG, Recipe

STAND_IN = f"""\
#!/bin/sh
case $1 in */options.py) exec {sys.executable} "$@" ;; esac
printf '<%s>' "$@" >>asked
echo >>asked
case $* in
    *"stages.marker write"*) echo "$4" >>marked ;;
    *"stages.marker check"*) grep -qsxF -- "$4" marked || exit 3 ;; # done is what was marked
    *"stages.collect_separated todo"*) echo 1 ;;
esac
"""
EXP = Path("exp/enh_tiny_raw")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe folder, its path with a space, in which every stage finds what it asks for."""
    folder = tmp_path / "my recipe"
    there = ["dump/raw/test/.done", "exp/enh_stats_8k/.done", "exp/enh_stats_16k/.done"]
    there += [f"{EXP}/{name}" for name in ("config.yaml", "valid.loss.ave.pth")]
    for name in (*there, f"{EXP}/enhanced_re2_test/.done", "conf/tiny.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "conf/tiny.yaml").write_text(TINY_CONFIG)
    (folder / "python").write_text(STAND_IN)
    (folder / "python").chmod(0o755)
    return Recipe(folder)


def asked(recipe: Recipe, program: str, *options: str) -> str:
    """The last command line of a program in a run that must succeed, with nothing done before."""
    (recipe.folder / "marked").unlink(missing_ok=True)
    done = recipe.run("--python", str(recipe.folder / "python"), *options)
    assert done.returncode == 0, done.stderr
    lines = (recipe.folder / "asked").read_text().splitlines()
    return [line for line in lines if f".{program}>" in line][-1]


def train(recipe: Recipe, program: str, *options: str) -> str:
    return asked(recipe, program, "--stage", "6", "--stop_stage", "6", *options)


@pytest.mark.parametrize(
    ("options", "folds"),
    [
        ((), ["80000"] * 3),  # of wav.scp, spk1.scp, spk2.scp
        (("--fs", "16k"), ["160000"] * 3),
        (("--enh_args", "--fold_length 1 --fold_length 2 --fold_length 3"), ["1", "2", "3"]),
    ],
)
def test_folds_are_of_ten_seconds_unless_told(recipe: Recipe, options, folds) -> None:
    line = train(recipe, "follow_training", *options)
    assert re.findall(r"<--fold_length><(\d+)>", line) == folds


def test_initial_weights_may_lie_in_a_folder_with_a_space(recipe: Recipe, tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    for shared in ("local", "espnet2_tisdiss"):
        (clone / shared).symlink_to(REPOSITORY / shared)
    recipe.driver = clone / "local/enh.sh"
    weights = tmp_path / "my clone/model.pth"
    weights.touch()
    parts = f"{weights}:encoder:encoder"
    for given, words in (
        (str(weights), f"<{weights}>"),
        (parts, f"<{parts}>"),
        ("python:a python", "<python:a><python>"),
    ):
        line = train(recipe, "follow_training", "--init_param", given)
        assert line.endswith(f"<--init_param>{words}")
        line = train(recipe, "check_training", "--init_param", given)
        assert f"<--init_param>{words}<-->" in line


@pytest.mark.parametrize(
    ("given", "missing"),
    [("my weights.pth", "my"), ("python none.pth", "none.pth"), ("python:a no:a:b", "no:a:b")],
)
def test_missing_initial_weights_are_named(recipe: Recipe, given: str, missing: str) -> None:
    options = ("--python", "./python", "--init_param", given)
    done = recipe.run("--stage", "6", *options)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"error: --init_param {missing}: no such file")


@pytest.mark.parametrize(
    ("options", "separating"),
    [
        ((), "2"),
        (("--inference_nj", "5"), "5"),
        (("--gpu_inference", "true"), "1"),  # on one GPU
        (("--gpu_inference", "true", "--inference_nj", "3"), "3"),
    ],
)
def test_the_gpu_separates_in_one_process_and_the_cores_score(
    recipe: Recipe, options, separating
) -> None:
    stages = ("--stage", "7", "--stop_stage", "8", "--n_re", "2")
    scoring = asked(recipe, "run_jobs", *stages, *options)
    assert "<--nj><2>" in scoring and "<scoring " in scoring
    lines = (recipe.folder / "asked").read_text().splitlines()
    (inference,) = [line for line in lines if "<inference " in line]
    assert f"<--nj><{separating}>" in inference
    assert ("<--ngpu><1>" in inference) == ("--gpu_inference" in options)
