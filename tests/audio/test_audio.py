"""Audio files in and out: real files, good and broken ones."""

import os
import resource
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

import espnet2_tisdiss.audio.writing
from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.audio.spool import Spool
from espnet2_tisdiss.audio.writing import AudioWriter, OutputFormat
from espnet2_tisdiss.errors import AudioError, TisdissError

RATES = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000]
# one step of the sample format
STEP = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24}


def noise(*shape):
    return np.random.uniform(-0.5, 0.5, shape).astype(np.float32)


def read(path, **kwargs):
    return np.concatenate(list(read_blocks(path, **kwargs)), axis=1)


def refused(path, match):
    """The file is refused with one line that starts with its name and says what to do."""
    with pytest.raises(AudioError, match=match) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "; " in text and "\n" not in text


def patch(path, position, data):
    content = bytearray(path.read_bytes())
    content[position : position + len(data)] = data
    path.write_bytes(content)


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


# reading


@pytest.mark.parametrize("subtype", [*STEP, "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_reads_every_sample_format(tmp_path, subtype, channels):
    path, samples = tmp_path / "a.wav", noise(1000, channels)
    soundfile.write(path, samples, 8000, subtype)
    info = probe(path)
    assert (info.rate, info.channels, info.frames, info.subtype) == (8000, channels, 1000, subtype)
    assert info.duration == 0.125
    block = read(path, channel="each")
    assert block.dtype == np.float32
    np.testing.assert_allclose(block, samples.T, rtol=0, atol=STEP.get(subtype, 0))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("container", ["wav", "flac", "aiff"])
def test_reads_every_rate_and_container(tmp_path, rate, container):
    path, samples = tmp_path / f"a.{container}", noise(1000)
    soundfile.write(path, samples, rate, "PCM_24")
    assert (probe(path).rate, probe(path).container) == (rate, container.upper())
    np.testing.assert_allclose(read(path)[0], samples, rtol=0, atol=2**-23)


@pytest.mark.parametrize("name", ["füß 鳥 🎤.wav", "a" * 200 + ".wav", "-o; rm x |.wav"])
def test_reads_and_writes_any_name(tmp_path, name):
    samples = noise(100)
    with AudioWriter(tmp_path / name, 8000, 100, OutputFormat()) as writer:
        writer.write(samples)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read(tmp_path / name)[0], samples)


def test_reads_and_writes_a_name_that_is_no_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    with AudioWriter(path, 8000, 1, OutputFormat()) as writer:
        writer.write(np.ones(1))
    assert read(path) == 1


def test_channels(tmp_path):
    samples = noise(500, 3)
    soundfile.write(tmp_path / "a.wav", samples, 8000, "FLOAT")
    expected = {
        "mean": samples.mean(1)[None],
        "left": samples.T[:1],
        "right": samples.T[1:2],
        "each": samples.T,
    }
    for channel, rows in expected.items():
        block = read(tmp_path / "a.wav", channel=channel)
        assert block.shape == rows.shape
        np.testing.assert_allclose(block, rows, atol=1e-7)
    soundfile.write(tmp_path / "mono.wav", samples[:, 0], 8000, "FLOAT")
    for channel in expected:
        block = read(tmp_path / "mono.wav", channel=channel)
        np.testing.assert_array_equal(block, samples.T[:1])
    with pytest.raises(ValueError, match="channel must be one of mean, left, right, each"):
        read(tmp_path / "a.wav", channel="middle")


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_blocks_are_of_the_length_asked_for_and_lose_nothing(tmp_path, container):
    path = tmp_path / f"a.{container}"
    soundfile.write(path, noise(10_000), 8000)
    whole = soundfile.read(path, dtype="float32")[0]
    blocks = list(read_blocks(path, block_seconds=0.3))
    assert [block.shape for block in blocks] == [(1, 2400)] * 4 + [(1, 400)]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[0], whole)


def test_silence_is_read_as_any_other_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), np.zeros((1, 100)))


def test_no_file(tmp_path):
    refused(tmp_path / "a.wav", "no such file")
    (tmp_path / "link.wav").symlink_to("a.wav")
    refused(tmp_path / "link.wav", "links to a file that is missing; leave it out")
    refused(tmp_path, "is not a file")
    (tmp_path / "a.txt").touch()
    refused(tmp_path / "a.txt" / "b.wav", "cannot be opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(100), 8000)
    path.chmod(0)
    refused(path, "Permission denied")


def test_no_audio(tmp_path):
    path = tmp_path / "a.wav"
    path.touch()
    refused(path, "is empty")
    path.write_text("this is not audio, whatever its name says\n" * 9)
    refused(path, "not a readable audio file")
    soundfile.write(path, np.zeros(0), 8000)
    refused(path, "holds no samples")
    for raw in (tmp_path / "a.raw", tmp_path / "A.RAW"):
        raw.write_bytes(bytes(1000))
        refused(raw, "has no header with its sample rate; convert it to wav")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("AIFF", "PCM_16"), ("RF64", "PCM_16")],
)
def test_truncated_file(tmp_path, container, subtype, share):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20_000), 8000, subtype, format=container)
    cut(path, share)
    refused(path, "truncated")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_flac(tmp_path, share):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(100_000), 8000)
    cut(path, share)
    refused(path, "truncated|not a readable audio file")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF024, 0x7FFFFF24, 0x80000024])
def test_wav_written_into_a_pipe(tmp_path, size):
    path, samples = tmp_path / "a.wav", noise(1000)
    soundfile.write(path, samples, 8000, "FLOAT")
    patch(path, 4, size.to_bytes(4, "little"))
    np.testing.assert_array_equal(read(path)[0], samples)


def test_absurd_rate(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1000), 8000)
    patch(path, 24, (3).to_bytes(4, "little"))
    refused(path, "sample rate of 3 Hz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sample_that_is_no_number(tmp_path, value):
    path, samples = tmp_path / "a.wav", noise(100_000, 2)
    samples[60_000, 1] = value
    soundfile.write(path, samples, 8000, "FLOAT")
    refused(path, r"at 7\.500 s is not a finite number")
    assert read(path, channel="left").shape == (1, 100_000)


# resampling


def resample(samples, from_rate, to_rate, block=None, total=None):
    """Resample (rows, n) in blocks of that length."""
    resampler = Resampler(from_rate, to_rate, len(samples), total)
    length = block or samples.shape[1]
    blocks = [samples[:, i : i + length] for i in range(0, samples.shape[1], length)]
    parts = [resampler.push(block) for block in blocks]
    return np.concatenate([*parts, resampler.finish()], axis=1)


@pytest.mark.parametrize("model_rate", [8000, 16000])
@pytest.mark.parametrize("rate", RATES)
def test_there_and_back_keeps_the_length(rate, model_rate):
    for n in [1, 2, 3, 7, 101, 4409, 12_345]:
        there = resample(noise(1, n), rate, model_rate, block=1000)
        assert there.shape == (1, -(-n * model_rate // rate))
        assert resample(there, model_rate, rate, block=777, total=n).shape == (1, n)


@pytest.mark.parametrize("model_rate", [8000, 16000])
@pytest.mark.parametrize("rate", RATES)
def test_there_and_back_keeps_a_band_limited_signal(rate, model_rate):
    lowpass = butter(16, 0.8 * min(rate, model_rate) / 2, fs=rate, output="sos")
    signal = sosfiltfilt(lowpass, noise(1, rate + 1)).astype(np.float32)
    there = resample(signal, rate, model_rate)
    back = resample(there, model_rate, rate, total=signal.shape[1])
    inner = slice(rate // 20, -rate // 20)
    error = (back - signal)[:, inner]
    assert (error**2).sum() < 1e-6 * (signal[:, inner] ** 2).sum()  # 60 dB


@pytest.mark.parametrize(("rate", "to_rate"), [(8000, 44_100), (44_100, 8000), (48_000, 16_000)])
def test_no_delay(rate, to_rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[None]
    expected = np.sin(2 * np.pi * 440 * np.arange(to_rate) / to_rate)
    inner = slice(to_rate // 20, -to_rate // 20)
    np.testing.assert_allclose(
        resample(tone, rate, to_rate, block=999)[0, inner], expected[inner], atol=1e-4
    )
    click = np.zeros((1, rate))
    click[0, rate // 2] = 1
    assert np.argmax(resample(click, rate, to_rate, block=999)) == to_rate // 2


def test_blocks_do_not_matter():
    signal = noise(3, 20_001)
    whole = resample(signal, 44_100, 16_000)
    for block in [1, 37, 8192]:
        np.testing.assert_array_equal(resample(signal, 44_100, 16_000, block), whole)
    # each row is resampled independently
    np.testing.assert_array_equal(resample(signal[1:2], 44_100, 16_000), whole[1:2])


def test_equal_rates_change_nothing():
    signal = noise(2, 1001)
    np.testing.assert_array_equal(resample(signal, 8000, 8000, block=100), signal)


@pytest.mark.parametrize("to_rate", [8000, 11_025])
@pytest.mark.parametrize("total", [0, 1, 500, 5000])
def test_total_cuts_or_fills_with_silence(to_rate, total):
    signal = noise(2, 1000)
    usual = resample(signal, 8000, to_rate)
    given = resample(signal, 8000, to_rate, block=300, total=total)
    assert given.shape == (2, total)
    both = min(total, usual.shape[1])
    np.testing.assert_array_equal(given[:, :both], usual[:, :both])
    assert np.abs(given[:, usual.shape[1] + 200 :]).max(initial=0) < 1e-4


# writing

FORMATS = [("wav", "16"), ("wav", "24"), ("wav", "float"), ("flac", "16"), ("flac", "24")]


@pytest.mark.parametrize(("container", "bits"), FORMATS)
def test_writes_every_format(tmp_path, container, bits):
    form = OutputFormat(container, bits)
    path, samples = tmp_path / "new" / f"a{form.suffix}", noise(10_000)
    with AudioWriter(path, 44_100, 10_000, form) as writer:
        for block in np.split(samples, [1, 5000, 5000]):
            writer.write(block)
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    info = probe(path)
    assert (info.rate, info.channels, info.container) == (44_100, 1, container.upper())
    assert info.subtype == ("FLOAT" if bits == "float" else f"PCM_{bits}")
    step = 0 if bits == "float" else 2.0 ** (1 - int(bits))
    np.testing.assert_allclose(read(path)[0], samples, rtol=0, atol=step)


def test_flac_has_no_float():
    with pytest.raises(TisdissError, match="flac cannot store float samples; choose 16 or 24"):
        OutputFormat("flac", "float")
    with pytest.raises(ValueError, match="bits must be one of"):
        OutputFormat("wav", "12")


def test_wav_over_4_gib_is_rf64(tmp_path, monkeypatch):
    hours = 3600 * 48_000
    assert OutputFormat("wav", "float").container_for(6 * hours) == "WAV"
    assert OutputFormat("wav", "float").container_for(7 * hours) == "RF64"
    assert OutputFormat("wav", "16").container_for(12 * hours) == "WAV"
    assert OutputFormat("flac", "16").container_for(99 * hours) == "FLAC"
    monkeypatch.setattr(espnet2_tisdiss.audio.writing, "WAV_LIMIT", 1000)
    samples = noise(300)
    with AudioWriter(tmp_path / "a.wav", 8000, 300, OutputFormat()) as writer:
        writer.write(samples)
    assert probe(tmp_path / "a.wav").container == "RF64"
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], samples)


@pytest.mark.parametrize("bits", ["16", "24"])
def test_nothing_is_clipped_silently(tmp_path, bits):
    path = tmp_path / "a.wav"
    loud = AudioWriter(path, 8000, 2, OutputFormat("wav", bits))
    with pytest.raises(AudioError, match="would be clipped"), loud as writer:
        writer.write(np.array([0.1, -1.01]))
    assert not list(tmp_path.iterdir())
    with AudioWriter(path, 8000, 2, OutputFormat("wav", "float")) as writer:
        writer.write(np.array([80.0, -80.0]))
    np.testing.assert_array_equal(read(path), [[80, -80]])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("container", ["wav", "flac"])
def test_interrupted_file_leaves_what_was_there(tmp_path, container, error):
    path, form = tmp_path / "a.wav", OutputFormat(container, "16")
    path.write_text("of an earlier run")
    with pytest.raises(error), AudioWriter(path, 8000, 20_000, form) as writer:
        writer.write(noise(10_000))
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    assert path.read_text() == "of an earlier run"


def test_file_with_samples_lacking_or_not_finite_is_not_kept(tmp_path):
    for samples, what in [(noise(99), "99 of 100 samples"), (np.full(100, np.nan), "not finite")]:
        unfinished = AudioWriter(tmp_path / "a.wav", 8000, 100, OutputFormat())
        with pytest.raises(AudioError, match=what), unfinished as writer:
            writer.write(samples)
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in [tmp_path / "file", tmp_path / "file" / "below", "/proc/nothing"]:
        for make in [
            lambda folder: AudioWriter(f"{folder}/a.wav", 8000, 1, OutputFormat()).__enter__(),
            lambda folder: Spool(folder, 2),
        ]:
            with pytest.raises(AudioError, match="cannot be written to") as caught:
                make(folder)
            assert str(caught.value).startswith(str(folder))


def test_name_that_no_file_can_have_is_found_before_the_work(tmp_path):
    (tmp_path / "a.wav").mkdir()
    for name in ["a.wav", "a" * 300 + ".wav"]:
        with pytest.raises(AudioError):
            AudioWriter(tmp_path / name, 8000, 1, OutputFormat()).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


FULL_DISK = """
import sys
import numpy as np
from espnet2_tisdiss.audio.spool import Spool
from espnet2_tisdiss.audio.writing import AudioWriter, OutputFormat
from espnet2_tisdiss.errors import AudioError

folder, kind = sys.argv[1:]
noise = np.random.uniform(-1, 1, 1000)
try:
    if kind == "spool":
        with Spool(folder, 1) as spool:
            for _ in range(200):
                spool.append(noise[None])
    else:
        with AudioWriter(f"{folder}/a.wav", 8000, 200_000, OutputFormat(kind, "16")) as writer:
            for _ in range(200):
                writer.write(noise)
except AudioError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.promise("disk-full")
@pytest.mark.parametrize("kind", ["wav", "flac", "spool"])
def test_full_disk(tmp_path, kind):
    # a limit on the size of files fails as a full disk does, at a write in the middle
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path, kind],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
    )
    (line,) = [line for line in result.stderr.splitlines() if "refused" in line]
    assert str(tmp_path) in line and "Traceback" not in result.stderr
    assert result.returncode == 1
    assert not list(tmp_path.iterdir())


# spool


def test_spool_gives_back_what_was_appended(tmp_path):
    samples = noise(3, 10_000)
    with Spool(tmp_path, 3) as spool:
        for block in np.split(samples, [1, 1, 700], axis=1):
            spool.append(block)
        assert spool.frames == 10_000
        for length in [999, 2**20]:
            blocks = list(spool.blocks(length))
            assert max(block.shape[1] for block in blocks) <= length
            np.testing.assert_array_equal(np.concatenate(blocks, axis=1), samples)
        # read half, append, read again
        next(spool.blocks(10))
        spool.append(samples)
        np.testing.assert_array_equal(
            np.concatenate(list(spool.blocks()), axis=1), np.hstack([samples, samples])
        )
    assert not list(tmp_path.iterdir())


def test_spool_takes_its_rows_alone(tmp_path):
    with Spool(tmp_path, 2) as spool, pytest.raises(ValueError, match="2 rows"):
        spool.append(noise(1, 1000))


def test_spool_is_gone_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), Spool(tmp_path, 1) as spool:
        spool.append(noise(1, 100))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_memory_is_bounded_by_the_block(tmp_path):
    minutes = 5 * 60 * 16_000
    soundfile.write(tmp_path / "a.wav", np.zeros(minutes, np.float32), 16_000, "FLOAT")
    resampler = Resampler(16_000, 8000)
    tracemalloc.start()
    with Spool(tmp_path, 1) as spool:
        for block in read_blocks(tmp_path / "a.wav"):
            spool.append(resampler.push(block))
        spool.append(resampler.finish())
        with AudioWriter(tmp_path / "b.wav", 8000, spool.frames, OutputFormat()) as writer:
            for block in spool.blocks():
                writer.write(block[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spool.frames == minutes // 2
    assert peak < 8 * 5 * 16_000 * 4  # bytes; a few blocks of 5 s, where the file has 60
