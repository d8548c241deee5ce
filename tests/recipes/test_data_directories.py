"""Data directories are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.data_directories import copy_lists, read_audio_dir, write_speakers


def test_speaker_lists_belong_together(tmp_path: Path) -> None:
    write_speakers(tmp_path, {"s2-b": "s2", "s1-z": "s1", "s1-a": "s1"})
    assert (tmp_path / "utt2spk").read_text() == "s1-a s1\ns1-z s1\ns2-b s2\n"
    assert (tmp_path / "spk2utt").read_text() == "s1 s1-a s1-z\ns2 s2-b\n"


def test_lists_with_different_keys_are_refused(tmp_path: Path) -> None:
    write_scp(tmp_path / "wav.scp", {"a": "1", "b": "2"})
    write_scp(tmp_path / "spk1.scp", {"a": "1"})
    write_scp(tmp_path / "spk2.scp", {"a": "1", "b": "2", "c": "3"})
    with pytest.raises(TisdissError, match="spk1.scp: lacks utterance b, which wav.scp has"):
        read_audio_dir(tmp_path, ["wav.scp", "spk1.scp"], run_commands=False)
    with pytest.raises(TisdissError, match="spk2.scp: has utterance c, which wav.scp lacks"):
        read_audio_dir(tmp_path, ["wav.scp", "spk2.scp"], run_commands=False)
    with pytest.raises(TisdissError, match="no such data directory"):
        read_audio_dir(tmp_path / "nowhere", ["wav.scp"], run_commands=False)


def test_copied_lists_keep_only_the_keys(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write_speakers(source, {"s1-a": "s1", "s2-b": "s2"})
    copy_lists([source / "utt2spk"], target, {"s1-a"})
    assert (target / "spk2utt").read_text() == "s1 s1-a\n"
    with pytest.raises(TisdissError, match="utt2spk: lacks utterance x"):
        copy_lists([source / "utt2spk"], target, {"x"})
