"""Separating files: outputs equal the model's estimates; a failing file does not stop others."""

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.audio.decoders import SndfileDecoder
from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.audio.writing import OutputFormat
from espnet2_tisdiss.separate.files import separate_files
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.separate.options import FileOptions

RATE = 8000
IN_CHUNKS = {"chunk_seconds": 1.0, "overlap_seconds": 0.25}


@pytest.fixture
def model(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


@pytest.fixture
def record(tmp_path):
    """Return a function that writes noise to a file and returns the item of separating it."""

    def write(name="a", length=RATE, rate=RATE, channels=1, subtype="FLOAT", gain=0.1):
        path = tmp_path / "in" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        shape = (length, channels) if channels > 1 else length
        soundfile.write(path, gain * np.random.randn(*np.atleast_1d(shape)), rate, subtype)
        return InputFile(path, tmp_path / "out", name)

    return write


def options(n_re=(2,), **kwargs):
    return FileOptions(n_re, **IN_CHUNKS, **kwargs)


def read(path):
    return soundfile.read(path, dtype="float32")[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scale", ["estimate", "peak", "level", "mixture"])
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_files_are_what_the_model_gives(model, record, rate, scale):
    item = record(length=3 * rate + 1, rate=rate, channels=2)
    (result,) = separate_files(model, [item], options(scale=scale))
    expected = model.recording(read(item.source), rate, scale=scale, **IN_CHUNKS)
    assert [path.name for path in result.outputs] == ["a_spk1.wav", "a_spk2.wav"]
    for path, samples in zip(result.outputs, expected, strict=True):
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.subtype) == (rate, 3 * rate + 1, "FLOAT")
        same(read(path), samples)
    assert (result.status, result.rate, result.channels) == ("done", rate, 2)
    assert result.n_re == [2] * 4 and result.seconds == 3 + 1 / rate
    assert result.peak == pytest.approx(np.abs(expected).max())


def test_sum_to_the_mixture(model, record):
    item = record(length=3 * RATE)
    (result,) = separate_files(model, [item], options(scale="mixture"))
    mixture = without_rumble(read(item.source), result.rate)
    np.testing.assert_allclose(sum(map(read, result.outputs)), mixture, atol=1e-6)


def test_integer_formats_are_turned_down_to_fit(model, record):
    item = record(gain=100)
    expected = model.recording(read(item.source), RATE)
    gain = min(1, (1 - 2**-15) / np.abs(expected).max())
    assert gain < 0.5  # or nothing would be turned down
    for container, bits in (("wav", "16"), ("flac", "16"), ("flac", "24")):
        output = OutputFormat(container, bits)
        (result,) = separate_files(model, [item], options(output=output, existing="overwrite"))
        assert result.gain == pytest.approx(gain)
        step = 2.0 ** (1 - int(bits))
        for path, samples in zip(result.outputs, expected, strict=True):
            assert path.suffix == f".{container}"
            np.testing.assert_allclose(read(path), gain * samples, rtol=0, atol=step)


def test_a_recording_is_turned_down_as_one(model, record):
    # the balance between channels and depths stays
    item = record(gain=100, channels=2)
    samples = read(item.source) * (1, 0.1)
    soundfile.write(item.source, samples, RATE, "FLOAT")
    options_16 = options((1, 3), channel="each", output=OutputFormat("wav", "16"))
    (result,) = separate_files(model, [item], options_16)
    expected = np.concatenate(
        [
            model.recording(channel, RATE, n_re=n_re)
            for channel in samples.astype(np.float32).T
            for n_re in (1, 3)
        ]
    )
    gain = (1 - 2**-15) / np.abs(expected).max()
    assert result.gain == pytest.approx(gain) and gain < 0.5
    for path, wave in zip(result.outputs, expected, strict=True):
        np.testing.assert_allclose(read(path), gain * wave, rtol=0, atol=2.0**-15)


def test_each_channel_at_each_depth(model, record):
    item = record(channels=2)
    (result,) = separate_files(model, [item], options((3, 1), channel="each"))
    marks = [f"ch{c}_re{n}_spk{j}" for c in (1, 2) for n in (1, 3) for j in (1, 2)]
    assert [path.name for path in result.outputs] == [f"a_{mark}.wav" for mark in marks]
    expected = [
        wave
        for channel in read(item.source).T
        for n_re in (1, 3)
        for wave in model.recording(channel, RATE, n_re=n_re)
    ]
    for path, samples in zip(result.outputs, expected, strict=True):
        same(read(path), samples)
    assert (result.channels, result.separated_channels, result.n_re) == (2, 2, [3, 3])


def test_stops_by_itself(model, record):
    # any change is small against +200 dB: two repetitions
    chosen = FileOptions(6, stop_db=200.0)
    (result,) = separate_files(model, [record()], chosen)
    assert result.n_re == [2]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_fails_fails_alone(model, record, tmp_path, batch_size):
    inputs = [record(name, length) for name, length in (("a", 7000), ("b", 20000), ("c", 500))]
    broken = tmp_path / "in" / "broken.wav"
    samples = np.zeros(3 * RATE, np.float32)
    samples[2 * RATE] = np.nan  # a chunk before it is separated
    soundfile.write(broken, samples, RATE, "FLOAT")
    inputs[1:1] = [InputFile(broken, tmp_path / "out", "broken")]
    inputs[2:2] = [InputFile(tmp_path / "in" / "none.wav", tmp_path / "out", "none")]
    inputs[3:3] = [record("loud", gain=1e37)]
    told = []
    results = list(
        separate_files(model, inputs, options(batch_size=batch_size), on_progress=told.append)
    )
    assert [result.source for result in results] == [item.source for item in inputs]
    states = [result.status for result in results]
    assert states == ["done", "failed", "failed", "failed", "done", "done"]
    reasons = [result.reason for result in results if result.status == "failed"]
    for reason, item, text in zip(
        reasons,
        inputs[1:4],
        ("at 2.000 s is not a finite", "no such file", "not finite"),
        strict=True,
    ):
        assert reason.startswith(f"{item.source}: ") and text in reason and "\n" not in reason
    assert names(tmp_path / "out") == [f"{name}_spk{j}.wav" for name in "abc" for j in (1, 2)]
    for result in results:
        if result.status == "done":
            expected = model.recording(read(result.source), RATE, **IN_CHUNKS)
            same([read(path) for path in result.outputs], expected)
    # failed files count as done for the progress, if their length is known
    assert sum(told) == pytest.approx(sum(result.seconds for result in results))


def test_batches_are_full(model, record, monkeypatch):
    sizes = []
    depths = model.depths

    def noted(waves, n_re, scale):
        sizes.append(len(waves))
        return depths(waves, n_re, scale)

    monkeypatch.setattr(model, "depths", noted)
    inputs = [record(str(index), 400) for index in range(7)]
    inputs[3].source.write_text("no audio")
    results = list(separate_files(model, inputs, options(batch_size=4)))
    assert sizes == [4, 2]
    assert [result.status for result in results].count("done") == 6


def test_samples_that_no_resampling_holds_fail_alone(model, record, tmp_path):
    loud, good = record("loud", 4000), record("good", 4000)
    square = np.float32(3.3e38) * np.where(np.arange(8000) // 50 % 2, 1, -1).astype(np.float32)
    soundfile.write(loud.source, square, 2 * RATE, "FLOAT")
    results = list(separate_files(model, [loud, good], options(batch_size=4)))
    assert [result.status for result in results] == ["failed", "done"]
    assert results[0].reason.startswith(f"{loud.source}: the samples are too large to resample")


@pytest.mark.parametrize("error", [RuntimeError("no memory\nat all"), MemoryError()])
def test_model_that_fails_is_told(model, record, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(model, "depths", fail)
    results = list(separate_files(model, [record("a"), record("b")], options()))
    for result in results:
        assert result.status == "failed" and "); shorter chunks" in result.reason
    assert names(tmp_path / "out") == []


def test_what_is_there(model, record, tmp_path):
    inputs = [record("a"), record("b")]
    for result in separate_files(model, inputs, options()):
        assert result.status == "done"
    other = tmp_path / "out" / "a_spk2.wav"
    other.write_text("not to be lost")

    (result,) = separate_files(model, inputs[:1], options())
    assert result.status == "failed" and "a_spk1.wav: exists already" in result.reason
    (result,) = separate_files(model, inputs[:1], options(existing="skip"))
    assert (result.status, result.outputs[1]) == ("skipped", other)
    assert other.read_text() == "not to be lost"

    (tmp_path / "out" / "a_spk1.wav").unlink()  # as after an interruption: half of a set
    results = list(separate_files(model, inputs, options(existing="skip")))
    assert [result.status for result in results] == ["done", "skipped"]
    expected = model.recording(read(inputs[0].source), RATE)
    same([read(path) for path in results[0].outputs], expected)

    other.write_text("to be replaced")
    (result,) = separate_files(model, inputs[:1], options(existing="overwrite"))
    same(read(other), expected[1])


def test_impossible_names_are_refused_before_the_work(model, record, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "depths", None)  # is not called
    long, taken, below = record("x" * 247), record("taken"), record("below")
    (tmp_path / "out" / "taken_spk2.wav").mkdir(parents=True)
    (tmp_path / "file").touch()
    below = InputFile(below.source, tmp_path / "file" / "out", "below")
    inputs = [long, taken, below]
    for existing in ("refuse", "skip", "overwrite"):
        results = list(separate_files(model, inputs, options(existing=existing)))
        for result, text in zip(
            results, ("name too long", "spk2.wav: is a folder", "Not a directory"), strict=True
        ):
            assert result.status == "failed" and text in result.reason
    assert names(tmp_path / "out") == ["taken_spk2.wav"]


def test_stopped_early_leaves_whole_files_only(model, record, tmp_path):
    inputs = [record("a"), record("b", 20 * RATE), record("c")]
    results = separate_files(model, inputs, options(batch_size=2))
    assert next(results).source == inputs[0].source
    results.close()
    assert names(tmp_path / "out") == ["a_spk1.wav", "a_spk2.wav"]


@pytest.mark.parametrize(
    ("pattern", "channel", "several", "expected"),
    [
        (None, "mean", False, "{name}_spk{speaker}"),
        (None, "each", True, "{name}_ch{channel}_re{n_re}_spk{speaker}"),
        ("s{speaker}/{name}{name}", "left", False, "s{speaker}/{name}{name}"),
        ("{n_re}{{{name}}}{speaker}", "mean", False, "{n_re}{{{name}}}{speaker}"),
    ],
)
def test_patterns(pattern, channel, several, expected):
    n_re = (1, 2) if several else 1
    assert FileOptions(n_re, channel=channel, pattern=pattern).file_names == expected


@pytest.mark.parametrize(
    "pattern", ["{name}", "{speaker}", "{name}_{speaker:02d}", "{name!r}{speaker}", "{0}{name}"]
    + ["{name.stem}{speaker}", "{name}{speaker}{", "{name}{speaker}{other}", "{{name}}{speaker}"],
)  # fmt: skip
def test_patterns_that_would_not_do(pattern):
    with pytest.raises(TisdissError, match=r"must hold \{name\}, \{speaker\} as they are"):
        FileOptions(pattern=pattern)
    with pytest.raises(TisdissError, match=r"\{name\}, \{channel\}, \{n_re\}, \{speaker\}"):
        FileOptions(channel="each", all_depths=True, pattern="{name}{speaker}")


def test_a_pattern_makes_folders(model, record, tmp_path):
    (result,) = separate_files(model, [record()], options(pattern="{name}/{n_re}-{speaker}"))
    assert result.outputs == [tmp_path / "out" / "a" / f"2-{j}.wav" for j in (1, 2)]
    assert all(soundfile.info(path).frames == RATE for path in result.outputs)


@pytest.mark.promise("interrupted")
@pytest.mark.parametrize("cause", ["failed", "left"])
def test_an_interruption_while_an_unread_file_is_closed_is_not_lost(
    model, record, monkeypatch, cause
):
    def on_progress(seconds):
        def close(decoder):
            raise KeyboardInterrupt

        monkeypatch.setattr(SndfileDecoder, "close", close)  # when the file is open
        raise TisdissError("failed") if cause == "failed" else RuntimeError

    results = separate_files(model, [record(length=20 * RATE)], options(), on_progress=on_progress)
    with pytest.raises(KeyboardInterrupt):
        next(results)
