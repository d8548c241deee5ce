"""Kaldi archives: written files are read back, by kaldiio and as a list of this package."""

import re

import kaldiio
import numpy as np
import pytest
import soundfile
from recipe_folder import REPOSITORY

from espnet2_tisdiss.audio.archive_writing import ArchiveWriter
from espnet2_tisdiss.audio.sources import as_file
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_sources

RATE = 8000
EXAMPLE = re.compile(r"^```python\n(.*?ArchiveWriter.*?)^```$", re.MULTILINE | re.DOTALL)


def samples(length, seed=0):
    return np.random.default_rng(seed).integers(-(2**15), 2**15, length).astype(np.int16)


def written(folder, **waves):
    """Write an archive, and return its list."""
    with ArchiveWriter(folder / "new/spk1.ark", folder / "new/spk1.scp") as writer:
        for key, wave in waves.items():
            writer[key] = RATE, wave
    return folder / "new/spk1.scp"


def test_kaldiio_and_lists_read_what_was_written(tmp_path):
    waves = {"b": samples(100, 1), "ä": samples(3, 2), "a": samples(70, 3)}
    scp = written(tmp_path, **waves)
    assert [line.split()[0] for line in scp.read_text().splitlines()] == ["a", "b", "ä"]
    loaded = kaldiio.load_scp(str(scp))
    for key, source in read_sources(scp).items():
        with as_file(source) as path:
            found, rate = soundfile.read(path, dtype="int16")
        assert rate == loaded[key][0] == RATE
        assert np.array_equal(found, waves[key]) and np.array_equal(
            loaded[key][1] * 2**15, waves[key]
        )


def test_a_key_is_used_once_and_a_failed_run_leaves_what_was_there(tmp_path):
    scp = written(tmp_path, one=samples(10))
    before = {path: path.read_bytes() for path in scp.parent.iterdir()}
    with (
        pytest.raises(TisdissError, match=r"spk1\.scp: the key two was already used"),
        ArchiveWriter(scp.with_suffix(".ark"), scp) as writer,
    ):
        writer["two"] = RATE, samples(20)
        writer["two"] = RATE, samples(30)
    assert {path: path.read_bytes() for path in scp.parent.iterdir()} == before
    assert list(read_sources(written(tmp_path, three=samples(5)))) == ["three"]


def test_the_example_of_the_documentation_packs_separated_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "separated").mkdir()
    waves = {(key, spk): samples(50, spk) for key in ("talk", "mix.0") for spk in (1, 2)}
    for (key, spk), wave in waves.items():
        soundfile.write(f"separated/{key}_spk{spk}.wav", wave, RATE)
    (code,) = EXAMPLE.findall((REPOSITORY / "docs/recordings.md").read_text())
    exec(code, {})
    for spk in (1, 2):
        loaded = kaldiio.load_scp(f"spk{spk}.scp")
        assert sorted(loaded) == ["mix.0", "talk"]
        assert all(np.array_equal(loaded[key][1] * 2**15, waves[key, spk]) for key in loaded)
