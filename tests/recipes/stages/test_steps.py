"""Steps depend on the content of data and weights, not on paths or times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_folder import LISTS, make_data_dir

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.stages import run_step, steps
from espnet2_tisdiss.recipes.stages.filter_lengths import filter_lengths
from espnet2_tisdiss.recipes.stages.format_audio import Format, format_data_dir
from espnet2_tisdiss.recipes.stages.marker import changes
from espnet2_tisdiss.recipes.stages.options import parse
from espnet2_tisdiss.recipes.stages.recipe import Recipe, complete, name_all

WANTED = Format(8000, "wav", resample=True, ref_channel=None, allow_silence=False)


def make(*words: str) -> Recipe:
    sets = ["--train_set", "train", "--valid_set", "valid", "--test_sets", "test"]
    return name_all(complete(parse([*sets, "--enh_config", "conf.yaml", *words])))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data at another rate, and with the files of a training."""
    monkeypatch.chdir(tmp_path)
    for name in ("train", "valid", "test"):
        make_data_dir(Path("data", name), tmp_path / "audio" / name, 2, name)
    for name in ("config.yaml", "model.pth", "other.pth", "RESULTS.md", ".done"):
        path = Path("exp/enh_conf_raw", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    Path("conf.yaml").write_text("a: 1")
    return tmp_path


def make_dump(recipe: Recipe, wanted: Format = WANTED) -> None:
    """Do stages 3 to 5, the last without statistics."""
    raw = Path(recipe.raw)
    for name in ("train", "valid"):
        format_data_dir(Path("data", name), raw / "org" / name, list(LISTS), wanted, 1)
        steps.formatting(recipe, name).mark_done()
        filter_lengths(raw / "org" / name, raw / name, 8000, 0.1, 20)
        steps.filtering(recipe, name).mark_done()
    format_data_dir(Path("data/test"), raw / "test", list(LISTS), wanted, 1)
    steps.formatting(recipe, "test").mark_done()
    for part in ("train", "valid"):
        Path(recipe.stats, part).mkdir(parents=True, exist_ok=True)
    steps.statistics(recipe).mark_done()


def test_a_dump_that_is_made_again_changes_no_training(folder: Path) -> None:
    recipe = make("--inference_model", "model.pth")
    other_rate = Format(4000, "wav", resample=True, ref_channel=None, allow_silence=False)
    make_dump(recipe, other_rate)
    files = [*read_scp("dump/raw/train/wav.scp").values(), "dump/raw/train/utt2digest"]
    made = [Path(file).stat().st_mtime_ns for file in files]
    before = steps.training(recipe).values
    separated = steps.separation(recipe, "test", "2").values
    shutil.rmtree("dump")
    make_dump(recipe, other_rate)
    assert all(Path(f).stat().st_mtime_ns > t for f, t in zip(files, made, strict=True))
    assert steps.training(recipe).values == before
    assert steps.separation(recipe, "test", "2").values == separated
    # but the dump's own markers detect files written by other programs
    os.utime(files[0], (0, 0))
    changed = steps.formatting(recipe, "train").changes()
    assert changed == ["the audio of dump/raw/org/train/wav.scp"]


def test_other_signals_are_another_training(folder: Path) -> None:
    recipe = make()
    make_dump(recipe)
    before = steps.training(recipe).values
    path = next(iter(read_scp("data/train/spk2.scp").values()))
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[::-1].copy(), rate)
    make_dump(recipe)
    changed = changes(before, steps.training(recipe).values)
    assert changed == ["exp/enh_stats_8k/.done"]
    now = steps.statistics(recipe)
    assert now.changes() == []


def test_audio_that_lies_elsewhere_is_the_same_training(folder: Path) -> None:
    recipe = make()
    make_dump(recipe)
    before = steps.training(recipe).values
    (folder / "audio").rename(folder / "moved")
    for path in Path("data").glob("*/*.scp"):
        moved = {k: v.replace("/audio/", "/moved/") for k, v in read_scp(path).items()}
        write_scp(path, moved)
    make_dump(recipe)
    assert "/moved/" in Path("dump/raw/train/wav.scp").read_text()
    assert steps.training(recipe).values == before


def test_initial_weights_count_by_their_content(folder: Path) -> None:
    Path("weights.pth").write_text("first")
    begun = steps.beginning(make("--init_param", "weights.pth:encoder:encoder")).values
    Path("weights.pth").rename("moved.pth")
    moved = steps.beginning(make("--init_param", "moved.pth:encoder:encoder")).values
    assert moved == begun
    all_parts = steps.beginning(make("--init_param", "moved.pth")).values
    assert changes(begun, all_parts) == ["--init_param"]
    Path("moved.pth").write_text("second")
    other = steps.beginning(make("--init_param", "moved.pth:encoder:encoder")).values
    assert changes(begun, other) == ["--init_param"]


def test_a_training_may_last_longer_but_not_become_another(folder: Path) -> None:
    words = "--max_epoch 3 --patience=2 --batch_size 4"
    begun = steps.beginning(make("--enh_args", words)).values
    longer = make("--enh_args", "--max_epoch 9 --batch_size 4")
    assert steps.beginning(longer).values == begun
    assert changes(steps.training(longer).values, begun) == ["--enh_args"]
    other = steps.beginning(make("--enh_args", words, "--fit_args", "--lr 1")).values
    assert changes(begun, other) == ["--fit_args"]


def test_scores_depend_on_the_weights_and_not_on_when_they_were_made(folder: Path) -> None:
    make_dump(make())
    recipe, other = (
        make("--n_re", "2", "--inference_model", f"{n}.pth") for n in ("model", "other")
    )
    scored = steps.scoring(recipe, "test", "2").values
    mixture = steps.scoring(recipe, "test", None).values
    name = "what made exp/enh_conf_raw/enhanced_re2_test"
    assert changes(scored, steps.scoring(other, "test", "2").values) == [name]
    assert steps.scoring(other, "test", None).values == mixture
    weights = Path("exp/enh_conf_raw/model.pth")
    os.utime(weights, (0, 0))
    assert steps.scoring(recipe, "test", "2").values == scored
    weights.write_text("trained on")
    assert changes(scored, steps.scoring(recipe, "test", "2").values) == [name]


def test_a_model_is_not_packed_with_the_scores_of_other_weights(folder: Path) -> None:
    make_dump(make())
    recipe, other = (make("--inference_model", f"{n}.pth") for n in ("model", "other"))
    refused = "RESULTS.md is not of the weights .*: run stage 8 .scoring. first"
    with pytest.raises(TisdissError, match=refused):
        run_step.do_step(recipe, 11, "packing", [], ["false"])
    steps.report(recipe).mark_done()
    with pytest.raises(TisdissError, match=refused):
        run_step.do_step(other, 11, "packing", [], ["false"])
    command = ["bash", "-c", 'echo packed >"$1"', "bash", "{out}"]
    run_step.do_step(recipe, 11, "packing", [], command)
    assert Path("exp/enh_conf_raw/enh_conf_raw_model.zip").read_text() == "packed\n"
    Path("exp/enh_conf_raw/model.pth").write_text("trained on")
    with pytest.raises(TisdissError, match=refused):
        run_step.do_step(recipe, 11, "packing", [], ["false"])


def test_the_page_is_written_once_for_the_same_scores(folder: Path) -> None:
    make_dump(make())
    recipe = make("--inference_model", "model.pth")
    command = ["bash", "-c", "echo page >>exp/enh_conf_raw/report.html"]
    for expected in ("page\n", "page\n"):
        run_step.do_step(recipe, 8, "page", [], command)
        assert Path("exp/enh_conf_raw/report.html").read_text() == expected
    Path("exp/enh_conf_raw/model.pth").write_text("trained on")
    run_step.do_step(recipe, 8, "page", [], command)
    assert Path("exp/enh_conf_raw/report.html").read_text() == "page\npage\n"


def test_a_command_that_fails_ends_the_step_with_its_status(folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run_step.do_step(make(), 2, "perturbation", [], ["bash", "-c", "exit 7"])
    assert ended.value.code == 7
    assert not Path("data/train/.done").exists()


@pytest.mark.parametrize(
    ("words", "separating"),
    [
        ([], 5),
        (["--inference_nj", "3"], 3),
        (["--gpu_inference", "true"], 1),  # on one GPU
        (["--gpu_inference", "true", "--inference_nj", "3"], 3),
    ],
)
def test_the_gpu_separates_in_one_process_and_the_cores_score(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words, separating
) -> None:
    make_dump(make())
    Path("exp/enh_conf_raw/config.yaml").write_text("separator: tisdiss")
    recipe = make("--nj", "5", "--n_re", "2 4", "--inference_model", "model.pth", *words)
    plans = []
    monkeypatch.setattr(run_step, "run_jobs", plans.append)
    command = ["separate", "--n_re", "{n_re}"]
    with pytest.raises(TisdissError, match="2 utterances lack 2 separated files"):
        run_step.do_step(recipe, 7, "separation", ["test"], command)
    with pytest.raises(TisdissError, match="no scores were written"):
        run_step.do_step(recipe, 8, "scoring", ["test"], ["score"])
    assert [plan.nj for plan in plans] == [separating, 5]
    assert plans[0].command == ["separate", "--n_re", "2", "4"]
    assert plans[0].label == "inference enhanced_test (N_re 2 4)"


def test_silent_mixtures_are_not_scored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dump(make())
    before = steps.scoring(make(), "test", None).values
    write_scp("dump/raw/test/silent_utts", {"spk0-test0": "spk1.scp"})
    plans = []
    monkeypatch.setattr(run_step, "run_jobs", plans.append)
    with pytest.raises(TisdissError, match="no scores were written"):
        run_step.do_step(make(), 8, "scoring", ["test"], ["score"])
    assert plans[0].key_lists == [["spk1-test1"]]
    assert steps.scoring(make(), "test", None).values != before


def test_every_sample_counts_in_the_digest(folder: Path) -> None:
    path = next(iter(read_scp("data/test/spk1.scp").values()))
    samples, rate = soundfile.read(path, dtype="int16")
    (before, same) = (
        format_data_dir(Path("data/test"), Path(out), list(LISTS), WANTED, 1) for out in "ab"
    )
    assert [one.digest for one in before] == [one.digest for one in same]
    samples[-1] += np.int16(1)
    soundfile.write(path, samples, rate)
    after = format_data_dir(Path("data/test"), Path("c"), list(LISTS), WANTED, 1)
    assert [one.digest == old.digest for one, old in zip(after, before, strict=True)] == [
        False,
        True,
    ]
