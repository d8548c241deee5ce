"""The commands that the driver runs, recorded by a replacement for Python that runs nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from recipe_folder import REPOSITORY, TINY_CONFIG, Recipe

STAND_IN = f"""\
#!/bin/sh
case $1$2 in */options.py* | -m*.stages.recipe) exec {sys.executable} "$@" ;; esac
printf '<%s>' "$@" >>asked
echo >>asked
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe folder, its path with a space."""
    folder = tmp_path / "my recipe"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf/tiny.yaml").write_text(TINY_CONFIG)
    (folder / "python").write_text(STAND_IN)
    (folder / "python").chmod(0o755)
    return Recipe(folder)


def asked(recipe: Recipe, stage: int, *options: str) -> list[str]:
    """The steps of a stage, with their commands."""
    (recipe.folder / "asked").unlink(missing_ok=True)
    numbers = ("--stage", str(stage), "--stop_stage", str(stage))
    done = recipe.run("--python", str(recipe.folder / "python"), *numbers, *options)
    assert done.returncode == 0, done.stderr
    lines = (recipe.folder / "asked").read_text().splitlines()
    return [line.partition(f".run_step><{stage}>")[2] for line in lines if ".run_step>" in line]


@pytest.mark.parametrize(
    ("options", "folds"),
    [
        ((), ["80000"] * 3),  # of wav.scp, spk1.scp, spk2.scp
        (("--fs", "16k"), ["160000"] * 3),
        (("--enh-speech-fold-length", "800"), ["80000"] * 3),
        (("--enh_speech_fold_length=320",), ["32000"] * 3),
        (("--enh_args", "--fold_length 1 --fold_length 2 --fold_length 3"), ["1", "2", "3"]),
    ],
)
def test_folds_are_of_ten_seconds_unless_told(recipe: Recipe, options, folds) -> None:
    (line,) = asked(recipe, 6, *options)
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
        (line,) = asked(recipe, 6, "--init_param", given)
        assert line.startswith("<training><--><") and line.endswith(f"<--init_param>{words}")


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


def test_every_depth_has_its_folder_and_the_gpu_is_used_on_demand(recipe: Recipe) -> None:
    (line,) = asked(recipe, 7)
    assert line.startswith("<separation><test><-->") and "<--output_dir><{out}/default>" in line
    assert "<--n_re>" not in line and "<--ngpu>" not in line
    (line,) = asked(recipe, 7, "--n_re", "2 3", "--gpu_inference", "true")
    assert "<--output_dir><{out}><--ngpu><1><--n_re><{n_re}><--normalize_output_wav>" in line


def test_mixtures_and_separations_are_scored_then_reported(recipe: Recipe) -> None:
    mixture, first, second, report, page = asked(recipe, 8, "--n_re", "3 1")
    pairs = [f"<--ref_scp><dump/raw/test/spk{number}.scp><--inf_scp><{{}}>" for number in (1, 2)]
    given = "".join(pairs).format(*["dump/raw/test/wav.scp"] * 2)
    assert mixture.startswith("<scoring><test><-->") and given in mixture
    given = "".join(pairs).format("{separated}/spk1.scp", "{separated}/spk2.scp")
    for line, n_re in ((first, 1), (second, 3)):
        assert line.startswith(f"<scoring><test><{n_re}><-->") and given in line
    assert report.startswith("<report><-->") and report.endswith("<SI_SNR><{scored}>")
    assert page.startswith("<page><-->") and page.endswith("<--data><dump/raw/test>")


def test_the_validation_set_is_separated_and_scored_on_demand(recipe: Recipe) -> None:
    options = ("--eval-valid-set", "true")
    sets = [re.match(r"<separation><(\w+)>", line)[1] for line in asked(recipe, 7, *options)]
    assert sets == ["valid", "test"]
    *scorings, _, _ = asked(recipe, 8, *options, "--scoring_opts", "--use_pesq true")
    assert [re.match(r"<scoring><(\w+)>", line)[1] for line in scorings] == [
        *["valid"] * 2,
        *["test"] * 2,
    ]
    assert all(line.endswith("<--use_pesq><true>") for line in scorings)


def test_dynamic_mixing_takes_segments_of_single_utterances(recipe: Recipe) -> None:
    options = ("--dynamic_mixing", "true", "--enh_args", "--max_epoch 3")
    (line,) = asked(recipe, 6, *options)
    given = "<--train_data_path_and_name_and_type><dump/raw/train/{},sound>"
    data = "".join(given.format(f"wav.scp,{name}") for name in ("speech_mix", "speech_ref1"))
    assert f"{data}<--valid_data" in line
    assert "<--max_epoch><3><--preprocessor><dynamic_mixing>" in line
    assert "<--chunk_length><{segment}>" in line
    assert "<--preprocessor_conf><ref_num=2>" in line
