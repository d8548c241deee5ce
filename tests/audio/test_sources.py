"""Entries of lists: archives written by kaldiio, commands, and stretches of recordings."""

from contextlib import closing, nullcontext
from math import inf
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.audio import stretches
from espnet2_tisdiss.audio.decoders import SndfileDecoder
from espnet2_tisdiss.audio.reading import AudioInfo, decoded, read_blocks, read_samples
from espnet2_tisdiss.audio.sources import SourceReader, as_file, opened, probe_source
from espnet2_tisdiss.audio.stretches import OpenSource, SharedBlocks
from espnet2_tisdiss.errors import AudioError
from espnet2_tisdiss.lists import Source, read_sources

RATE = 8000


def samples(length, seed=0):
    return np.random.default_rng(seed).integers(-(2**15), 2**15, length).astype(np.int16)


def read(source, **kwargs):
    with opened(source, **kwargs) as audio:
        blocks = list(audio.blocks())
        assert audio.info.frames == sum(block.shape[1] for block in blocks)
    return (np.concatenate(blocks, axis=1)[0] * 2**15).round().astype(np.int16)


@pytest.fixture
def recording(tmp_path):
    """Return a file of 12 s, which takes several blocks, and its samples."""
    wave = samples(12 * RATE)
    soundfile.write(tmp_path / "long.wav", wave, RATE)
    return str(tmp_path / "long.wav"), wave


@pytest.mark.parametrize("kind", [None, "wav", "flac"])
def test_entries_of_an_archive(tmp_path, kind):
    waves = {"a": samples(900, 1), "b": samples(700, 2)}
    options = {"write_function": "soundfile", "write_kwargs": {"format": kind}} if kind else {}
    entries = {key: (RATE, wave) for key, wave in waves.items()}
    kaldiio.save_ark(str(tmp_path / "x.ark"), entries, str(tmp_path / "wav.scp"), **options)
    for key, source in read_sources(tmp_path / "wav.scp").items():
        np.testing.assert_array_equal(read(source), waves[key])
        assert probe_source(source).rate == RATE


def test_archives_that_hold_no_audio(tmp_path):
    ark = str(tmp_path / "x.ark")
    kaldiio.save_ark(ark, {"a": np.ones((2, 3), np.float32)})
    with pytest.raises(AudioError, match="no audio starts at byte 2"):
        probe_source(Source(f"{ark}:2"))
    kaldiio.save_ark(ark, {"a": (RATE, samples(900))})
    Path(ark).write_bytes(Path(ark).read_bytes()[:-100])
    with pytest.raises(AudioError, match="x.ark:2: truncated: 100 bytes are missing"):
        probe_source(Source(f"{ark}:2"))
    with pytest.raises(AudioError, match=r"none.ark:2: .* \(No such file or directory\)"):
        probe_source(Source("none.ark:2"))


def test_commands(tmp_path, recording):
    path, wave = recording
    np.testing.assert_array_equal(read(Source(f"cat {path} |"), folder=tmp_path / "new"), wave)
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(AudioError, match="the command ended with exit code 3 .*oh no"):
        probe_source(Source("echo oh no >&2; exit 3 |"))
    with pytest.raises(AudioError) as error:
        probe_source(Source("echo nothing |"))
    assert str(error.value).startswith("echo nothing |: not a readable audio file")
    with SourceReader() as reader, pytest.raises(AudioError) as error:
        try:  # not yet closed, as with further entries
            reader.open(Source("true |"))
        except AudioError as inner:
            assert str(inner) == "true |: is empty (0 bytes); replace it"
            raise


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0.5, 2.25, slice(4000, 18000)),
        (4.0, 11.0, slice(32000, 88000)),
        (11.9, float("inf"), slice(95200, None)),
        (6.0, 12.4, slice(48000, None)),  # Kaldi allows half a second more than there is
    ],
)
def test_stretches(recording, start, stop, expected):
    path, wave = recording
    np.testing.assert_array_equal(read(Source(path, start, stop)), wave[expected])


@pytest.mark.parametrize(("start", "stop"), [(13, 14), (11, 13), (1, 1.00001)])
def test_stretches_beyond_the_recording(recording, start, stop):
    path, _ = recording
    with pytest.raises(AudioError, match=r"long.wav \(.*; correct its line in segments"):
        probe_source(Source(path, start, stop))


def test_an_error_in_the_block_names_the_entry(recording):
    with (
        pytest.raises(AudioError, match=r"^cat .*long.wav \|: is wrong"),
        as_file(Source(f"cat {recording[0]} |")) as path,
    ):
        raise AudioError(f"{path}: is wrong")


def test_stretches_of_one_recording_are_decoded_once(recording, monkeypatch):
    path, wave = recording
    begun = []
    monkeypatch.setattr(stretches, "decoded", lambda *args: begun.append(1) or decoded(*args))
    spans = [(0.5, 1.0), (0.75, 6.25), (6.0, 9.0), (9.5, 12.0), (11.0, inf), (2.0, 3.0)]
    with SourceReader() as reader:
        for start, stop in spans:
            with closing(reader.open(Source(path, start, stop)).blocks()) as blocks:
                found = np.concatenate(list(blocks), axis=1)[0]
            expected = wave[round(start * RATE) : None if stop == inf else round(stop * RATE)]
            np.testing.assert_array_equal((found * 2**15).round(), expected)
        assert len(begun) == 1
        monkeypatch.setattr(stretches, "HELD_BLOCKS", 1)
        shared = SharedBlocks(Path(path))
        for first in (80_000, 0):  # no longer held: from the start again
            assert next(shared.blocks(first, "float32", None))[0] <= first
        assert len(begun) == 3


def test_a_command_runs_once_for_all_its_stretches(recording, tmp_path):
    command = f"echo >> {tmp_path}/runs; cat {recording[0]} |"
    with SourceReader() as reader:
        for start in (1.0, 3.0, 2.0):
            audio = reader.open(Source(command, start, start + 1))
            assert sum(block.shape[1] for block in audio.blocks()) == RATE
    assert (tmp_path / "runs").read_text() == "\n"


def test_a_fault_does_not_hide_later_stretches(tmp_path):
    wave = np.ones(12 * RATE, np.float32)
    wave[7 * RATE] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, RATE, "FLOAT")
    with SourceReader() as reader:
        for start, is_faulty in ((1.0, False), (6.0, True), (2.0, False), (8.0, False)):
            audio = reader.open(Source(str(tmp_path / "a.wav"), start, start + 2))
            with pytest.raises(AudioError, match="at 7.000") if is_faulty else nullcontext():
                assert sum(block.shape[1] for block in audio.blocks()) == 2 * RATE


def interrupt_at_close(monkeypatch):
    """Let a Ctrl-C arrive whenever a file is closed."""

    def close(decoder):
        raise KeyboardInterrupt

    monkeypatch.setattr(SndfileDecoder, "close", close)


def leave(blocks):
    with closing(blocks):
        next(blocks)


def of_source(path, last=None):
    return OpenSource(Path(path), AudioInfo(RATE, 1, 0, "", ""), 0, last).blocks()


def leave_shared(path):
    with closing(SharedBlocks(path)) as shared:
        leave(shared.blocks(0, "float32", None))


def begin_shared_again(path):
    shared = SharedBlocks(path)
    for dtype in ("float32", "float64"):
        leave(shared.blocks(0, dtype, None))


@pytest.mark.promise("interrupted")
@pytest.mark.parametrize(
    "read",
    [
        lambda path: leave(read_blocks(path)),
        lambda path: read_samples(path, 0, 100),
        lambda path: leave(of_source(path)),
        lambda path: list(of_source(path, last=100)),
        leave_shared,
        begin_shared_again,
    ],
)
def test_an_interruption_while_an_unread_file_is_closed_is_not_lost(recording, monkeypatch, read):
    interrupt_at_close(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        read(recording[0])


def test_a_reader_closes_what_stretches_share(recording, monkeypatch):
    with SourceReader() as reader:
        leave(reader.open(Source(recording[0], 0.5, 1)).blocks())
        interrupt_at_close(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            reader.open(Source("none.wav"))
