"""The driver's options, and its messages about missing things: always one clear line."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_folder import REPOSITORY, Recipe, run_here

from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.stages.options import options

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(enh\.sh\) ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nope", "1"], "unknown option --nope"),
        (["--nope=1"], "unknown option --nope"),
        (["train"], "unexpected argument 'train'"),
        (["--stage"], "--stage lacks its value"),
        (["--nj", "--fs", "8k"], "--nj lacks its value"),
        (["--stage", "one"], "--stage 'one': expected a stage from 1 to 13"),
        (["--stage=14"], "--stage '14': expected a stage from 1 to 13"),
        (["--hf_repo", "me/it"], "--hf_repo 'me/it': models are not uploaded from here"),
        (["--stage", "3", "--stop_stage", "2"], "--stop_stage 2 comes before --stage 3"),
        (["--nj", "0"], "--nj '0': expected a number from 1 on"),
        (["--ngpu", "-1"], "--ngpu '-1': expected a number from 0 on"),
        (["--n_re", "0 x"], "--n_re '0': expected a number from 1 on"),
        (["--n_re", "1 x"], "--n_re 'x': expected a number from 1 on"),
        (["--fs", "8kHz"], "--fs '8kHz': expected a rate"),
        (["--skip_train", "yes"], "--skip_train 'yes': expected true or false"),
        (["--audio_format", "mp3"], "--audio_format 'mp3': expected wav or flac"),
        (["--speed_perturb_factors", "0.9 0"], "--speed_perturb_factors '0': expected a speed"),
        (["--scoring_protocol", "WER"], "--scoring_protocol 'WER': expected one of STOI"),
        (["--train_set", "../tr"], "--train_set '../tr': expected the name of a set"),
        (["--test_sets", ""], "--test_sets is missing"),
        (["--enh_config", "conf/none.yaml"], "--enh_config conf/none.yaml: no such file"),
        (["--num_nodes", "2"], "--num_nodes 2: needs --dist_launcher slurm"),
        (["--python", "no-such-python"], "--python no-such-python: no such program"),
        (["--ngpu", "99"], "--ngpu 99: PyTorch does not find that many GPUs here; give --ngpu 0"),
    ],
)
def test_a_bad_option_is_one_line(recipe: Recipe, options: list[str], message: str) -> None:
    done = recipe.run(*options)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert LOG_LINE.match(line)
    assert f"error: {message}" in line


def test_separating_without_the_gpu_asked_for_is_told_at_the_start(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = recipe.run("--gpu_inference", "true")
    assert done.returncode == 1 and not (recipe.folder / "dump").exists()
    (line,) = done.stderr.splitlines()
    assert "--gpu_inference true: PyTorch does not find that many GPUs here; leave it out" in line
    recipe.stage(1, 1, "--gpu_inference", "true")


def test_mixtures_are_not_mixed_with_each_other(recipe: Recipe) -> None:
    told = "error: data/train holds mixtures (spk1.scp); dynamic mixing needs single utterances: "
    for first in ("1", "5"):
        done = recipe.run("--dynamic_mixing", "true", "--stage", first)
        assert done.returncode == 1 and not (recipe.folder / "dump").exists()
        assert told in done.stderr.splitlines()[-1]
    for number in (1, 2):
        (recipe.folder / f"data/train/spk{number}.scp").unlink()
    recipe.stage(3, 4, "--dynamic_mixing", "true")
    assert not (recipe.folder / "dump/raw/train/spk1.scp").exists()


def test_help_names_every_option_with_its_default(recipe: Recipe) -> None:
    done = recipe.run("--help")
    assert done.returncode == 0
    stages = REPOSITORY / "espnet2_tisdiss/recipes/stages"
    programs = [REPOSITORY / "local/enh.sh", *(stages / f"{n}.py" for n in ("steps", "run_step"))]
    names = re.findall(r'(?:{opt\[|opt\[")(\w+)', "".join(path.read_text() for path in programs))
    described = re.findall(r"^  --(\w+) .* \[.*\]$", done.stdout, flags=re.MULTILINE)
    assert len(names) > 50 and set(names) <= set(described) == set(options())
    assert re.search(r"--inference_model .*\[valid\.loss\.ave\.pth\]", done.stdout)


def test_the_last_of_repeated_options_counts(recipe: Recipe) -> None:
    done = recipe.run("--stage", "9", "--stop_stage", "9", "--stage=10", "--stop_stage=10")
    assert done.returncode == 0
    assert "stage 10: nothing to do" in done.stderr
    assert "stage 9" not in done.stderr


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (4, "dump/raw/org/train/.done is missing: run stage 3 (format audio) first"),
        (5, "dump/raw/train/.done is missing: run stage 4 (drop short and long) first"),
        (6, "exp/enh_stats_8k/.done is missing: run stage 5 (statistics) first"),
        (7, "exp/enh_tiny_raw/config.yaml is missing: run stage 6 (training) first"),
        (8, "dump/raw/test/.done is missing: run stage 3 (format audio) first"),
        (11, "exp/enh_tiny_raw/config.yaml is missing: run stage 6 (training) first"),
    ],
)
def test_a_missing_input_names_its_stage(recipe: Recipe, stage: int, message: str) -> None:
    done = recipe.run("--stage", str(stage), "--stop_stage", str(stage))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"(enh.sh) stage {stage}: error: {message}")


def test_missing_data_names_its_stage(recipe: Recipe) -> None:
    (recipe.folder / "data" / "valid" / "wav.scp").unlink()
    done = recipe.run("--stage", "3")
    assert "data/valid/wav.scp is missing: run stage 1 (data preparation) first" in done.stderr
    done = recipe.run("--stage", "3", "--speed_perturb_factors", "0.9 1.0")
    assert "data/train_sp/wav.scp is missing: run stage 2 (speed perturbation)" in done.stderr
    done = recipe.run("--stage", "1", "--stop_stage", "1")
    assert done.returncode == 1
    assert "local/data.sh made no data/valid/wav.scp" in done.stderr


def test_data_preparation_gets_its_options_once(recipe: Recipe) -> None:
    for _ in range(2):
        recipe.stage(1, 1, "--local_data_opts", "--size tiny --seed 1")
    assert (recipe.folder / "prepared").read_text() == "--size tiny --seed 1\n"
    recipe.stage(1, 1, "--local_data_opts", "--size quick")
    assert (recipe.folder / "prepared").read_text() == "--size tiny --seed 1\n--size quick\n"


def test_another_number_of_processes_prepares_nothing_again(recipe: Recipe) -> None:
    for words in ("--size tiny --nj 1", "--size tiny --nj=12", "--size tiny"):
        recipe.stage(1, 1, "--local_data_opts", words)
    assert (recipe.folder / "prepared").read_text() == "--size tiny --nj 1\n"


def test_each_training_set_has_a_preparation_of_its_own(recipe: Recipe) -> None:
    shutil.copytree(recipe.folder / "data/train", recipe.folder / "data/other")
    for name in ("train", "other", "train", "other"):
        recipe.stage(1, 1, "--local_data_opts", f"--set {name}", "--train_set", name)
    assert (recipe.folder / "prepared").read_text() == "--set train\n--set other\n"


def test_other_corpus_locations_prepare_the_data_again(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = recipe.folder / "db.sh"
    locations.write_text("# where\nSPEECH=${SPEECH:-}\nNOISE=${NOISE:-/corpora/noise}\n")
    prepared = recipe.folder / "prepared"
    monkeypatch.setenv("SPEECH", "/corpora/read speech")
    monkeypatch.delenv("NOISE", raising=False)
    recipe.stage(1)
    assert "data preparation: already done" in recipe.stage(1)
    monkeypatch.setenv("SPEECH", "/corpora/spoken")
    assert "data preparation: changed since it was done: --SPEECH\n" in recipe.stage(1)
    locations.write_text(locations.read_text().replace("/noise", "/noises"))
    assert "data preparation: changed since it was done: --NOISE, db.sh\n" in recipe.stage(1)
    assert len(prepared.read_text().splitlines()) == 3


def test_a_failing_data_preparation_stops_the_driver(recipe: Recipe) -> None:
    (recipe.folder / "local" / "data.sh").write_text("echo no licence >&2\nexit 7\n")
    done = recipe.run("--stage", "1")
    assert done.returncode == 7
    assert done.stderr == "no licence\n"


def test_preparation_twice_touches_nothing(recipe: Recipe) -> None:
    recipe.stage(1, 4)
    before = recipe.state()
    assert "stage 3: dump/raw/test: already done (to do it again, remove" in recipe.stage(1, 4)
    assert recipe.state() == before


def test_a_changed_option_or_file_repeats_its_stage(recipe: Recipe) -> None:
    recipe.stage(1, 4)
    log = recipe.stage(3, 4, "--audio_format", "flac")
    assert "stage 3: dump/raw/test: changed since it was done: --audio_format" in log
    assert "stage 4: dump/raw/train: changed since it was done" in log
    assert read_scp(recipe.folder / "dump/raw/train/wav.scp")["spk0-train0"] == (
        "dump/raw/org/train/audio/wav/spk0-train0.flac"
    )
    source = read_scp(recipe.folder / "data/test/spk1.scp")["spk0-test0"]
    soundfile.write(source, 0.1 * np.ones(8000), 8000)
    log = recipe.stage(3, 3, "--audio_format", "flac")
    assert "dump/raw/test: changed since it was done: the audio of data/test/spk1.scp" in log
    assert "dump/raw/org/train: already done" in log


def test_bad_audio_stops_stage_3_and_leaves_nothing_half_made(recipe: Recipe) -> None:
    recipe.stage(3)
    before = recipe.state()
    source = read_scp(recipe.folder / "data/test/spk1.scp")["spk0-test0"]
    soundfile.write(source, np.ones(8000) / 2, 16000)
    done = recipe.run("--stage", "3", "--stop_stage", "3")
    assert done.returncode == 1
    assert f"{source}: is at 16000 Hz, not 8000 Hz" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert {name for name in recipe.state() if name.startswith("dump")} == {
        name for name in before if name.startswith("dump")
    }


def test_speed_perturbation_feeds_the_training_set(recipe: Recipe) -> None:
    recipe.stage(2, 4, "--speed_perturb_factors", "0.9 1.0")
    assert len(read_scp(recipe.folder / "dump/raw/train_sp/wav.scp")) == 8
    assert len(read_scp(recipe.folder / "dump/raw/valid/wav.scp")) == 2


def test_dropped_utterances_are_counted(recipe: Recipe) -> None:
    for name in ("wav.scp", "spk1.scp", "spk2.scp"):
        path = read_scp(recipe.folder / "data/train" / name)["spk0-train0"]
        soundfile.write(path, np.ones(400) / 2, 8000)
    log = recipe.stage(3, 4)
    assert "dump/raw/train: 3 utterances kept, 1 dropped (shorter than 0.1 s" in log


def programs() -> list[str]:
    return [
        str(path.relative_to(REPOSITORY).with_suffix("")).replace("/", ".")
        for path in sorted(Path(REPOSITORY, "espnet2_tisdiss/recipes").glob("*/*.py"))
        if "argparse" in path.read_text() and "__main__" in path.read_text()
    ]


@pytest.mark.parametrize("name", programs())
def test_every_program_explains_itself(name: str, tmp_path: Path) -> None:
    done = run_here(name, tmp_path, ["--help"], os.environ)
    assert done.returncode == 0
    called = "local/data.sh" if name.endswith(".prepare") else f"{name.rpartition('.')[2]}.py"
    assert f"usage: {called} [-h]" in done.stdout
