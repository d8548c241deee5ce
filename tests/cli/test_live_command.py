"""``tisdiss live``: raw samples in, files or raw samples out."""

import io
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.cli import live
from espnet2_tisdiss.cli.backends import ModelSource
from espnet2_tisdiss.errors import TisdissError

RATE = 8000
OPTIONS = {"rate": RATE, "latency": 0.2, "window": 0.4, "keep_up": False, "n_re": 2}


@pytest.fixture
def model(espnet_model):
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


@pytest.fixture
def sound():
    return (3000 * np.random.default_rng(0).standard_normal(RATE)).astype("<i2")


@pytest.fixture
def run(model, monkeypatch):
    monkeypatch.setattr(ModelSource, "load_for_command", lambda _: model)

    def run(content, **options):
        """Run the command with standard input; return what it wrote to standard output."""
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        output = io.TextIOWrapper(io.BytesIO())
        monkeypatch.setattr(sys, "stdout", output)
        live.command(**{**OPTIONS, **options})
        return output.buffer.getvalue()

    return run


def expected(model, sound):
    separator = model.live(RATE, latency=0.2, window=0.4, n_re=2)
    samples = sound / np.float32(2**15) if sound.dtype.kind == "i" else sound
    return np.concatenate([separator.push(samples), separator.finish()], axis=1)


def test_files_hold_what_the_live_separator_returns(run, model, sound, tmp_path):
    run(sound.tobytes(), out=tmp_path / "talk")
    for number, speaker in enumerate(expected(model, sound), start=1):
        found, rate = soundfile.read(tmp_path / f"talk/spk{number}.wav", dtype="float32")
        assert rate == RATE
        np.testing.assert_array_equal(found, speaker)
    assert len(list((tmp_path / "talk").iterdir())) == model.num_spk


@pytest.mark.parametrize("sample_format", ["s16", "f32"])
def test_standard_output_has_the_speakers_side_by_side(run, model, sound, sample_format):
    samples = sound if sample_format == "s16" else sound.astype("<f4") / 2**15
    content = samples.tobytes() + b"\0"  # half a sample at the end is dropped
    written = run(content, out=live.STANDARD_OUTPUT, sample_format=sample_format)
    found = np.frombuffer(written, live.SAMPLES[sample_format]).reshape(-1, model.num_spk).T
    wanted = expected(model, samples)
    if sample_format == "s16":
        wanted = np.clip(np.round(wanted * 2**15), -(2**15), 2**15 - 1)
    np.testing.assert_array_equal(found, wanted)


def test_a_terminal_is_told_what_to_pipe(model, monkeypatch, tmp_path):
    monkeypatch.setattr(ModelSource, "load_for_command", lambda _: model)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True, fileno=lambda: 0))
    with pytest.raises(TisdissError, match="pipe raw samples into it, or give --microphone"):
        live.command(**OPTIONS, out=tmp_path / "talk")
    assert list((tmp_path / "talk").iterdir()) == []


def test_the_microphone_is_read_until_an_interrupt(run, model, sound, tmp_path, monkeypatch):
    heard = sound.astype(np.float32) / 2**15

    class Stream:
        """Replaces sounddevice's stream: it passes on three blocks, then Ctrl-C arrives."""

        def __init__(self, samplerate, channels, dtype, callback):
            assert (samplerate, channels, dtype) == (RATE, 1, "float32")
            self.callback = callback

        def __enter__(self):
            for block in np.split(heard, [1000, 5000]):
                self.callback(block[:, None], len(block), None, None)

        def __exit__(self, *_):
            return False

    fake = types.SimpleNamespace(InputStream=Stream, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    queues = live.queue.SimpleQueue

    class Interrupted(queues):
        def get(self, *args, **options):
            if self.empty():
                raise KeyboardInterrupt
            return super().get(*args, **options)

    monkeypatch.setattr(live.queue, "SimpleQueue", Interrupted)
    run(b"", out=tmp_path, microphone=True)
    found, _ = soundfile.read(tmp_path / "spk1.wav", dtype="float32")
    np.testing.assert_array_equal(found, expected(model, heard)[0])


def test_a_missing_microphone_package_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(TisdissError, match="needs the package sounddevice"):
        run(b"", out=tmp_path, microphone=True)


@pytest.mark.slow
def test_an_interrupt_keeps_what_has_arrived(espnet_model, sound, tmp_path):
    _, config, weights = espnet_model()
    command = [sys.executable, "-m", "espnet2_tisdiss.cli", "live", "-m", str(weights)]
    command += ["--rate", str(RATE), "--latency", "0.2", "-o", str(tmp_path / "talk")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(sound.tobytes())
        process.stdin.flush()
        while not list(tmp_path.glob("talk/.aside*")):
            assert process.poll() is None
            time.sleep(0.1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, lines = process.communicate()
    assert process.returncode == 0, lines
    assert b"windows" in lines and b"Traceback" not in lines
    assert soundfile.info(tmp_path / "talk/spk1.wav").frames == len(sound)
