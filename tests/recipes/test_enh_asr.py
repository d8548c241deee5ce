"""The recognition recipe of mini_2mix from nothing to a packed joint model, as a user runs it."""

import re
import subprocess
import sys

import pytest
from espnet2.bin.asr_inference import Speech2Text
from recipe_folder import copy_recipe

from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.mini_2mix.speech_files import read_speech

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(recipe, *options):
    command = [recipe / "run.sh", "--python", sys.executable, "--size", "tiny", *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The recipe's folder after every stage, and what it printed."""
    folder = tmp_path_factory.mktemp("recipes")
    copy_recipe("mini_2mix", folder)
    recipe = copy_recipe("mini_2mix", folder, "enh_asr1")
    result = run(recipe)
    assert result.returncode == 0, result.stderr
    return recipe, result


def test_every_stage_leaves_its_result(done):
    recipe, result = done
    exp = recipe / "exp/tiny_0/enh_asr_train_enh_asr_tiny"
    report = (exp / "RESULTS.md").read_text()
    assert report in result.stdout
    rows = re.findall(r"^\| (\w+(?:, N_re \d)?) \| ([\d.]+)%", report, re.MULTILINE)
    assert [label for label, _ in rows] == ["clean", "mixture"] + [
        f"{kind}, N_re {depth}" for kind in ("cascade", "joint") for depth in (1, 2)
    ]
    assert (exp / "test_tiny_0_word_errors_by_depth.png").is_file()


def test_mixtures_hold_every_word(done):
    recipe, _ = done
    data = recipe / "data/test_tiny_0"
    singles = read_scp(recipe / "data/test_singles_tiny_0/wav.scp")
    texts = read_scp(recipe / "data/test_singles_tiny_0/text")
    for key, path in read_scp(data / "wav.scp").items():
        first, second = re.findall(r"e\d+u\d+", key)
        lengths = [len(read_speech(recipe / singles[name])) for name in (first, second)]
        assert len(read_speech(recipe / path)) == max(lengths)
        assert read_scp(data / "text_spk1")[key] == texts[first]
        assert read_scp(data / "text_spk2")[key] == texts[second]


def test_a_second_run_does_nothing_again(done):
    recipe, first = done
    again = run(recipe)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith(first.stdout.partition("# Word error rates")[2])
    assert "training in" not in again.stderr


def test_stock_espnet_loads_the_packed_model(done, monkeypatch):
    recipe, _ = done
    monkeypatch.chdir(recipe / "exp/tiny_0/enh_asr_train_enh_asr_tiny/packed")
    model = Speech2Text("exp/config.yaml", "exp/valid.acc.ave.pth", enh_s2t_task=True, beam_size=1)
    path = next(iter(read_scp(recipe / "data/test_tiny_0/wav.scp").values()))
    speakers = model(read_speech(recipe / path) / 32768)
    assert len(speakers) == 2
