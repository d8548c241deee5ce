"""Utterances outside the limits are dropped from every list."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.data_directories import write_speakers
from espnet2_tisdiss.recipes.stages.filter_lengths import filter_lengths


@pytest.fixture
def formatted(tmp_path: Path) -> Path:
    """Utterances of 0.05, 0.1, 2, 20 and 20.1 s at 8 kHz."""
    lengths = {"s-a": 400, "s-b": 800, "s-c": 16000, "s-d": 160000, "t-e": 160800}
    folder = tmp_path / "org"
    write_scp(folder / "utt2num_samples", {key: str(value) for key, value in lengths.items()})
    for name in ("wav.scp", "spk1.scp"):
        write_scp(folder / name, {key: f"{name}/{key}.wav" for key in lengths})
    write_speakers(folder, {key: key[0] for key in lengths})
    return folder


def test_the_limits_are_included(formatted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert filter_lengths(formatted, out, 8000, 0.1, 20) == (3, 2)
    for name in ("wav.scp", "spk1.scp", "utt2spk", "utt2num_samples"):
        assert list(read_scp(out / name)) == ["s-b", "s-c", "s-d"]
    assert read_scp(out / "spk2utt") == {"s": "s-b s-c s-d"}


def test_an_empty_result_is_refused(formatted: Path, tmp_path: Path) -> None:
    with pytest.raises(TisdissError, match="none of 5 utterances lasts 30 to 40 s"):
        filter_lengths(formatted, tmp_path / "out", 8000, 30, 40)
    assert not (tmp_path / "out").exists()
