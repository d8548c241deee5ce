"""The program that ``make demo`` runs."""

import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from matplotlib import image

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.evaluate.by_depth import score_mixtures
from espnet2_tisdiss.evaluate.mixtures import find_mixtures
from espnet2_tisdiss.pretrained.bundled import example
from espnet2_tisdiss.recipes.tools.demo import DEPTHS, demonstrate
from espnet2_tisdiss.separate.loudness import rescale


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Return what the program printed, and its folder."""
    out = tmp_path_factory.mktemp("demo") / "of mine"
    program = [sys.executable, "-m", "espnet2_tisdiss.recipes.tools.demo", "--out", out]
    run = subprocess.run(program, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout, out


def test_the_table_has_the_scores(demo):
    rows = re.findall(r"^│ +(\d) │ +([\d.]+) │", demo[0], re.MULTILINE)
    model = SeparateSpeech.from_pretrained()
    (result,) = score_mixtures(model, find_mixtures(example(), 2), DEPTHS)
    assert rows == [(str(score.n_re), f"{score.si_snri:.2f}") for score in result.scores]


def test_files_are_of_the_speaker_they_are_named_after(demo):
    def read(name):
        return soundfile.read(demo[1] / f"{name}.wav")[0]

    mixture, sources = read("mixture"), [read("source1"), read("source2")]
    waves = SeparateSpeech.from_pretrained().depths([mixture], DEPTHS)
    for n_re in DEPTHS:
        estimates = [read(f"re{n_re}_spk{speaker}") for speaker in (1, 2)]
        # at the level in the mixture, in the order that is nearer to the sources
        expected = rescale("level", mixture, waves[n_re][0])
        orders = (expected, expected[::-1])
        expected = max(orders, key=lambda order: sum(map(np.dot, order, sources)))
        np.testing.assert_allclose(estimates, expected, rtol=0, atol=2.01 / 2**15)
        left = mixture - sum(estimates)  # by their levels they come closest to the mixture
        assert all(abs(left @ estimate) < 2e-3 * mixture @ mixture for estimate in estimates)
        for own, other in ((0, 1), (1, 0)):
            assert estimates[own] @ sources[own] > 2 * abs(estimates[own] @ sources[other])
    assert f"to look at:   {demo[1]}/spectrograms.png" in demo[0]
    height, width, _ = image.imread(demo[1] / "spectrograms.png").shape
    assert 2 < width / height < 4  # two speakers: mixture, source and four depths of each


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TisdissError, match="file/demo: cannot be written to"):
        demonstrate(tmp_path / "file/demo")
