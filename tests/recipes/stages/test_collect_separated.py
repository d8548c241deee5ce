"""Inference continues with unfinished utterances; results are moved into place when complete."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.stages.collect_separated import collect, todo


@pytest.fixture
def mixtures(tmp_path: Path) -> Path:
    """A formatted set of three mixtures of 1000, 1001 and 1002 samples."""
    folder = tmp_path / "dump"
    keys = ["a.1", "b", "c"]
    write_scp(folder / "wav.scp", {key: f"{key}.wav" for key in keys})
    write_scp(folder / "utt2num_samples", {key: str(1000 + n) for n, key in enumerate(keys)})
    return folder


def separate(work: Path, job: int, part: str, key: str, length: int, speakers: int = 2) -> None:
    """The files of an inference job for an utterance at one depth."""
    for speaker in range(1, speakers + 1):
        folder = work / "jobs" / str(job) / "out" / part / "wavs" / str(speaker)
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{key}.wav", np.zeros(length), 8000)


def test_whole_utterances_are_kept_and_the_others_left_to_do(mixtures: Path, tmp_path: Path):
    work = tmp_path / "work"
    separate(work, 1, "re1", "a.1", 1000)
    separate(work, 2, "re1", "b", 1001)
    os.truncate(work / "jobs/2/out/re1/wavs/2/b.wav", 500)
    separate(work, 2, "re1", "c", 1002, speakers=1)
    assert todo(work, mixtures, 2, ["re1"]) == 2
    assert read_scp(work / "todo.scp") == {"b": "b.wav", "c": "c.wav"}
    assert sorted(path.name for path in work.glob("kept/re1/*/*")) == ["a.1.wav", "a.1.wav"]


def test_what_any_depth_lacks_is_left_to_do(mixtures: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for part in ("re1", "re3"):
        separate(work, 1, part, "a.1", 1000)
    separate(work, 1, "re1", "b", 1001)
    assert todo(work, mixtures, 2, ["re1", "re3"]) == 2
    assert read_scp(work / "todo.scp") == {"b": "b.wav", "c": "c.wav"}
    assert todo(work, mixtures, 2, ["re5"]) == 3  # an added depth lacks all
    assert len(list(work.glob("kept/re?/*/*.wav"))) == 6


def test_results_are_collected_from_all_runs(mixtures: Path, tmp_path: Path) -> None:
    work, folder = tmp_path / "work", tmp_path / "enhanced"
    separate(work, 1, "re1", "a.1", 1000)
    todo(work, mixtures, 2, ["re1"])
    separate(work, 1, "re1", "b", 1001)
    separate(work, 2, "re1", "c", 1002)
    assert collect(work, mixtures, 2, "re1", folder) == 3
    for speaker in (1, 2):
        paths = read_scp(folder / f"spk{speaker}.scp")
        assert list(paths) == ["a.1", "b", "c"]
        assert [soundfile.info(path).frames for path in paths.values()] == [1000, 1001, 1002]
    assert not work.exists()


def test_collecting_one_depth_leaves_the_others(mixtures: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for key, length in (("a.1", 1000), ("b", 1001), ("c", 1002)):
        for part in ("re1", "re3"):
            separate(work, 1, part, key, length)
    for part in ("re1", "re3"):
        assert work.exists()
        assert collect(work, mixtures, 2, part, tmp_path / part) == 3
        assert len(list(tmp_path.glob(f"{part}/wavs/*/*.wav"))) == 6
    assert not work.exists()


def test_missing_results_are_refused_and_kept(mixtures: Path, tmp_path: Path) -> None:
    work, folder = tmp_path / "work", tmp_path / "enhanced"
    for key, length in (("a.1", 1000), ("b", 1001), ("c", 1002)):
        separate(work, 1, "re1", key, length, speakers=1)
    with pytest.raises(TisdissError, match=r"3 utterances lack 2 separated files .*\(--ref_num\)"):
        collect(work, mixtures, 2, "re1", folder)
    assert len(list(work.glob("jobs/1/out/re1/wavs/1/*.wav"))) == 3
    assert not folder.exists()
