"""Speed perturbation changes all signals of an utterance equally."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.stages.perturb_speed import perturb_data_dir

LISTS = ["wav.scp", "spk1.scp", "spk2.scp"]
KEY = "spk1-utt1"


def test_a_mixture_stays_the_sum_of_its_sources(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "data" / "set_sp"
    assert perturb_data_dir(data_dir, out, LISTS, ["0.9", "1.0", "1.1"], 2, None) == 9
    for prefix, expected in (("sp0.9-", 8889), ("", 8000), ("sp1.1-", 7273)):
        mix, first, second = (
            soundfile.read(read_scp(out / name)[prefix + KEY])[0] for name in LISTS
        )
        assert len(mix) == len(first) == len(second) == expected
        np.testing.assert_allclose(mix, first + second, atol=1e-6)
        assert np.abs(mix).max() > 0.1


def test_a_tone_moves_by_the_factor(data_dir: Path, tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    soundfile.write(read_scp(data_dir / "wav.scp")[KEY], tone, 8000)
    perturb_data_dir(data_dir, tmp_path / "out", LISTS, ["1.1"], 1, None)
    samples, rate = soundfile.read(read_scp(tmp_path / "out" / "wav.scp")[f"sp1.1-{KEY}"])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(1100, abs=2)


def test_names_and_speakers_get_the_factor(data_dir: Path, tmp_path: Path) -> None:
    write_scp(data_dir / "utt2spk_ref1", {key: "me" for key in read_scp(data_dir / "wav.scp")})
    perturb_data_dir(data_dir, tmp_path / "out", LISTS, ["0.9", "1"], 1, None)
    speakers = read_scp(tmp_path / "out" / "utt2spk")
    assert speakers[KEY] == "spk1"
    assert speakers[f"sp0.9-{KEY}"] == "sp0.9-spk1"
    assert read_scp(tmp_path / "out" / "spk2utt")["sp0.9-spk1"] == f"sp0.9-{KEY}"
    assert read_scp(tmp_path / "out" / "utt2spk_ref1")[f"sp0.9-{KEY}"] == "sp0.9-me"
    # Speed 1 uses the original file.
    original = read_scp(data_dir / "wav.scp")[KEY]
    assert read_scp(tmp_path / "out" / "wav.scp")[KEY] == original


def test_segments_become_files_at_every_speed(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "segments").write_text(f"one {KEY} 0.25 0.5\n")
    write_scp(data_dir / "utt2spk", {"one": "me"})
    perturb_data_dir(data_dir, tmp_path / "out", LISTS, ["1", "0.5"], 1, None)
    made = read_scp(tmp_path / "out" / "wav.scp")
    whole, _ = soundfile.read(read_scp(data_dir / "wav.scp")[KEY])
    np.testing.assert_array_equal(soundfile.read(made["one"])[0], whole[2000:4000])
    assert soundfile.info(made["sp0.5-one"]).frames == 4000


def test_bad_factors_and_files_are_refused(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TisdissError, match="speed factors must differ: 1 1.0"):
        perturb_data_dir(data_dir, tmp_path / "out", LISTS, ["1", "1.0"], 1, None)
    source = read_scp(data_dir / "spk1.scp")[KEY]
    Path(source).unlink()
    with pytest.raises(TisdissError, match=f"utterance '{KEY}': {source}: no such file"):
        perturb_data_dir(data_dir, tmp_path / "out", LISTS, ["0.9"], 1, None)
    assert not (tmp_path / "out").exists()
