"""Errors found before a training with dynamic mixing."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_folder import TINY_CONFIG

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.data_directories import write_speakers
from espnet2_tisdiss.recipes.stages.check_training import (
    check_singles,
    segment_length,
    training_options,
)


@pytest.fixture
def singles(tmp_path: Path) -> Path:
    """Three utterances of two speakers, of 1, 2 and 3 s at 8 kHz."""
    write_speakers(tmp_path, {"a1": "a", "a2": "a", "b1": "b"})
    write_scp(tmp_path / "utt2num_samples", {"a1": "8000", "a2": "16000", "b1": "24000"})
    return tmp_path


def test_the_segment_is_that_of_the_configuration_and_its_changes(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_CONFIG)
    assert segment_length(training_options(config, [])) == 8000
    changed = training_options(config, ["--max_epoch", "1", "--speech_segment", "16000"])
    assert segment_length(changed) == 16000
    config.write_text(TINY_CONFIG.replace("speech_segment: 8000\n", ""))
    with pytest.raises(TisdissError, match="tiny.yaml: dynamic mixing needs a speech_segment"):
        segment_length(training_options(config, []))


def test_speakers_and_lengths_have_to_be_there(singles: Path, capsys) -> None:
    check_singles(singles, 2, 7999)
    assert capsys.readouterr().err == ""
    check_singles(singles, 2, 8000)
    assert "1 of 3 utterances are no longer than a segment of 8000" in capsys.readouterr().err
    with pytest.raises(
        TisdissError, match="no utterance is longer than a segment of 24000 samples"
    ):
        check_singles(singles, 2, 24000)
    with pytest.raises(TisdissError, match="3 speakers are to be mixed, but it has 2"):
        check_singles(singles, 3, 8000)
