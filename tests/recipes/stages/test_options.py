"""The stage driver's options: what follows from them, and the output for the shell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from recipe_folder import REPOSITORY

from espnet2_tisdiss.recipes.stages import options
from espnet2_tisdiss.recipes.stages.options import OptionError, parse
from espnet2_tisdiss.recipes.stages.recipe import Recipe, complete, handed_on, name_all

SETS = [
    "--train_set",
    "tr",
    "--valid_set",
    "cv",
    "--test_sets",
    "a b",
    "--enh_config",
    "conf/x.yaml",
]


def named(*words: str) -> Recipe:
    """What follows from options."""
    return name_all(complete(parse([*SETS, *words])))


def test_the_plain_names() -> None:
    found = named()
    assert (found.rate, found.train, found.valid) == ("8000", "tr", "cv")
    assert (found.tests, found.depths, found.init) == (["a", "b"], [""], [])
    assert found.exp == "exp/enh_x_raw" and found.stats == "exp/enh_stats_8k"
    assert found.raw == "dump/raw"
    assert found.stages == [str(number) for number in range(1, 14)]
    lists = ["wav.scp", "spk1.scp", "spk2.scp"]
    assert found.train_lists == found.valid_lists == found.test_lists == lists


@pytest.mark.parametrize(
    ("words", "variable", "value"),
    [
        (["--fs", "16000"], "stats", "exp/enh_stats_16k"),
        (["--fs", "11025"], "stats", "exp/enh_stats_11025"),
        (["--fs=16k"], "rate", "16000"),
        (["--stage", "4", "--stop_stage=8"], "stages", ["4", "5", "6", "7", "8"]),
        (["--stop_stage", "7", "--skip_data_prep", "true"], "stages", ["5", "6", "7"]),
        (
            ["--skip_train=true", "--skip_eval=true", "--stage=4"],
            "stages",
            ["4", "9", "10", "11", "12", "13"],
        ),
        (["--stage=10", "--stop_stage=10000"], "stages", ["10", "11", "12", "13"]),
        (["--stage=10", "--skip_packing=true"], "stages", ["10", "12", "13"]),
        (["--eval_valid_set", "true"], "tests", ["cv", "a", "b"]),
        (["--eval_valid_set", "true", "--test_sets", "b cv"], "tests", ["cv", "b"]),
        (["--n_re", "10 2  1 2"], "depths", ["1", "2", "10"]),
        (["--speed_perturb_factors", "0.9 1.0"], "train", "tr_sp"),
        (["--speed_perturb_factors", "0.9 1.0"], "exp", "exp/enh_x_raw_sp"),
        (["--dynamic_mixing", "true"], "stats", "exp/enh_stats_8k_dm"),
        (["--dynamic_mixing", "true"], "train_lists", ["wav.scp"]),
        (["--enh_args", "--max_epoch 2 --a b=c/d"], "exp", "exp/enh_x_raw_max_epoch2_abcd"),
        (["--fit_args", "--max_epoch 2"], "exp", "exp/enh_x_raw"),
        (["--enh_tag", "t", "--expdir", "e"], "exp", "e/enh_t"),
        (["--enh_exp", "my exp"], "exp", "my exp"),
        (["--ref_num", "1", "--use_noise_ref", "true"], "valid_lists", "wav spk1 noise1"),
        (["--ref_num", "1", "--use_dereverb_ref", "true"], "train_lists", "wav spk1 dereverb1"),
        (["--ref_num", "3", "--use_noise_ref", "true"], "test_lists", "wav spk1 spk2 spk3"),
        (
            ["--spk-num=1", "--use-noise-ref", "true", "--noise-type-num", "2"],
            "valid_lists",
            "wav spk1 noise1 noise2",
        ),
        (
            ["--use_dereverb_ref", "true", "--dereverb_ref_num", "1"],
            "valid_lists",
            "wav spk1 spk2 dereverb1",
        ),
    ],
)
def test_names_follow_from_options(words, variable, value) -> None:
    if variable.endswith("_lists") and isinstance(value, str):
        value = [f"{name}.scp" for name in value.split()]
    assert getattr(named(*words), variable) == value


def test_initial_weights_are_split_unless_they_are_one_file(tmp_path) -> None:
    path = tmp_path / "my weights.pth"
    path.touch()
    for text, parts in (
        (f"{path}", [f"{path}"]),
        (f"{path}:encoder:encoder", [f"{path}:encoder:encoder"]),
        ("a.pth:encoder b.pth", ["a.pth:encoder", "b.pth"]),
    ):
        assert named("--init_param", text).init == parts


def test_separations_are_named_by_set_depth_and_configuration() -> None:
    assert named().separation("a") == "enhanced_a"
    assert named().separation("a", "3") == "enhanced_re3_a"
    other = named("--inference_enh_config", "conf/deep.yaml")
    assert (other.separation("a"), other.separation("a", "3")) == ("deep_a", "deep_re3_a")
    tagged = named("--inference_enh_config", "conf/deep.yaml", "--inference_tag", "mine")
    assert (tagged.separation("a"), tagged.separation("a", "3")) == ("mine_a", "mine_re3_a")


def test_options_of_espnet_that_change_nothing_are_accepted() -> None:
    # of the recipes of ESPnet 202611
    words = ["--lang", "en", "--feats_type", "raw", "--skip_upload", "true"]
    words += ["--skip-upload-hf", "true", "--use_preprocessor", "true", "--score_with_asr=false"]
    words += ["--asr_exp", "", "--inference_asr_args", "--lm_weight 0.1", "--nlsyms_txt", "none"]
    words += ["--download_model", "", "--hf_repo", "", "--extra_wav_list="]
    assert named(*words) == named()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--feats_type", "fbank_pitch"], "--feats_type 'fbank_pitch': only raw audio is prepared"),
        (["--skip_upload", "false"], "--skip_upload 'false': models are not uploaded from here"),
        (["--hf_repo", "me/it"], "--hf_repo 'me/it': models are not uploaded from here"),
        (["--download_model", "x"], "--download_model 'x': .*--enh_exp the folder of its config"),
        (["--inf_num", "3"], "--inf_num '3': a model gives as many outputs as it has speakers"),
        (["--score_with_asr", "true"], "--score_with_asr 'true': speech is not recognised here"),
        (["--extra_wav_list", "a.scp"], "--extra_wav_list 'a.scp': only the lists that training"),
        (["--use_preprocessor", "false"], "--use_preprocessor 'false': write 'preprocessor: null'"),
        (["--audio_format", "flac.ark"], "'flac.ark': expected wav or flac .*none are written"),
        (["--stage", "14"], "--stage '14': expected a stage from 1 to 13"),
        (["--lang"], "--lang lacks its value"),
        (["--asr-config", "x"], "unknown option --asr_config"),
    ],
)
def test_options_of_espnet_that_ask_for_more_are_refused_with_the_reason(words, message) -> None:
    with pytest.raises(OptionError, match=message):
        named(*words)


@pytest.mark.parametrize(
    ("words", "processes"),
    [
        ([], "4"),
        (["--nj", "7"], "7"),
        (["--nj", "7", "--gpu_inference", "true"], "1"),
        (["--gpu_inference", "true", "--inference_nj", "3"], "3"),
    ],
)
def test_processes_for_inference(words, processes) -> None:
    assert complete(parse([*SETS, *words]))["inference_nj"] == processes


def test_the_shell_reads_every_value_as_it_was_given(tmp_path, monkeypatch) -> None:
    odd = "a 'b' \"c\" $HOME `id` \\ * #"
    (tmp_path / "x.yaml").touch()
    words = [*SETS, "--enh_config=x.yaml", "--enh_args", odd, "--init_param", f"{odd}\nnext"]
    words += ["--enh_exp", "exp", "--stage", "7"]
    script = """set -e; python=$1; options=$2; shift 2; declare -A opt
code=$("$python" "$options" "$@"); eval "$code"
code=$("$python" -m espnet2_tisdiss.recipes.stages.recipe); eval "$code"
printf "%s\\n" "${opt[enh_args]}" "${opt[init_param]}" "${tests[@]}" "${#opt[@]}"
printenv ENH_OPTIONS >exported"""
    shown = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, options.__file__, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    count = str(len(options.options()))
    assert shown.stdout.splitlines() == [odd, f"{odd} next", "a", "b", count]
    monkeypatch.setenv(options.ENVIRONMENT, (tmp_path / "exported").read_text())
    found = name_all(handed_on())
    assert found.opt["init_param"] == f"{odd} next" and found.exp == "exp"


def test_they_are_read_without_any_package() -> None:
    command = [sys.executable, "-I", "-S", options.__file__, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "--train_set" in done.stdout
