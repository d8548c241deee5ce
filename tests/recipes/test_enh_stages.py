"""The driver through all stages with a tiny model, and what happens when something stops it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import soundfile
import yaml
from recipe_folder import REPOSITORY, Recipe, living_processes, make_recipe

from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.stages.join_scores import read_scores
from espnet2_tisdiss.recipes.stages.set_results import read_set

EXP = Path("exp/enh_tiny_raw")
# one process if more would not test more, because each takes seconds to import ESPnet
SEPARATION = ("--stage", "7", "--stop_stage", "7", "--inference_nj", "1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe after all stages at depths 1 and 3; one test mixture has a silent source."""
    recipe = make_recipe(tmp_path_factory.mktemp("corpus") / "recipe")
    silent = read_scp(recipe.folder / "data/test/spk2.scp")["spk1-test1"]
    soundfile.write(silent, np.zeros(8000), 8000)
    done = recipe.run("--n_re", "3 1")
    assert done.returncode == 0, done.stderr
    (recipe.folder / "first_stdout").write_text(done.stdout)
    (recipe.folder / "first_stderr").write_text(done.stderr)
    return recipe


def read_separated(folder: Path, speaker: int) -> dict[str, np.ndarray]:
    """Utterance -> samples of shape (n,) of one speaker."""
    paths = read_scp(folder / f"spk{speaker}.scp")
    return {key: soundfile.read(folder.parents[2] / path)[0] for key, path in paths.items()}


def test_every_stage_leaves_what_it_should(trained: Recipe) -> None:
    exp = trained.folder / EXP
    shapes = read_scp(trained.folder / "exp/enh_stats_8k/train/speech_ref2_shape")
    assert shapes == {f"spk{index}-train{index}": "8000" for index in range(4)}
    assert (exp / "valid.loss.ave.pth").is_file()
    for n_re in (1, 3):
        folder = exp / f"enhanced_re{n_re}_test"
        for speaker in (1, 2):
            waves = read_separated(folder, speaker)
            assert [len(wave) for wave in waves.values()] == [8000, 8000, 8000]
        assert float((folder / "scoring/result_si_snr.txt").read_text()) < 30
    with ZipFile(exp / "enh_tiny_raw_valid.loss.ave.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"meta.yaml", "config.yaml", "RESULTS.md", "quality_by_cost.png"} <= names


def test_one_run_separates_at_all_depths(trained: Recipe) -> None:
    folder = trained.folder / EXP / "inference"
    # only the jobs' logs stay
    assert sorted(path.name for path in folder.iterdir()) == [
        "enhanced_test.1.log",
        "enhanced_test.2.log",
    ]
    logs = [path.read_text() for path in folder.iterdir()]
    assert all("--n_re 1 3 " in log for log in logs)
    assert sum(log.count("Enhancing") for log in logs) == 3  # mixtures, not mixtures x depths
    assert (
        "inference enhanced_test (N_re 1 3): 3/3" in (trained.folder / "first_stderr").read_text()
    )


def test_depths_differ_in_what_they_separate(trained: Recipe) -> None:
    exp = trained.folder / EXP
    first, third = (read_separated(exp / f"enhanced_re{n_re}_test", 1) for n_re in (1, 3))
    assert not np.allclose(first["spk0-test0"], third["spk0-test0"])


def test_the_table_is_printed_and_silence_is_not_scored(trained: Recipe) -> None:
    printed = (trained.folder / "first_stdout").read_text().splitlines()
    assert [line.split("|")[1] for line in printed if line.startswith("|")] == [
        "N_re",
        "---",
        "mixture",
        "1",
        "3",
    ]
    assert "report: exp/enh_tiny_raw/RESULTS.md" in printed
    assert "2 mixtures." in (trained.folder / EXP / "RESULTS.md").read_text()
    scores = read_scores(trained.folder / EXP / "enhanced_re1_test/scoring", "SDR")
    assert list(scores) == ["spk0-test0", "spk2-test2"]
    warned = (trained.folder / "first_stderr").read_text()
    assert "warning: 1 utterances with a silent signal (spk1-test1: spk2.scp" in warned


def test_improvements_are_against_the_mixture(trained: Recipe) -> None:
    exp = trained.folder / EXP
    mixture = trained.folder / "dump/raw/test/mixture_scoring"
    results = read_set("test", mixture, [("1", exp / "enhanced_re1_test")])
    gains = results.improvement(results.depths[0], "SI_SNR")
    own = read_scores(mixture, "SI_SNR")["spk0-test0"]
    separated = read_scores(exp / "enhanced_re1_test/scoring", "SI_SNR")["spk0-test0"]
    assert gains["spk0-test0"] == pytest.approx(separated - own)


def test_epochs_are_shown_with_losses(trained: Recipe) -> None:
    log = (trained.folder / "first_stderr").read_text()
    for epoch in (1, 2):
        assert f"epoch {epoch}/2: train loss " in log


def test_a_second_run_touches_nothing(trained: Recipe) -> None:
    before = trained.state()
    done = trained.run("--n_re", "1 3")
    assert done.returncode == 0
    assert trained.state() == before
    assert done.stderr.count("already done") == 16


def test_another_depth_and_configuration_leave_the_others_alone(trained: Recipe) -> None:
    config = trained.folder / "conf" / "deep.yaml"
    config.write_text("separator_conf: {reconstructor_repeat_times: 3}\n")
    before = trained.state()
    for options in (
        ("--inference_enh_config", "conf/deep.yaml"),
        ("--inference_enh_config", "conf/deep.yaml", "--n_re", "1 2"),
        ("--n_re", "1 2 3"),
    ):
        done = trained.run(*SEPARATION, *options)
        assert done.returncode == 0, done.stderr
    log = done.stderr
    assert log.count("already done") == 2
    run = trained.folder / EXP / "inference/enhanced_test.1.log"
    assert re.search(r"--n_re 2 (?!\d)", run.read_text())
    after = trained.state()
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {f"{EXP}/inference/enhanced_test.{job}.log" for job in (1, 2)}
    # The base file's own depth is 3, and separated by ESPnet's own command; a depth on the
    # command line replaces it.
    for name, same in (("deep", "enhanced_re3"), ("deep_re1", "enhanced_re1")):
        for speaker in (1, 2):
            ours = read_separated(trained.folder / EXP / f"{same}_test", speaker)
            for key, wave in read_separated(trained.folder / EXP / f"{name}_test", speaker).items():
                # except for rounding to 16 bits: the run for all depths pads its frames
                np.testing.assert_allclose(wave, ours[key], rtol=0, atol=1.01 / 2**15)


def test_lost_results_are_made_again(trained: Recipe) -> None:
    lost = trained.folder / EXP / "enhanced_re1_test/wavs/1/spk0-test0.wav"
    content = lost.read_bytes()
    lost.unlink()
    done = trained.run(*SEPARATION, "--n_re", "1")
    assert "enhanced_re1_test: changed since it was done" in done.stderr
    assert lost.read_bytes() == content


def test_a_changed_test_set_is_checked_before_inference(trained: Recipe) -> None:
    path = trained.folder / "audio/test/wav/spk0-test0.wav"
    times = path.stat()
    os.utime(path, (0, 0))
    done = trained.run("--stage", "7", "--stop_stage", "7", "--n_re", "1")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert done.returncode == 1
    assert "dump/raw/test: changed since stage 3 checked it (the audio of data/test/wav.scp" in (
        done.stderr
    )
    assert done.stderr.endswith("run stage 3 (format audio) first\n")


def test_failing_inference_names_its_log(trained: Recipe) -> None:
    (trained.folder / EXP / "broken.pth").write_bytes(b"not weights")
    options = ("--inference_model", "broken.pth", "--n_re", "7")
    done = trained.run(*SEPARATION, *options)
    assert done.returncode == 1
    log = EXP / "inference/enhanced_test.1.log"
    failed = "inference enhanced_test (N_re 7): job 1 of 1 failed (exit code 1)"
    assert f"{failed}; its log is {log}" in done.stderr
    assert (trained.folder / log).is_file()
    assert not (trained.folder / EXP / "enhanced_re7_test").exists()
    done = trained.run("--stage", "7", "--inference_model", "none.pth")
    assert "--inference_model none.pth: is not among the models: " in done.stderr


def test_scores_are_of_the_model_they_name(trained: Recipe) -> None:
    other = ("--inference_model", "latest.pth", "--n_re", "1")
    before = (trained.folder / EXP / "RESULTS.md").read_bytes()
    done = trained.run("--stage", "8", "--stop_stage", "8", *other)
    assert done.returncode == 1
    changed = f"{EXP}/latest.pth, {EXP}/valid.loss.ave.pth"
    told = f"enhanced_re1_test: changed since it was separated ({changed}): run stage 7 (inference)"
    assert f"{told} first\n" in done.stderr
    assert (trained.folder / EXP / "RESULTS.md").read_bytes() == before


def test_a_training_is_not_resumed_as_another(trained: Recipe) -> None:
    config = trained.folder / "conf/tiny.yaml"
    before, content = trained.state(), config.read_text()
    config.write_text(content.replace("[8, 8]", "[8, 16]"))
    done = trained.run("--stage", "6", "--stop_stage", "6")
    assert done.returncode == 1
    told = (
        "holds a training that began with other settings (conf/tiny.yaml): "
        "name this one with --enh_tag"
    )
    assert told in done.stderr.splitlines()[-1]
    config.write_text(content)
    assert "already done" in trained.stage(6)
    assert trained.state().keys() == before.keys()


@pytest.fixture(scope="module")
def deeper(trained: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A deeper training from trained weights: its folder, and its options except --fit_args.

    It is run by a clone of the repository in a folder with a space in its name.
    """
    folder = tmp_path_factory.mktemp("my clone")
    for shared in ("local", "espnet2_tisdiss"):
        (folder / shared).symlink_to(REPOSITORY / shared)
    weights = folder / "my weights.pth"
    shutil.copy(trained.folder / EXP / "valid.loss.ave.pth", weights)
    options = ["--enh_args", "--max_epoch 1 --separator_conf reconstructor_repeat_times=4"]
    options += ["--init_param", str(weights)]
    clone = Recipe(trained.folder, folder / "local" / "enh.sh")
    clone.stage(6, 6, *options, "--fit_args", "--max_epoch 3 --batch_size 3")
    name = "enh_tiny_raw_max_epoch1_separator_confreconstructor_repeat_times4"
    return trained.folder / "exp" / name, options


def test_training_goes_deeper_from_trained_weights(deeper: tuple[Path, list[str]]) -> None:
    exp, (*_, weights) = deeper
    log = (exp / "train.log").read_text()
    assert "si_snr_loss_depth-4=" in log
    assert f"Loading pretrained params from {weights}" in log


def test_what_fits_the_data_is_not_in_the_name(
    trained: Recipe, deeper: tuple[Path, list[str]]
) -> None:
    exp, options = deeper
    config = yaml.safe_load((exp / "config.yaml").read_text())
    assert config["batch_size"] == 3
    assert config["max_epoch"] == 1  # --enh_args takes precedence
    fit = ("--fit_args", "--batch_size 4")
    done = trained.run("--stage", "6", "--stop_stage", "6", *options, *fit)
    assert (
        "holds a training that began with other settings (--fit_args): name this one" in done.stderr
    )


def test_a_failing_training_names_its_log(trained: Recipe) -> None:
    options = ("--enh_tag", "failing", "--enh_args", "--optim_conf lr=nonsense")
    done = trained.run("--stage", "6", "--stop_stage", "6", *options)
    assert done.returncode == 1
    assert "training failed (exit code 1); its log is exp/enh_failing/train.log" in done.stderr
    assert not (trained.folder / "exp/enh_failing/.done").exists()


def test_a_refused_option_is_told_before_the_training(trained: Recipe) -> None:
    options = ("--enh_tag", "refused", "--enh_args", "--separator_conf norm_type=nonsense")
    done = trained.run("--stage", "6", "--stop_stage", "6", *options)
    assert done.returncode == 1
    told = "check_training: conf/tiny.yaml: norm_type must be one of rmsgroupnorm, layernorm"
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not (trained.folder / "exp/enh_refused").exists()


def test_an_interrupted_training_stops_and_goes_on(trained: Recipe) -> None:
    exp = trained.folder / "exp" / "enh_interrupted"
    stage = ("--stage", "6", "--stop_stage", "6", "--enh_tag", "interrupted")
    process = trained.start(*stage, "--enh_args", "--max_epoch 1000")
    while not (exp / "checkpoint.pth.kept").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate()
    assert process.returncode == 143
    assert "stage 6: interrupted; finished work is kept" in log
    assert living_processes(process.pid) == []
    assert not (exp / ".done").exists()
    # as if it had been stopped while writing
    checkpoint = exp / "checkpoint.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    log = trained.stage(6, 6, "--enh_tag", "interrupted", "--enh_args", "--max_epoch 1")
    assert "training continues from exp/enh_interrupted/checkpoint.pth" in log
    told = (exp / "train.log").read_text()
    warning = "was damaged (renamed to checkpoint.pth.broken): resuming from the previous epoch"
    assert warning in told
    assert "The training was resumed using" in told


def test_an_interrupted_inference_stops_and_goes_on(trained: Recipe) -> None:
    exp = trained.folder / EXP
    for path in exp.glob("inference/*.log"):  # of earlier runs
        path.unlink()
    process = trained.start(*SEPARATION, "--n_re", "4 5")
    while not (exp / "inference/enhanced_test.1.log").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # the effect of Ctrl-C
    process.communicate()
    assert process.returncode == 130
    assert not list(exp.glob("enhanced_re[45]_test"))
    # finished work, here one recognisable planted mixture, is not repeated
    work = exp / "inference/enhanced_test"
    shutil.rmtree(work / "jobs")
    planted = np.linspace(-0.5, 0.5, 8000)
    for n_re, speaker in ((4, 1), (4, 2), (5, 1), (5, 2)):
        path = work / f"kept/re{n_re}/{speaker}/spk0-test0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, planted, 8000)
    done = trained.run(*SEPARATION, "--n_re", "4 5")
    assert done.returncode == 0, done.stderr
    logs = (exp / "inference/enhanced_test.1.log").read_text()
    assert sorted(re.findall("Enhancing (.*)", logs)) == ["spk1-test1", "spk2-test2"]
    for n_re in (4, 5):
        waves = read_separated(exp / f"enhanced_re{n_re}_test", 1)
        assert [len(wave) for wave in waves.values()] == [8000, 8000, 8000]
        np.testing.assert_allclose(waves["spk0-test0"], planted, atol=1e-4)
    assert not work.exists()
