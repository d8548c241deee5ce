"""Formatting keeps good files in place, converts others if requested, and refuses the rest."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.audio import stretches
from espnet2_tisdiss.audio.reading import decoded
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.stages.format_audio import Format, format_data_dir
from espnet2_tisdiss.recipes.stages.perturb_speed import perturb_data_dir

LISTS = ["wav.scp", "spk1.scp", "spk2.scp"]
KEY = "spk1-utt1"
OPTIONS = ("--fs", "8000", "--audio_format", "wav", "--nj", "1")
WAV_8K = Format(8000, "wav", resample=False, ref_channel=None, allow_silence=False)


def source_of(data_dir: Path, name: str, key: str = KEY) -> Path:
    return Path(read_scp(data_dir / name)[key])


def refusal(data_dir: Path, wanted: Format = WAV_8K) -> list[str]:
    """The lines of the refusal; nothing may be left of the output."""
    out = data_dir.parent / "out"
    with pytest.raises(TisdissError) as error:
        format_data_dir(data_dir, out, LISTS, wanted, nj=1)
    assert [path.name for path in data_dir.parent.iterdir()] == [data_dir.name]
    return str(error.value).splitlines()


def test_good_files_stay_where_they_are(data_dir: Path, tmp_path: Path) -> None:
    outcomes = format_data_dir(data_dir, tmp_path / "out", LISTS, WAV_8K, nj=2)
    assert sum(outcome.written for outcome in outcomes) == 0
    for name in [*LISTS, "utt2spk", "spk2utt"]:
        assert (tmp_path / "out" / name).read_text() == (data_dir / name).read_text()
    assert set(read_scp(tmp_path / "out" / "utt2num_samples").values()) == {"8000"}
    assert not (tmp_path / "out" / "audio").exists()


def test_extra_utterance_lists_come_along(data_dir: Path, tmp_path: Path) -> None:
    speakers = {key: "someone" for key in read_scp(data_dir / "wav.scp")}
    write_scp(data_dir / "utt2spk_ref1", speakers)
    format_data_dir(data_dir, tmp_path / "out", LISTS, WAV_8K, nj=1)
    assert read_scp(tmp_path / "out" / "utt2spk_ref1") == speakers


def test_flac_holds_the_same_samples(data_dir: Path, tmp_path: Path) -> None:
    wanted = Format(8000, "flac", resample=False, ref_channel=None, allow_silence=False)
    format_data_dir(data_dir, tmp_path / "out", LISTS, wanted, nj=1)
    made = source_of(tmp_path / "out", "spk1.scp")
    assert made.suffix == ".flac"
    before, _ = soundfile.read(source_of(data_dir, "spk1.scp"), dtype="int16")
    after, _ = soundfile.read(made, dtype="int16")
    np.testing.assert_array_equal(before, after)


def test_floating_point_is_never_clipped(data_dir: Path, tmp_path: Path) -> None:
    for name in LISTS:
        loud = np.stack([np.full(8000, 2.5), np.zeros(8000)], axis=1)
        soundfile.write(source_of(data_dir, name), loud, 8000, subtype="FLOAT")
    wanted = Format(8000, "wav", resample=False, ref_channel=0, allow_silence=False)
    format_data_dir(data_dir, tmp_path / "out", LISTS, wanted, nj=1)
    made = source_of(tmp_path / "out", "wav.scp")
    assert soundfile.info(made).subtype == "FLOAT"
    np.testing.assert_array_equal(soundfile.read(made)[0], np.full(8000, 2.5))


def test_flac_cannot_hold_floating_point(data_dir: Path) -> None:
    source = source_of(data_dir, "spk2.scp")
    soundfile.write(source, 0.1 * np.ones(8000), 8000, subtype="FLOAT")
    (line,) = refusal(data_dir, Format(8000, "flac", False, None, False))
    assert "FLAC cannot hold FLOAT samples; use --audio_format wav" in line


def test_flac_does_not_clip_what_resampling_makes_louder(data_dir: Path) -> None:
    square = np.where(np.arange(16000) // 20 % 2, 1, -1)  # a filter's overshoot passes full scale
    soundfile.write(source_of(data_dir, "spk2.scp"), square.astype(float), 16000)
    (line,) = refusal(data_dir, Format(8000, "flac", True, None, False))
    assert "PCM_16 would clip its samples, whose peak is 1." in line
    assert line.endswith("; use --audio_format wav")


def test_resampling_keeps_a_tone(data_dir: Path, tmp_path: Path) -> None:
    time = np.arange(16000) / 16000
    for name in LISTS:
        tone = 0.5 * np.sin(2 * np.pi * 440 * time)
        soundfile.write(source_of(data_dir, name), tone, 16000)
    wanted = Format(8000, "wav", resample=True, ref_channel=None, allow_silence=False)
    outcomes = format_data_dir(data_dir, tmp_path / "out", LISTS, wanted, nj=1)
    assert outcomes[1].resampled == 3
    samples, rate = soundfile.read(source_of(tmp_path / "out", "wav.scp"))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    assert (rate, len(samples)) == (8000, 8000)
    np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=1e-3)


def test_another_rate_is_refused_with_the_mend(data_dir: Path) -> None:
    source = source_of(data_dir, "wav.scp")
    soundfile.write(source, np.ones(16000) / 2, 16000)
    (line,) = refusal(data_dir)
    assert line == (
        f"utterance '{KEY}', wav.scp: {source}: is at 16000 Hz, not 8000 Hz; "
        "convert it with --resample true, or give its rate with --fs"
    )


def test_a_stereo_file_needs_a_channel(data_dir: Path, tmp_path: Path) -> None:
    left, right = np.full(8000, 0.25), np.full(8000, 0.5)
    soundfile.write(source_of(data_dir, "wav.scp"), np.stack([left, right], axis=1), 8000)
    (line,) = refusal(data_dir)
    assert "has 2 channels; choose one with --ref_channel N" in line
    (line,) = refusal(data_dir, Format(8000, "wav", False, 2, False))
    assert "has channels 0 to 1, but not channel 2; choose one with --ref_channel N" in line
    format_data_dir(data_dir, tmp_path / "out", LISTS, Format(8000, "wav", False, 1, False), nj=1)
    samples, _ = soundfile.read(source_of(tmp_path / "out", "wav.scp"))
    np.testing.assert_array_equal(samples, right)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_sample_that_is_no_number_is_refused_by_place(data_dir: Path, value: float) -> None:
    samples = np.full(8000, 0.1)
    samples[[123, 456]] = value
    soundfile.write(source_of(data_dir, "spk1.scp"), samples, 8000, subtype="FLOAT")
    (line,) = refusal(data_dir)
    assert f"sample 123 is {value}, not a finite number" in line
    assert line.startswith(f"utterance '{KEY}', spk1.scp: ")


def test_a_missing_file_is_named(data_dir: Path) -> None:
    source = source_of(data_dir, "spk2.scp")
    source.unlink()
    assert refusal(data_dir) == [
        f"utterance '{KEY}', spk2.scp: {source}: no such file; check its name"
    ]


def test_what_is_not_audio_is_named(data_dir: Path) -> None:
    source_of(data_dir, "spk2.scp").write_text("this is not audio")
    (line,) = refusal(data_dir)
    assert "not a readable audio file" in line


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_file_is_refused(data_dir: Path, suffix: str) -> None:
    table = read_scp(data_dir / "wav.scp")
    path = Path(table[KEY]).with_suffix(f".{suffix}")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(path, noise, 8000)
    os.truncate(path, path.stat().st_size // 2)
    write_scp(data_dir / "wav.scp", table | {KEY: str(path)})
    (line,) = refusal(data_dir)
    assert f"{path}: " in line
    assert "truncated" in line or "not a readable audio file" in line


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (0, "holds no samples"),
        (1, "too short: 1 samples, at least 20 ms are needed"),
        (159, "too short: 159 samples, at least 20 ms are needed"),
    ],
)
def test_a_file_under_20_ms_is_refused(data_dir: Path, length: int, reason: str) -> None:
    for name in LISTS:
        soundfile.write(source_of(data_dir, name), np.ones(length) / 2, 8000)
    lines = refusal(data_dir)
    assert len(lines) == 3
    assert reason in lines[0]


def test_a_silent_source_is_refused_for_training_and_told_for_tests(
    data_dir: Path, tmp_path: Path
) -> None:
    source = source_of(data_dir, "spk2.scp")
    soundfile.write(source, np.zeros(8000), 8000)
    assert refusal(data_dir) == [
        f"utterance '{KEY}', spk2.scp: {source}: silent (every sample is zero)"
    ]
    wanted = Format(8000, "wav", resample=False, ref_channel=None, allow_silence=True)
    format_data_dir(data_dir, tmp_path / "out", LISTS, wanted, nj=1)
    assert read_scp(tmp_path / "out" / "silent_utts") == {KEY: "spk2.scp"}


def test_different_lengths_are_refused(data_dir: Path) -> None:
    source = source_of(data_dir, "spk1.scp")
    soundfile.write(source, np.ones(7999) / 2, 8000)
    mixture = source_of(data_dir, "wav.scp")
    assert refusal(data_dir) == [
        f"utterance '{KEY}', spk1.scp: {source}: has 7999 samples, {mixture} has 8000"
    ]


def test_a_command_in_a_list_is_not_run(data_dir: Path, tmp_path: Path) -> None:
    table = read_scp(data_dir / "wav.scp")
    write_scp(data_dir / "wav.scp", table | {KEY: f"touch {tmp_path}/ran |"})
    (line,) = refusal(data_dir)
    assert "is a command, not the path of a file" in line and "--run_commands true" in line
    assert not (tmp_path / "ran").exists()


def test_a_command_runs_if_wanted(data_dir: Path, tmp_path: Path) -> None:
    table = read_scp(data_dir / "wav.scp")
    write_scp(data_dir / "wav.scp", table | {KEY: f"cat {table[KEY]} |"})
    format_data_dir(data_dir, tmp_path / "out", LISTS, WAV_8K, nj=1, run_commands=True)
    made = source_of(tmp_path / "out", "wav.scp")
    assert made.is_relative_to(tmp_path / "out")
    np.testing.assert_array_equal(soundfile.read(made)[0], soundfile.read(table[KEY])[0])
    assert soundfile.info(made).subtype == soundfile.info(table[KEY]).subtype


def test_segments_are_cut(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "segments").write_text(f"one {KEY} 0.25 0.5\ntwo {KEY} 0.125 -1\n")
    write_scp(data_dir / "utt2spk", {"one": "me", "two": "me"})
    format_data_dir(data_dir, tmp_path / "out", LISTS, WAV_8K, nj=1)
    for name in LISTS:
        whole, _ = soundfile.read(source_of(data_dir, name))
        made = read_scp(tmp_path / "out" / name)
        for key, part in (("one", slice(2000, 4000)), ("two", slice(1000, None))):
            np.testing.assert_array_equal(soundfile.read(made[key])[0], whole[part])
    assert read_scp(tmp_path / "out" / "utt2num_samples") == {"one": "2000", "two": "7000"}
    assert not (tmp_path / "out" / "segments").exists()


def test_a_key_cannot_name_another_folder(data_dir: Path) -> None:
    for name in LISTS:
        write_scp(data_dir / name, {"../x": read_scp(data_dir / name)[KEY]})
    (line,) = refusal(data_dir)
    assert "key '../x' holds a '/'" in line


def test_at_most_ten_problems_are_collected(data_dir: Path) -> None:
    for name in LISTS:
        write_scp(data_dir / name, {f"utt{index:02}": "nowhere.wav" for index in range(20)})
    lines = refusal(data_dir)
    assert len(lines) == 11
    assert lines[0] == "utterance 'utt00', wav.scp: nowhere.wav: no such file; check its name"
    assert lines[-1] == "stopped after 10 problems"


def test_the_program_tells_problems_without_a_traceback(data_dir, run_tool) -> None:
    (data_dir / "spk2.scp").write_text("")
    done = run_tool("format_audio", data_dir, "out", "--lists", *LISTS, *OPTIONS)
    assert done.returncode == 1
    assert done.stderr == f"format_audio: {data_dir / 'spk2.scp'}: the list is empty\n"


@pytest.mark.promise("disk-full")
@pytest.mark.parametrize("nj", ["1", "2"])
def test_a_full_disk_is_one_line(data_dir: Path, tmp_path: Path, run_tool, full_disk, nj) -> None:
    options = [*OPTIONS[:2], "--audio_format", "flac", "--nj", nj]
    done = run_tool("format_audio", data_dir, "out", "--lists", *LISTS, *options)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("format_audio: [Errno 27] File too large: 'out/audio/wav/")
    assert not list(tmp_path.glob("*out*"))


@pytest.fixture
def cut_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a data directory of utterances of two recordings, the samples, and the decodes."""
    data, waves, begun = tmp_path / "data", {}, []
    data.mkdir()
    rng = np.random.default_rng(0)
    for name in LISTS:
        paths = {}
        for recording in ("r1", "r2"):
            wave = rng.integers(-(2**15), 2**15, 7 * 8000).astype(np.int16)
            path = data / f"{recording}_{name}.flac"
            soundfile.write(path, wave, 8000)
            waves[name, recording], paths[recording] = wave, str(path)
        write_scp(data / name, paths)
    spans = {"r1_a": (0, 1), "r1_b": (0.5, 6), "r1_c": (6, 7), "r2_a": (1, 2), "r2_b": (5.5, 7)}
    segments = {key: f"{key[:2]} {start} {stop}" for key, (start, stop) in spans.items()}
    write_scp(data / "segments", segments)
    write_scp(data / "utt2spk", {key: key for key in spans})

    def counted(path, *args):
        begun.append(path.name)
        return decoded(path, *args)

    monkeypatch.setattr(stretches, "decoded", counted)
    return data, waves, spans, begun


def test_a_recording_is_decoded_once_for_its_utterances(cut_recordings, tmp_path: Path) -> None:
    data, waves, spans, begun = cut_recordings
    format_data_dir(data, tmp_path / "out", LISTS, WAV_8K, nj=1)
    assert sorted(begun) == sorted(f"{one}_{name}.flac" for one in ("r1", "r2") for name in LISTS)
    for name in LISTS:
        for key, (start, stop) in spans.items():
            found, _ = soundfile.read(source_of(tmp_path / "out", name, key), dtype="int16")
            expected = waves[name, key[:2]][round(start * 8000) : round(stop * 8000)]
            np.testing.assert_array_equal(found, expected)


def test_and_once_for_all_speeds(cut_recordings, tmp_path: Path) -> None:
    data, waves, spans, begun = cut_recordings
    perturb_data_dir(data, tmp_path / "out", LISTS, ["0.9", "1"], nj=1, ref_channel=None)
    assert len(begun) == len(set(begun)) == 2 * len(LISTS)
    for key, (start, stop) in spans.items():
        found, _ = soundfile.read(source_of(tmp_path / "out", "wav.scp", key), dtype="int16")
        expected = waves["wav.scp", key[:2]][round(start * 8000) : round(stop * 8000)]
        np.testing.assert_array_equal(found, expected)
        slow = soundfile.info(source_of(tmp_path / "out", "wav.scp", f"sp0.9-{key}"))
        assert slow.frames == pytest.approx(len(expected) / 0.9, abs=2)
