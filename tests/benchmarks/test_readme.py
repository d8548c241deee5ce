"""The table and the picture of the README."""

from pathlib import Path

import numpy as np
from matplotlib import image
from readme import picture, rtfs, speed_table
from results import replace_section

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.cli.models import described

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_the_scores_of_the_model_card():
    page = README.read_text(encoding="utf-8")
    assert "planted" in replace_section(page, "voices", "planted")
    for row in described("voices")["scores"][1:]:
        assert f"| {' | '.join(row)} |" in page


def test_speed_stands_beside_the_scores():
    scores = [["N_re", "clean"], ["1", "7.1"], ["3", "8.6"]]
    table = speed_table(scores, {1: 0.05, 3: 0.1}).splitlines()
    assert table[0].endswith("| times real time |")
    assert table[2:] == ["| 1 | 7.1 | 20 |", "| 3 | 8.6 | 10 |"]


def test_deeper_takes_longer_and_the_voices_are_drawn(tmp_path):
    model = SeparateSpeech.from_pretrained()
    measured = rtfs(model, [1, 8], 1)
    assert 0 < measured[1] < measured[8]
    (tmp_path / "example.png").write_bytes(picture(model))
    pixels = image.imread(tmp_path / "example.png")[..., :3]
    assert 2.5 < pixels.shape[1] / pixels.shape[0] < 4
    assert np.ptp(pixels, axis=2).max() == 0  # grey: nothing is lost in print
