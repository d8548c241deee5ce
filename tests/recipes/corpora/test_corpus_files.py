"""The module for files of a corpus that the data preparations share."""

import os
import resource
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes import signals
from espnet2_tisdiss.recipes.corpora import files

RATE = 8000


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, count)


def test_samples_are_rounded_to_16_bits_and_saturate():
    step = 2.0**-15
    samples = np.array([0, 0.4 * step, 0.6 * step, -0.6 * step, 1, 1.5, -1, -1.5])
    expected = [0, 0, 1, -1, 32767, 32767, -32768, -32768]
    quantised = files.quantise(samples)
    assert quantised.dtype == np.int16 and quantised.tolist() == expected


@pytest.mark.parametrize("frames", [15999, 16000, 16001])
def test_resampling_keeps_a_tone_and_rounds_the_length_up(frames):
    tone = np.sin(2 * np.pi * 440 / 16000 * np.arange(frames))
    halved = files.to_rate(tone, 16000, 8000)
    assert len(halved) == -(-frames // 2) == files.frames_at(frames, 16000, 8000)
    np.testing.assert_allclose(halved[100:-100], tone[::2][100:-100], atol=2e-3)
    assert files.to_rate(tone, 8000, 8000) is tone


def test_lengths_are_fitted():
    signals = [np.array([1, 2, 3]), np.array([4])]
    assert [s.tolist() for s in files.fit(signals, "min")] == [[1], [4]]
    assert [s.tolist() for s in files.fit(signals, "max")] == [[1, 2, 3], [4, 0, 0]]


def test_a_folder_is_taken_from_the_option_before_the_variable(tmp_path, monkeypatch):
    first, second = tmp_path / "a b", tmp_path / "c"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("CORPUS", str(second))
    assert files.location(first, "--corpus", "CORPUS") == first
    assert files.location(None, "--corpus", "CORPUS") == second
    monkeypatch.setenv("CORPUS", str(tmp_path / "none"))
    with pytest.raises(TisdissError, match=r"^CORPUS .*none: no such folder$"):
        files.location(None, "--corpus", "CORPUS")
    monkeypatch.chdir(tmp_path)
    assert files.location(Path("c"), "--corpus", "CORPUS") == second
    with pytest.raises(TisdissError, match=f"^--corpus {tmp_path}/none: no such folder$"):
        files.location(Path("none"), "--corpus", "CORPUS")
    monkeypatch.setenv("CORPUS", "")
    assert files.location(None, "--corpus", "CORPUS") is None
    with pytest.raises(TisdissError, match="where is X.*Set CORPUS in db.sh.*--corpus FOLDER"):
        files.find_root(None, "--corpus", "CORPUS", "X")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_list_is_downloaded_once_and_never_changes(server, tmp_path):
    folder, url = server
    (folder / "list.txt").write_text("first\n")
    target = tmp_path / "lists" / "list.txt"
    assert files.fetch(target, f"{url}/list.txt", "advice") == target
    (folder / "list.txt").write_text("second\n")
    files.fetch(target, f"{url}/list.txt", "advice")
    assert target.read_text() == "first\n"
    for change in (target.unlink, lambda: target.write_text("third\n")):
        change()
        with pytest.raises(TisdissError, match="list.txt: is not the file that was downloaded fi"):
            files.fetch(target, f"{url}/list.txt", "advice")
    (folder / "list.txt").write_text("first\n")
    target.unlink()
    files.fetch(target, f"{url}/list.txt", "advice")
    assert target.read_text() == "first\n"


def test_a_list_that_cannot_be_had_is_named_with_a_way_out(server, tmp_path):
    folder, url = server
    target = tmp_path / "lists" / "list.txt"
    message = r"^list.txt: .*cannot be downloaded from .*\(File not found\): give it with --lists$"
    with pytest.raises(TisdissError, match=message):
        files.fetch(target, f"{url}/list.txt", "give it with --lists")
    with pytest.raises(TisdissError, match=r"unknown url type"):
        files.fetch(target, "list.txt", "give it with --lists")
    assert not target.parent.exists()


def test_integers_and_floats_are_written_as_they_are(tmp_path):
    integers, floats = np.array([1, -2, 32767], np.int16), np.array([0.5, -3.25])
    files.write_audio(tmp_path / "i.wav", integers, RATE)
    files.write_audio(tmp_path / "f.wav", floats, RATE)
    assert soundfile.info(tmp_path / "i.wav").subtype == "PCM_16"
    assert soundfile.info(tmp_path / "f.wav").subtype == "FLOAT"
    np.testing.assert_array_equal(soundfile.read(tmp_path / "i.wav", dtype="int16")[0], integers)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "f.wav")[0], floats)


def test_a_half_written_file_is_not_whole(tmp_path):
    path = tmp_path / "file.wav"
    files.write_audio(path, files.quantise(noise(1000)), RATE)
    assert signals.is_whole(path, 1000, RATE)
    assert not signals.is_whole(path, 999, RATE)
    assert not signals.is_whole(path, 1000, 16000)
    assert not signals.is_whole(tmp_path / "none.wav", 1000, RATE)
    for length in (1500, 20, 0):
        os.truncate(path, length)
        assert not signals.is_whole(path, 1000, RATE)


def test_unusable_sources_are_named(tmp_path):
    path = tmp_path / "a source.flac"
    with pytest.raises(TisdissError, match="a source.flac: no such file"):
        signals.frames_of(path, RATE)
    soundfile.write(path, noise(20000), 16000)
    assert signals.frames_of(path, 16000) == len(files.read_source(path, 16000))
    for read in (signals.frames_of, files.read_source):
        with pytest.raises(TisdissError, match="a source.flac: is at 16000 Hz, not 8000 Hz"):
            read(path, RATE)
    os.truncate(path, 10000)
    with pytest.raises(TisdissError, match="a source.flac: "):
        files.read_source(path, 16000)
    soundfile.write(path, np.stack([noise(2000)] * 2, axis=1), RATE)
    assert files.read_source(path, RATE, 1).shape == (2000,)
    with pytest.raises(
        TisdissError, match="a source.flac: has 2 channels; the corpus has one there"
    ):
        files.read_source(path, RATE)
    path.write_text("text")
    for read in (signals.frames_of, files.read_source):
        with pytest.raises(TisdissError, match="a source.flac: not a readable audio file"):
            read(path, RATE)


def test_padding_at_the_end_of_a_source_is_left_out(tmp_path):
    path = tmp_path / "padded.wav"
    spoken = np.array([0, 0, 5, 0, 0, -1], np.int16)
    files.write_audio(path, np.pad(spoken, (0, 900)), RATE)
    read = files.read_unpadded(path, RATE)
    np.testing.assert_array_equal(files.quantise(read), spoken)
    files.write_audio(path, np.zeros(900, np.int16), RATE)
    with pytest.raises(TisdissError, match=f"^{path}: the signal is silent$"):
        files.read_unpadded(path, RATE)


def _double(folder: Path, number: int) -> int:
    if number % 3 == 0:
        raise TisdissError(f"{number} cannot be doubled")
    (folder / str(number)).touch()
    return 2 * number


@pytest.mark.parametrize("nj", [1, 2])
def test_what_fails_is_told_and_the_others_are_done(tmp_path, nj):
    numbers = [number for number in range(40) if number % 3]
    done = files.do_all(partial(_double, tmp_path), numbers, nj, "doubling")
    assert done == [2 * number for number in numbers]
    with pytest.raises(TisdissError) as raised:
        files.do_all(partial(_double, tmp_path), range(100, 142), nj, "doubling")
    lines = str(raised.value).split("\n")
    assert lines[0] == "102 cannot be doubled" and len(lines) == 12
    assert lines[10:] == [
        "and 4 more like these",
        "doubling: 14 of 42 failed, the others are done; correct these and run again",
    ]
    assert {int(path.name) for path in tmp_path.iterdir()} >= {
        number for number in range(100, 142) if number % 3
    }


def _write(folder: Path, number: int) -> None:
    # simulates a full disk: files cannot grow beyond 1000 bytes
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        files.write_audio(folder / f"{number}.wav", np.zeros(300 * number, np.int16), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.promise("disk-full")
def test_a_full_disk_stops_the_work_and_leaves_nothing_half_written(tmp_path):
    with pytest.raises(TisdissError) as raised:
        files.do_all(partial(_write, tmp_path), [1, 2, 3, 4], 1, "writing")
    path = tmp_path / "2.wav"
    message = f"{path}: cannot be written: File too large; correct that and run again to continue"
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["1.wav"]
