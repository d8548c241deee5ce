"""The checks before data directories are written, each against a planted fault."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recipe_folder import read_data_dir

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.corpora.data_sets import AudioCheck, DataSet, Entry, make_data_dirs
from espnet2_tisdiss.recipes.corpora.files import quantise, write_audio

RATE = 8000
LISTS = ("wav.scp", "spk1.scp", "spk2.scp")
SUM = AudioCheck(RATE, LISTS[1:])


def make_entry(folder: Path, first: str, second: str, seed: int = 0) -> Entry:
    """A sound mixture of 0.25 s of two noises."""
    rng = np.random.default_rng(seed)
    sources = rng.normal(0, 0.1, (2, 2000))
    signals = (sources.sum(0), *sources)
    key = f"{first}_{second}_{seed}"
    files = {}
    for name, samples in zip(LISTS, signals, strict=True):
        files[name] = folder / "my audio" / name / f"{key}.wav"
        write_audio(files[name], quantise(samples), RATE)
    return Entry(key, f"{first}_{second}", (first, second), files)


@pytest.fixture
def sets(tmp_path: Path) -> list[DataSet]:
    """A training set of three and a test set of two mixtures."""
    train = [make_entry(tmp_path, "a", second, seed) for seed, second in enumerate("bcB")]
    test = [make_entry(tmp_path, "x", second, seed) for seed, second in enumerate("yz")]
    return [DataSet("train", train, 3), DataSet("test", test, 2)]


def make(tmp_path: Path, sets: list[DataSet], audio: AudioCheck = SUM, subset: bool = False):
    return make_data_dirs(tmp_path / "data", sets, audio, 1, subset, ["test"])


def test_lists_are_whole_and_in_byte_order(tmp_path, sets):
    assert make(tmp_path, sets).splitlines() == [
        f"{tmp_path}/data/train: 3 utterances, 0.00 hours",
        f"{tmp_path}/data/test: 2 utterances, 0.00 hours",
    ]
    tables = read_data_dir(tmp_path / "data" / "train", [*LISTS, "utt2spk"])
    assert list(tables["wav.scp"]) == ["a_B_2", "a_b_0", "a_c_1"]
    assert tables["spk2.scp"]["a_b_0"] == str(tmp_path / "my audio/spk2.scp/a_b_0.wav")
    assert read_scp(tmp_path / "data/train/spk2utt")["a_b"] == "a_b_0"
    # again: replaces it, and leaves nothing else
    make(tmp_path, sets)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["test", "train"]


def test_a_subset_has_to_be_meant(tmp_path, sets):
    sets[0] = replace(sets[0], known_count=4)
    with pytest.raises(TisdissError, match="train: 3 mixtures, but the corpus has 4.*allow_subset"):
        make(tmp_path, sets)
    make(tmp_path, sets, subset=True)
    sets[0] = replace(sets[0], known_count=2)
    with pytest.raises(TisdissError, match="train: 3 mixtures, but the corpus has 2 there$"):
        make(tmp_path, sets, subset=True)
    with pytest.raises(TisdissError, match="test: no mixtures"):
        make(tmp_path, [DataSet("test", [])], subset=True)


def changed(part: DataSet, **changes) -> DataSet:
    return replace(part, entries=[replace(part.entries[0], **changes), *part.entries[1:]])


@pytest.mark.parametrize(
    ("which", "changes", "message"),
    [
        (1, {"voices": ("c", "y")}, "speaker c is in train and, with x_y_0, in the test set test"),
        (0, {"voices": ("a", "a")}, "train: a_b_0 mixes a speaker with itself"),
        (0, {"key": "a_c_1", "speaker": "a_c"}, "train: mixture a_c_1 is there twice"),
        (0, {"speaker": "b"}, "train: a_b_0 does not begin with b"),
        (0, {"key": "a_b /0"}, "train: name 'a_b /0' holds a space or a slash"),
    ],
)
def test_unusable_names_are_refused(tmp_path, sets, which, changes, message):
    sets[which] = changed(sets[which], **changes)
    with pytest.raises(TisdissError, match=message):
        make(tmp_path, sets)
    assert not (tmp_path / "data").exists()


def test_faults_of_the_audio_are_told_together_and_nothing_is_written(tmp_path, sets):
    first, second, third = (entry.files for entry in sets[0].entries)
    first["spk1.scp"].unlink()
    write_audio(second["spk2.scp"], np.ones(1999, np.int16), RATE)
    write_audio(third["wav.scp"], np.ones(2000, np.int16), 16000)
    with pytest.raises(TisdissError) as raised:
        make(tmp_path, sets)
    lines = str(raised.value).split("\n")
    assert lines[0] == f"{first['spk1.scp']}: no such file; check its name"
    assert lines[1] == f"{second['spk2.scp']}: 1999 samples, but {second['wav.scp']} has 2000"
    assert lines[2] == f"{third['wav.scp']}: is at 16000 Hz, not 8000 Hz"
    assert lines[3].startswith("check: 3 of 5 failed")
    assert not (tmp_path / "data").exists()


def test_a_reference_of_another_mixture_is_found(tmp_path, sets):
    first, second, _ = (entry.files for entry in sets[0].entries)
    first["spk1.scp"].write_bytes(second["spk1.scp"].read_bytes())
    with pytest.raises(TisdissError, match=f"{first['wav.scp']}: not the sum of its references"):
        make(tmp_path, sets)
    make(tmp_path, sets, replace(SUM, addends=()))  # for corpora where there is no such sum


def test_a_truncated_mixture_is_found(tmp_path, sets):
    path = sets[1].entries[0].files["wav.scp"]
    os.truncate(path, 1000)
    with pytest.raises(TisdissError, match=f"{path.stem}.wav: truncated: only 1000 of "):
        make(tmp_path, sets)


@pytest.mark.parametrize("off", [0, 2, 3])
def test_rounding_is_tolerated_and_saturation_too(tmp_path, sets, off):
    files = sets[1].entries[0].files
    signals = np.array([[32767, 500 + off], [30000, 300], [20000, 200]], np.int16)
    for path, samples in zip(files.values(), np.repeat(signals, 1000, axis=1), strict=True):
        write_audio(path, samples, RATE)
    if off <= 2:
        make(tmp_path, sets)
    else:
        with pytest.raises(TisdissError, match="sample 1000 is 3 steps of 16 bits off"):
            make(tmp_path, sets)


def test_floats_beyond_full_scale_are_compared(tmp_path, sets):
    files = sets[1].entries[0].files
    for path, value in zip(files.values(), (3.5, 1.5, 2.0), strict=True):
        write_audio(path, np.full(1000, value), RATE)
    make(tmp_path, sets)
    write_audio(files["wav.scp"], np.full(1000, 3.4), RATE)
    with pytest.raises(TisdissError, match="not the sum of its references"):
        make(tmp_path, sets)
