"""Files through a model: what is written equals what the model gives; what fails, fails alone."""

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.audio.writing import OutputFormat
from espnet2_tisdiss.separate.chunking import Chunking
from espnet2_tisdiss.separate.files import Options, Task, full_pattern, separate_files
from espnet2_tisdiss.separate.recordings import Depths

RATE = 8000
IN_CHUNKS = {"chunk_seconds": 1.0, "overlap_seconds": 0.25}


@pytest.fixture
def model(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


@pytest.fixture
def record(tmp_path):
    """Return a function that writes noise to a file and returns the task of separating it."""

    def write(name="a", length=RATE, rate=RATE, channels=1, subtype="FLOAT", gain=0.1):
        path = tmp_path / "in" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        shape = (length, channels) if channels > 1 else length
        soundfile.write(path, gain * np.random.randn(*np.atleast_1d(shape)), rate, subtype)
        return Task(path, tmp_path / "out", name)

    return write


def options(n_re=(2,), **kwargs):
    return Options(Depths(n_re), Chunking.in_seconds(RATE, 1.0, 0.25), **kwargs)


def read(path):
    return soundfile.read(path, dtype="float32")[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scale", ["estimate", "peak", "level", "mixture"])
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_files_are_what_the_model_gives(model, record, rate, scale):
    task = record(length=3 * rate + 1, rate=rate, channels=2)
    (outcome,) = separate_files(model, [task], options(scale=scale))
    expected = model.recording(read(task.source), rate, scale=scale, **IN_CHUNKS)
    assert [path.name for path in outcome.outputs] == ["a_spk1.wav", "a_spk2.wav"]
    for path, samples in zip(outcome.outputs, expected, strict=True):
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.subtype) == (rate, 3 * rate + 1, "FLOAT")
        same(read(path), samples)
    assert (outcome.status, outcome.rate, outcome.channels) == ("done", rate, 2)
    assert outcome.n_re == [2] * 4 and outcome.seconds == 3 + 1 / rate
    assert outcome.peak == pytest.approx(np.abs(expected).max())


def test_sum_to_the_mixture(model, record):
    task = record(length=3 * RATE)
    (outcome,) = separate_files(model, [task], options(scale="mixture"))
    mixture = without_rumble(read(task.source), outcome.rate)
    np.testing.assert_allclose(sum(map(read, outcome.outputs)), mixture, atol=1e-6)


def test_integer_formats_are_turned_down_to_fit(model, record):
    task = record(gain=100)
    expected = model.recording(read(task.source), RATE)
    gain = min(1, (1 - 2**-15) / np.abs(expected).max())
    assert gain < 0.5  # or nothing would be turned down
    for container, bits in (("wav", "16"), ("flac", "16"), ("flac", "24")):
        output = OutputFormat(container, bits)
        (outcome,) = separate_files(model, [task], options(output=output, existing="overwrite"))
        assert outcome.gain == pytest.approx(gain)
        step = 2.0 ** (1 - int(bits))
        for path, samples in zip(outcome.outputs, expected, strict=True):
            assert path.suffix == f".{container}"
            np.testing.assert_allclose(read(path), gain * samples, rtol=0, atol=step)


def test_a_recording_is_turned_down_as_one(model, record):
    # channels and depths stay as loud beside each other
    task = record(gain=100, channels=2)
    samples = read(task.source) * (1, 0.1)
    soundfile.write(task.source, samples, RATE, "FLOAT")
    options_16 = options((1, 3), channel="each", output=OutputFormat("wav", "16"))
    (outcome,) = separate_files(model, [task], options_16)
    expected = np.concatenate(
        [
            model.recording(channel, RATE, n_re=n_re)
            for channel in samples.astype(np.float32).T
            for n_re in (1, 3)
        ]
    )
    gain = (1 - 2**-15) / np.abs(expected).max()
    assert outcome.gain == pytest.approx(gain) and gain < 0.5
    for path, wave in zip(outcome.outputs, expected, strict=True):
        np.testing.assert_allclose(read(path), gain * wave, rtol=0, atol=2.0**-15)


def test_each_channel_at_each_depth(model, record):
    task = record(channels=2)
    (outcome,) = separate_files(model, [task], options((3, 1), channel="each"))
    marks = [f"ch{c}_re{n}_spk{j}" for c in (1, 2) for n in (1, 3) for j in (1, 2)]
    assert [path.name for path in outcome.outputs] == [f"a_{mark}.wav" for mark in marks]
    expected = [
        wave
        for channel in read(task.source).T
        for n_re in (1, 3)
        for wave in model.recording(channel, RATE, n_re=n_re)
    ]
    for path, samples in zip(outcome.outputs, expected, strict=True):
        same(read(path), samples)
    assert (outcome.channels, outcome.separated_channels, outcome.n_re) == (2, 2, [3, 3])


def test_stops_by_itself(model, record):
    # any change is small against +200 dB: two repetitions
    chosen = Options(Depths((6,), stop_db=200.0), Chunking.in_seconds(RATE))
    (outcome,) = separate_files(model, [record()], chosen)
    assert outcome.n_re == [2]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_fails_fails_alone(model, record, tmp_path, batch_size):
    tasks = [record(name, length) for name, length in (("a", 7000), ("b", 20000), ("c", 500))]
    broken = tmp_path / "in" / "broken.wav"
    samples = np.zeros(3 * RATE, np.float32)
    samples[2 * RATE] = np.nan  # a chunk before it is separated
    soundfile.write(broken, samples, RATE, "FLOAT")
    tasks[1:1] = [Task(broken, tmp_path / "out", "broken")]
    tasks[2:2] = [Task(tmp_path / "in" / "none.wav", tmp_path / "out", "none")]
    tasks[3:3] = [record("loud", gain=1e37)]
    told = []
    outcomes = list(separate_files(model, tasks, options(batch_size=batch_size), told.append))
    assert [outcome.source for outcome in outcomes] == [task.source for task in tasks]
    states = [outcome.status for outcome in outcomes]
    assert states == ["done", "failed", "failed", "failed", "done", "done"]
    reasons = [outcome.reason for outcome in outcomes if outcome.status == "failed"]
    for reason, task, text in zip(
        reasons,
        tasks[1:4],
        ("at 2.000 s is not a finite", "no such file", "not finite"),
        strict=True,
    ):
        assert reason.startswith(f"{task.source}: ") and text in reason and "\n" not in reason
    assert names(tmp_path / "out") == [f"{name}_spk{j}.wav" for name in "abc" for j in (1, 2)]
    for outcome in outcomes:
        if outcome.status == "done":
            expected = model.recording(read(outcome.source), RATE, **IN_CHUNKS)
            same([read(path) for path in outcome.outputs], expected)
    # what failed counts as done for the progress, as far as its length is known
    assert sum(told) == pytest.approx(sum(outcome.seconds for outcome in outcomes))


def test_batches_are_full(model, record, monkeypatch):
    sizes = []
    depths = model.depths

    def noted(waves, n_re, scale):
        sizes.append(len(waves))
        return depths(waves, n_re, scale)

    monkeypatch.setattr(model, "depths", noted)
    tasks = [record(str(index), 400) for index in range(7)]
    tasks[3].source.write_text("no audio")
    outcomes = list(separate_files(model, tasks, options(batch_size=4)))
    assert sizes == [4, 2]
    assert [outcome.status for outcome in outcomes].count("done") == 6


def test_samples_that_no_resampling_holds_fail_alone(model, record, tmp_path):
    loud, good = record("loud", 4000), record("good", 4000)
    square = np.float32(3.3e38) * np.where(np.arange(8000) // 50 % 2, 1, -1).astype(np.float32)
    soundfile.write(loud.source, square, 2 * RATE, "FLOAT")
    outcomes = list(separate_files(model, [loud, good], options(batch_size=4)))
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert outcomes[0].reason.startswith(f"{loud.source}: the samples are too large to resample")


@pytest.mark.parametrize("error", [RuntimeError("no memory\nat all"), MemoryError()])
def test_model_that_fails_is_told(model, record, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(model, "depths", fail)
    outcomes = list(separate_files(model, [record("a"), record("b")], options()))
    for outcome in outcomes:
        assert outcome.status == "failed" and "); shorter chunks" in outcome.reason
    assert names(tmp_path / "out") == []


def test_what_is_there(model, record, tmp_path):
    tasks = [record("a"), record("b")]
    for outcome in separate_files(model, tasks, options()):
        assert outcome.status == "done"
    other = tmp_path / "out" / "a_spk2.wav"
    other.write_text("not to be lost")

    (outcome,) = separate_files(model, tasks[:1], options())
    assert outcome.status == "failed" and "a_spk1.wav: exists already" in outcome.reason
    (outcome,) = separate_files(model, tasks[:1], options(existing="skip"))
    assert (outcome.status, outcome.outputs[1]) == ("skipped", other)
    assert other.read_text() == "not to be lost"

    (tmp_path / "out" / "a_spk1.wav").unlink()  # as after an interruption: half of a set
    outcomes = list(separate_files(model, tasks, options(existing="skip")))
    assert [outcome.status for outcome in outcomes] == ["done", "skipped"]
    expected = model.recording(read(tasks[0].source), RATE)
    same([read(path) for path in outcomes[0].outputs], expected)

    other.write_text("to be replaced")
    (outcome,) = separate_files(model, tasks[:1], options(existing="overwrite"))
    same(read(other), expected[1])


def test_impossible_names_are_refused_before_the_work(model, record, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "depths", None)  # is not called
    long, taken, below = record("x" * 247), record("taken"), record("below")
    (tmp_path / "out" / "taken_spk2.wav").mkdir(parents=True)
    (tmp_path / "file").touch()
    below = Task(below.source, tmp_path / "file" / "out", "below")
    tasks = [long, taken, below]
    for existing in ("refuse", "skip", "overwrite"):
        outcomes = list(separate_files(model, tasks, options(existing=existing)))
        for outcome, text in zip(
            outcomes, ("name too long", "spk2.wav: is a folder", "Not a directory"), strict=True
        ):
            assert outcome.status == "failed" and text in outcome.reason
    assert names(tmp_path / "out") == ["taken_spk2.wav"]


def test_stopped_early_leaves_whole_files_only(model, record, tmp_path):
    tasks = [record("a"), record("b", 20 * RATE), record("c")]
    outcomes = separate_files(model, tasks, options(batch_size=2))
    assert next(outcomes).source == tasks[0].source
    outcomes.close()
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
    assert full_pattern(pattern, channel, several) == expected


@pytest.mark.parametrize(
    "pattern", ["{name}", "{speaker}", "{name}_{speaker:02d}", "{name!r}{speaker}", "{0}{name}"]
    + ["{name.stem}{speaker}", "{name}{speaker}{", "{name}{speaker}{other}", "{{name}}{speaker}"],
)  # fmt: skip
def test_patterns_that_would_not_do(pattern):
    with pytest.raises(TisdissError, match=r"must hold \{name\}, \{speaker\} as they are"):
        full_pattern(pattern, "mean", False)
    with pytest.raises(TisdissError, match=r"\{name\}, \{channel\}, \{n_re\}, \{speaker\}"):
        full_pattern("{name}{speaker}", "each", True)


def test_a_pattern_makes_folders(model, record, tmp_path):
    (outcome,) = separate_files(model, [record()], options(pattern="{name}/{n_re}-{speaker}"))
    assert outcome.outputs == [tmp_path / "out" / "a" / f"2-{j}.wav" for j in (1, 2)]
    assert all(soundfile.info(path).frames == RATE for path in outcome.outputs)
