"""Runs that share a folder: the second of two real processes is refused."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import scaling
from lock_holder import held
from recipe_folder import Recipe, living_processes, prepare_here

from espnet2_tisdiss.bin import asr_inference, enh_inference, enh_scoring
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet.training import ResumableTask

EXP = Path("exp/enh_tiny_raw")
PATIENCE_S = 500.0


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file appears, while the process that is to make it runs."""
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a process and all of its children."""
    for number in living_processes(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(("stage", "folder"), [(1, "data"), (3, "dump/raw")])
@pytest.mark.promise("one-run-a-folder")
def test_a_stage_is_refused_its_folder(recipe: Recipe, stage: int, folder: str) -> None:
    with held(recipe.folder / folder) as other:
        done = recipe.run("--stage", str(stage), "--stop_stage", str(stage))
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert f"{folder}: in use by process {other.pid} on " in line
    assert not (recipe.folder / "dump/raw/org").exists()


@pytest.mark.promise("one-run-a-folder")
def test_a_data_preparation_is_refused_its_folders(tmp_path: Path) -> None:
    for folder in ("data", "downloads/mini_tiny_0"):
        with held(tmp_path / folder) as other:
            done = prepare_here("mini_2mix", tmp_path, ["--size", "tiny"], {})
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert f"/{folder}: in use by process {other.pid} on " in done.stderr


@pytest.mark.promise("one-run-a-folder")
def test_a_training_is_refused_its_folder(tmp_path: Path) -> None:
    with held(tmp_path / "exp") as other, pytest.raises(TisdissError) as refused:
        ResumableTask.main(cmd=["--output_dir", str(tmp_path / "exp")])
    assert f"exp: in use by process {other.pid} on " in str(refused.value)
    assert not (tmp_path / "exp").exists()


DATA = ["--data_path_and_name_and_type", "wav.scp,speech_mix,sound"]
PAIRS = ["--ref_scp", "spk1.scp", "--inf_scp", "spk1.scp", "--key_file", "wav.scp"]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (enh_inference, DATA),
        (enh_inference, [*DATA, "--n_re", "1"]),
        (asr_inference, DATA),
        (asr_inference, [*DATA, "--n_re", "1"]),
        (enh_scoring, PAIRS),
    ],
)
@pytest.mark.promise("one-run-a-folder")
def test_a_command_is_refused_its_folder(
    tmp_path: Path, command: ModuleType, options: list[str]
) -> None:
    with held(tmp_path / "out") as other, pytest.raises(SystemExit) as refused:
        command.main(["--output_dir", str(tmp_path / "out"), *options])
    assert f"out: in use by process {other.pid} on " in str(refused.value.code)
    assert not (tmp_path / "out").exists()


@pytest.mark.promise("one-run-a-folder")
def test_the_scaling_experiment_is_refused_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = scaling.Recipe(tmp_path / "recipe", "full", "scaling")
    monkeypatch.setitem(scaling.RECIPES, "mini_2mix", recipe)
    monkeypatch.setattr(scaling, "read_yaml", lambda path: {"num_iters_per_epoch": 1})
    monkeypatch.setattr(sys, "argv", ["scaling.sh"])
    refused = pytest.raises(TisdissError, match="in use by process")
    with held(tmp_path / "recipe/exp/full_0/scaling"), refused:
        scaling.main()


@pytest.mark.slow
@pytest.mark.promise("one-run-a-folder")
def test_the_second_of_two_drivers_is_refused_and_the_first_goes_on(recipe: Recipe) -> None:
    recipe.stage(1, 5)
    first = recipe.start("--stage", "6", "--stop_stage", "6")
    try:
        wait_for(recipe.folder / EXP / ".begun", first)
        for options in (("--stage", "6", "--stop_stage", "6"), ("--stage", "6")):
            second = recipe.run(*options)
            assert second.returncode == 1
            told = second.stderr.splitlines()[-1]
            assert "enh_tiny_raw: in use by process " in told and "run_step 6 training" in told
        direct = subprocess.run(
            [sys.executable, "-m", "espnet2_tisdiss.bin.enh_train", "--output_dir", str(EXP)],
            cwd=recipe.folder,
            capture_output=True,
            text=True,
        )
        assert direct.returncode == 1
        assert direct.stderr.splitlines()[-1].startswith(
            f"enh_train: {recipe.folder / EXP}: in use"
        )
        _, log = first.communicate()
        assert first.returncode == 0, log
    finally:
        kill_all(first)
    assert (recipe.folder / EXP / ".done").is_file()


@pytest.mark.slow
@pytest.mark.promise("one-run-a-folder")
def test_the_lock_of_a_killed_driver_is_taken_over(recipe: Recipe) -> None:
    recipe.stage(1, 5)
    options = ("--stage", "6", "--stop_stage", "6", "--enh_args", "--max_epoch 4")
    first = recipe.start(*options)
    try:
        wait_for(recipe.folder / EXP / "1epoch.pth", first)
    finally:
        kill_all(first)
    assert recipe.run(*options).returncode == 0
    assert (recipe.folder / EXP / "4epoch.pth").is_file()


@pytest.mark.slow
@pytest.mark.promise("diverged")
def test_a_training_that_diverges_is_not_done(recipe: Recipe) -> None:
    recipe.stage(1, 5)
    done = recipe.run("--stage", "6", "--enh_args", "--optim_conf lr=1.0e+30 --grad_clip 1.0e+30")
    assert done.returncode == 1
    (told,) = [line for line in done.stderr.splitlines() if "the training has diverged" in line]
    assert "lower the learning rate (optim_conf: lr; it was 1e+30)" in told
    assert not (recipe.folder / EXP / ".done").exists()
    assert not list((recipe.folder / EXP).glob("*.ave*.pth"))
