"""``tisdiss separate`` as used by users and programs."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from models import TINY
from typer.testing import CliRunner

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.cli import console
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.cli.backends import ModelSource
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, TRAINED_ON, example
from espnet2_tisdiss.separate.options import FileOptions

RATE = 8000
PROGRAM = [sys.executable, "-c", "from espnet2_tisdiss.cli.app import main; main()", "separate"]


@pytest.fixture
def model(espnet_model, tmp_path, monkeypatch) -> SeparateSpeech:
    """Make a model that the commands of the test load by default."""
    _, config, weights = espnet_model()
    monkeypatch.setenv("TISDISS_MODEL", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return SeparateSpeech(config, weights)


def write(path, samples, rate=RATE, subtype=None):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype)


def noise(length, channels=None):
    shape = length if channels is None else (length, channels)
    return 0.1 * np.random.randn(*np.atleast_1d(shape))


def read(path):
    return soundfile.read(path, dtype="float32")[0]


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def separate(monkeypatch):
    """Return a function that runs the command in this process: exit code, stdout, stderr."""

    def run(*args, stdin=None):
        lines = io.StringIO()
        monkeypatch.setattr(console.messages, "file", lines)
        done = CliRunner(env={"COLUMNS": "200"}).invoke(
            app, ["separate", *map(str, args)], input=stdin
        )
        if isinstance(done.exception, TisdissError):
            raise done.exception
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, lines.getvalue()

    return run


def test_a_folder_of_good_and_bad_files(model, tmp_path):
    """Run once over everything; only once, because each run loads the model."""
    good = {  # name: (samples, rate, sample format)
        "plain.wav": (noise(9000), RATE, "PCM_16"),
        "sub/deep/späß 日本.flac": (noise(700), RATE, "PCM_24"),
        'sp ace\'s "q".wav': (noise(100), RATE, "PCM_16"),
        "[1].wav": (noise(100), RATE, "PCM_16"),
        "-dash.wav": (noise(100), RATE, "PCM_16"),
        "new\nline.wav": (noise(100), RATE, "PCM_16"),
        "x" * 246 + ".wav": (noise(100), RATE, "PCM_16"),
        "eight.wav": (noise(500, 8), RATE, "PCM_16"),
        "u8.wav": (noise(500), RATE, "PCM_U8"),
        "cut.wav": (noise(9000), RATE, "PCM_16"),
        "float.wav": (30 * noise(500), RATE, "FLOAT"),
        "r11025.wav": (noise(500), 11025, "PCM_16"),
        "r96000.wav": (noise(5000), 96000, "PCM_24"),
        "silence.wav": (np.zeros(500), RATE, "PCM_16"),
        "one.wav": (noise(1), RATE, "PCM_16"),
    }
    for name, (samples, rate, subtype) in good.items():
        write(f"in/{name}", samples, rate, subtype)
    cut = Path("in/cut.wav")
    cut.write_bytes(cut.read_bytes()[: 44 + 2 * 2478])
    bad = {
        "text.wav": (b"no audio", "not a readable audio file"),
        "empty.wav": (b"", "is empty"),
    }
    for name, (content, _) in bad.items():
        Path("in", name).write_bytes(content)
    write("in/zero.wav", noise(0))
    write("in/nan.wav", [0.1, np.nan], subtype="FLOAT")
    write("in/" + "y" * 247 + ".wav", noise(100))
    reasons = {name: reason for name, (_, reason) in bad.items()} | {
        "zero.wav": "holds no samples",
        "nan.wav": "not a finite number",
        "y" * 247 + ".wav": "name too long",
    }

    args = ["in", "-o", "in/out", "--json", "--batch", "4", "--scale", "peak"]
    run = subprocess.run([*PROGRAM, *args], capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    report = json.loads(run.stdout)
    assert (
        report["summary"].items()
        >= {
            "done": len(good),
            "failed": len(reasons),
            "skipped": 0,
            "n_re": [2],
            "interrupted": False,
        }.items()
    )
    files = {str(Path(file["source"]).relative_to("in")): file for file in report["files"]}
    assert files.keys() == good.keys() | reasons.keys()
    lines = run.stderr.splitlines()
    assert len(lines) == len(files)  # nothing else is printed, and each message is one line
    for name, reason in reasons.items():
        assert files[name]["status"] == "failed" and reason in files[name]["reason"].lower()
        (line,) = (line for line in lines if line.startswith(f"failed: in/{name}: "))
        assert reason in line.lower()
    assert "in/new\\nline.wav -> in/out/new\\nline_spk1.wav and 1 more" in run.stderr
    assert "mean of 8 channels" in run.stderr
    (lost,) = files["cut.wav"]["notices"]
    assert lost == "truncated: only 5000 of 18044 bytes found, 0.310 of 1.125 s"
    assert f"0.3 s, {lost}, N_re 2" in run.stderr
    assert "resampled from 96000 to 8000 Hz and back, nothing above 4 kHz" in run.stderr
    for name, (_, rate, _) in good.items():
        outputs = [Path(path) for path in files[name]["outputs"]]
        stem, folder = Path(name).stem, Path("in/out", name).parent
        assert outputs == [folder / f"{stem}_spk{j}.wav" for j in (1, 2)]
        expected = model.recording(read(Path("in", name)), rate, scale="peak")
        for path, samples in zip(outputs, expected, strict=True):
            assert soundfile.info(path).samplerate == rate
            np.testing.assert_allclose(read(path), samples, rtol=0, atol=1e-4)
    written = {path for path in Path("in/out").rglob("*") if path.is_file()}
    assert written == {Path(path) for file in files.values() for path in file["outputs"]}


def test_without_a_model_it_is_the_packages(separate, tmp_path, monkeypatch):
    monkeypatch.delenv("TISDISS_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    mixture = example() / "mix/two_voices.wav"
    code, _, lines = separate(mixture, "--scale", "mixture", "--n-re", "2")
    assert code == 0
    expected = f"model: {DEFAULT_MODEL}, which comes with the package; trained on "
    assert lines.splitlines()[0].startswith(expected + TRAINED_ON[DEFAULT_MODEL])
    rate = soundfile.info(mixture).samplerate
    model = SeparateSpeech.from_pretrained(dtype="auto")
    expected = model.recording(read(mixture), rate, n_re=2, scale="mixture")
    for speaker, wave in enumerate(expected, start=1):
        np.testing.assert_allclose(
            read(f"separated/two_voices_spk{speaker}.wav"), wave, rtol=0, atol=1e-5
        )


def test_summary_and_lines_for_people(model, separate):
    write("a.wav", noise(800, 2))
    write("b.wav", noise(800), 16000)
    code, out, lines = separate("a.wav", "b.wav", "none.wav", "--channel", "right")
    assert code == 1
    assert lines.splitlines()[:3] == [
        "a.wav -> separated/a_spk1.wav and 1 more: 0.1 s, N_re 2, right of 2 channels",
        "b.wav -> separated/b_spk1.wav and 1 more: 0.1 s, N_re 2, resampled from 16000 to 8000 Hz "
        "and back, nothing above 4 kHz",
        "failed: none.wav: no such file; check its name",
    ]
    header, row = (line.replace("┃", "│").split("│") for line in out.splitlines()[1:4:2])
    table = {key.strip(): value.strip() for key, value in zip(header, row, strict=True)}
    assert table.items() >= {"done": "2", "skipped": "0", "failed": "1", "N_re": "2"}.items()
    code, out, lines = separate("a.wav", "b.wav", "--skip-existing")
    assert (code, lines) == (
        0,
        "skipped: a.wav: separated/a_spk1.wav exists, made with channel right, not mean; "
        "--overwrite makes it again\n"
        "skipped: b.wav: separated/b_spk1.wav exists\n",
    )


def test_loud_estimates_are_reported(model, separate):
    write("a.wav", 1000 * noise(800), subtype="FLOAT")
    _, _, lines = separate("a.wav", "--scale", "estimate")
    assert "dB over full scale\n" in lines and "to listen: --scale level, or peak" in lines
    peak = max(np.abs(read(path)).max() for path in Path("separated").iterdir())
    _, out, _ = separate("a.wav", "--scale", "estimate", "--bits", "16", "--overwrite", "--json")
    assert json.loads(out)["files"][0]["gain"] == pytest.approx((1 - 2**-15) / peak)
    _, _, lines = separate("a.wav", "--scale", "estimate", "--bits", "24", "--overwrite")
    assert f"turned down by {20 * np.log10(peak):.1f} dB to avoid clipping" in lines
    assert "to listen" not in lines


@pytest.mark.parametrize(
    ("args", "expected", "n_re"),
    [
        (["--n-re", "3,1"], ["a_re1_spk1", "a_re1_spk2", "a_re3_spk1", "a_re3_spk2"], [1, 3]),
        (["--all-depths", "--n-re", "1"], ["a_re1_spk1", "a_re1_spk2"], [1]),
        (["--all-depths", "--format", "flac"], ["a_re1_spk1", "a_re1_spk2", "a_re2_spk1"], [1, 2]),
        (["--stop-db", "200", "--n-re", "5"], ["a_spk1", "a_spk2"], [5]),
        (["--rtf", "1e6"], ["a_spk1", "a_spk2"], [3]),  # a third beyond the training's 2
        (["--rtf", "1e6", "--n-re", "1"], ["a_spk1", "a_spk2"], [1]),
        (["--seconds", "1e6", "--n-re", "4"], ["a_spk1", "a_spk2"], [4]),
        (["--pattern", "{speaker}/{name}"], [], [2]),
    ],
)
def test_depth_options(model, separate, args, expected, n_re):
    write("a.wav", noise(800))
    code, out, _ = separate("a.wav", "--json", *args)
    report = json.loads(out)
    assert (code, report["summary"]["n_re"]) == (0, n_re)
    stems = [Path(path).stem for path in report["files"][0]["outputs"]]
    assert stems[: len(expected)] == expected
    depth = 2 if "--stop-db" in args else max(n_re)
    assert report["files"][0]["n_re"] == [depth]
    found = [read(path) for path in report["files"][0]["outputs"][-2:]]
    same = model.recording(read("a.wav"), RATE, n_re=depth, scale="level")
    if "flac" not in args:
        np.testing.assert_allclose(found, same, rtol=0, atol=1e-5 * np.abs(same).max())


def test_a_threshold_that_stops_nothing_is_reported(model, separate):
    write("a.wav", noise(800))
    for stop_db, is_reported in (("-200", True), ("200", False)):
        code, out, err = separate("a.wav", "--n-re", "3", "--stop-db", stop_db, "--overwrite")
        assert code == 0
        message = f'--stop-db {stop_db} stopped no chunk before N_re 3; the column "change"'
        assert (message in " ".join((out + err).split())) == is_reported


def test_a_time_is_reported_beside_what_was_allowed(model, separate):
    write("a.wav", noise(20000))  # 2.5 s in three chunks of 1 s
    chunked = ["--chunk", "1", "--overwrite"]
    _, out, lines = separate("a.wav", *chunked, "--rtf", "1e-9")
    assert re.search(r"a_spk1.wav and 1 more: 2.5 s, .*N_re 1$", lines, re.MULTILINE)
    reached = "with one repetition; a smaller model or faster device is needed\n"
    assert re.search(rf"^RTF [0-9.e-]+, --rtf 1e-09: not reached {reached}", lines, re.MULTILINE)
    _, out, lines = separate("a.wav", *chunked, "--seconds", "1e6")
    assert re.search("2.5 s, .*N_re 3$", lines, re.MULTILINE)
    assert re.search(r"^[0-9.e-]+ s, --seconds 1e\+06$", lines, re.MULTILINE)
    _, out, _ = separate("a.wav", *chunked, "--rtf", "0", "--jobs", "2", "--json")
    (file,) = json.loads(out)["files"]
    assert (file["n_re"], file["chunks"]) == ([1], {"1": 3})


def test_jobs_without_work_take_no_threads(model, separate, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name in "ab":
        write(f"{name}.wav", noise(800))
    separate("b.wav")
    shares = []
    monkeypatch.setattr(ModelSource, "share_of_threads", lambda _, jobs: shares.append(jobs))
    code, out, _ = separate("a.wav", "b.wav", "--jobs", "4", "--skip-existing", "--json")
    assert (code, shares) == (0, [])  # one process does the rest
    assert [file["status"] for file in json.loads(out)["files"]] == ["done", "skipped"]


def test_a_budget_counts_what_is_left_to_do(model, separate, monkeypatch):
    for name in "abcd":
        write(f"{name}.wav", noise(8000))
        if name != "a":
            write(f"separated/{name}_spk1.wav", noise(10))
            write(f"separated/{name}_spk2.wav", noise(10))
    given, budget = [], FileOptions.budget

    def noted(options, durations, *more):
        given.append(durations)
        return budget(options, durations, *more)

    monkeypatch.setattr(FileOptions, "budget", noted)
    for existing in (["--skip-existing"], ["--overwrite"]):
        separate("a.wav", "b.wav", "c.wav", "d.wav", "--seconds", "1e6", *existing)
    assert given == [[[1.0]], [[1.0]] * 4]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"reconstructor_repeat_times": 0}, "set to 0 repetitions: choose"),
        ({"reconstructor_n_layers": 0}, "has no reconstructor"),
    ],
)
def test_a_model_without_repetitions(espnet_model, separate, tmp_path, monkeypatch, options, match):
    espnet_model(separator_conf={**TINY, **options})
    monkeypatch.chdir(tmp_path)
    write("a.wav", noise(800))
    with pytest.raises(TisdissError, match=match):
        separate("a.wav", "-m", ".")
    if "reconstructor_n_layers" not in options:
        assert separate("a.wav", "-m", ".", "--n-re", 1)[0] == 0


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["--pattern", "{name}"], "must hold {name}, {speaker} as they are"),
        (["--n-re", "1,2", "--pattern", "{name}{speaker}"], "{name}, {n_re}, {speaker}"),
        (["--channel", "each", "--pattern", "{name}{speaker}"], "{name}, {channel}, {speaker}"),
        (["--overwrite", "--skip-existing"], "exclude each other"),
        (["--rtf", "1", "--stop-db", "-30"], "exclude each other"),
        (["--n-re", "1,2", "--stop-db", "-30"], "several --n-re cannot be combined with"),
        (["--n-re", "0"], "--n-re 0: expected repetitions"),
        (["--rtf", "nan"], "--rtf nan: expected a finite number"),
        (["--seconds", "-1"], "--seconds -1: expected a finite number"),
        (["--chunk", "0"], "--chunk 0: expected a finite number"),
        (["--stop-db", "inf"], "--stop-db inf: expected a finite number"),
        (["--format", "flac", "--bits", "float"], "flac cannot store float samples"),
        (["--out", "a.wav/out"], "a.wav/out: cannot be written to"),
        (["--out", "."], "a_spk1.wav: has the name of a separated file of a.wav"),
        (["none/*.wav"], "none/*.wav: matches no file"),
    ],
)
def test_bad_options_are_refused_before_the_model_is_loaded(
    separate, tmp_path, monkeypatch, args, match
):
    monkeypatch.chdir(tmp_path)
    write("a.wav", noise(10))
    write("a_spk1.wav", noise(10))
    with pytest.raises(TisdissError) as caught:
        separate("a.wav", "a_spk1.wav", "-m", "no/model", *args)
    assert match in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(TisdissError, match="model"):
        separate("a.wav", "-m", "./no/model")


def test_impossible_options_of_the_model_are_refused(model, separate):
    write("a.wav", noise(8000))
    with pytest.raises(TisdissError, match="cannot overlap") as caught:
        separate("a.wav", "--chunk", "0.5", "--overlap", "1")
    assert "\n" not in str(caught.value) and names("separated") == []


def test_overwriting_beside_the_recordings(model, separate):
    write("in/a.wav", noise(100))
    assert separate("in", "-o", "in")[0] == 0
    before = read("in/a_spk1.wav")
    with pytest.raises(TisdissError, match="a_spk1.wav: has the name of a separated file"):
        separate("in", "-o", "in", "--overwrite")
    np.testing.assert_array_equal(read("in/a_spk1.wav"), before)
    write("in/b.wav", noise(100))
    code, out, _ = separate("in", "-o", "in", "--skip-existing", "--json")
    assert (code, [file["status"] for file in json.loads(out)["files"]]) == (0, ["skipped", "done"])
    assert names("in") == [
        f"{name}.wav" for name in ("a", "a_spk1", "a_spk2", "b", "b_spk1", "b_spk2")
    ]


def test_batches_are_of_like_lengths(model, separate):
    lengths = {"a": 100, "b": 900, "c": 200, "d": 800}
    for name, length in lengths.items():
        write(f"in/{name}.wav", noise(length))
    _, out, _ = separate("in", "--json", "--batch", 2)
    order = [Path(file["source"]).stem for file in json.loads(out)["files"]]
    assert order == sorted(lengths, key=lengths.get, reverse=True)
    _, out, _ = separate("in", "--json", "--overwrite")
    assert [Path(file["source"]).stem for file in json.loads(out)["files"]] == list("abcd")


@pytest.mark.promise("disk-full")
def test_full_disk(model, tmp_path):
    """A limit on the size of files replaces a full disk; the long recording reaches it."""
    write("long.wav", noise(60 * RATE))
    write("short.wav", noise(100))
    write("wide.wav", noise(2000), 96000)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    args = ["long.wav", "short.wav", "wide.wav", "-o", "out", "--json"]
    run = subprocess.run([*PROGRAM, *args], capture_output=True, text=True, preexec_fn=limit)
    files = json.loads(run.stdout)["files"]
    assert (run.returncode, [file["status"] for file in files]) == (1, ["failed", "done", "done"])
    assert "out: cannot be written to (File too large)" in files[0]["reason"]
    # on a slow machine also the progress
    lines = [line for line in run.stderr.splitlines() if " s of audio, about " not in line]
    assert len(lines) == 3
    assert names("out") == [f"{name}_spk{j}.wav" for name in ("short", "wide") for j in (1, 2)]


@pytest.mark.promise("interrupted")
@pytest.mark.parametrize(
    "told", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_interrupted(model, tmp_path, told):
    write("a.wav", noise(100))
    for name in "bc":
        write(f"{name}.wav", noise(600 * RATE))
    with interruptible(["a.wav", "b.wav", "c.wav", "-o", "out", "--json"]) as process:
        wait_until(lambda: is_reading(process, "b.wav"))
        process.send_signal(told)
        report = json.loads(process.communicate()[0])
    assert process.returncode == 130
    assert [(file["source"], file["status"]) for file in report["files"]] == [("a.wav", "done")]
    assert report["summary"]["interrupted"] is True
    assert names("out") == ["a_spk1.wav", "a_spk2.wav"]


@pytest.mark.promise("interrupted")
def test_interrupted_jobs(model, tmp_path):
    for name in "bc":
        write(f"{name}.wav", noise(600 * RATE))
    with interruptible(["b.wav", "c.wav", "-o", "out", "--jobs", "2"]) as process:
        wait_until(lambda: is_reading(process, "b.wav") and is_reading(process, "c.wav"))
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
        _, lines = process.communicate()
    assert process.returncode == 130
    assert lines == "tisdiss: interrupted; finished work is kept\n"
    assert names("out") == []
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def interruptible(args):
    """Start the command in a separate process group."""
    return subprocess.Popen(
        [*PROGRAM, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # nohup may have started the tests
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def is_reading(process, name):
    """Return whether a process or one of its children has opened a file."""
    assert process.poll() is None, process.communicate()
    me = psutil.Process(process.pid)
    with suppress(psutil.Error):
        for one in (me, *me.children(recursive=True)):
            if any(Path(file.path).name == name for file in one.open_files()):
                return True
    return False


def wait_until(condition):
    while not condition():  # pytest's own timeout ends this
        time.sleep(0.01)


def test_streams(model, separate):
    write("a.wav", noise(800))
    content = Path("a.wav").read_bytes()
    os.mkfifo("pipe.wav")
    writer = threading.Thread(target=Path("pipe.wav").write_bytes, args=[content])
    writer.start()
    code, out, lines = separate("a.wav", "-", "pipe.wav", "--json", stdin=content)
    writer.join()
    assert code == 0, lines
    assert [file["source"] for file in json.loads(out)["files"]] == ["a.wav", "-", "pipe.wav"]
    assert names("separated") == [
        f"{name}_spk{speaker}.wav" for name in ("a", "pipe", "stdin") for speaker in (1, 2)
    ]
    for name in ("pipe", "stdin"):
        for speaker in (1, 2):
            expected = read(f"separated/a_spk{speaker}.wav")
            np.testing.assert_array_equal(read(f"separated/{name}_spk{speaker}.wav"), expected)
    code, _, lines = separate("-", "-o", "other", stdin=b"no audio")
    assert code == 1 and lines.startswith("failed: -: not a readable audio file (")
    assert names("other") == []
    with pytest.raises(TisdissError, match=r"https://a.b/c.wav: addresses are not downloaded; "):
        separate("https://a.b/c.wav")
    with pytest.raises(TisdissError, match="--out -: each speaker becomes a file; give a folder"):
        separate("a.wav", "-o", "-")


def test_formats_and_rates_of_the_outputs(model, separate):
    write("a.wav", noise(11_025 // 4), 11_025)
    for form, rate, expected in [
        ("mp3", "same", 11_025),
        ("ogg", "same", 11_025),
        ("opus", "same", 12_000),
        ("mp3", "model", RATE),
        ("wav", "16000", 16_000),
    ]:
        code, _, lines = separate("a.wav", "--format", form, "--rate", rate, "--overwrite")
        assert code == 0, lines
        info = soundfile.info(f"separated/a_spk1.{form}")
        assert info.samplerate == expected
        assert info.frames == -(-(11_025 // 4) * expected // 11_025)
        assert (f"written at {expected} Hz" in lines) == (expected != 11_025)
    with pytest.raises(TisdissError, match="mp3 has no --bits; choose wav or flac"):
        separate("a.wav", "--format", "mp3", "--bits", "16")
    with pytest.raises(TisdissError, match="--rate 3: expected same, model, or a rate from 1000"):
        separate("a.wav", "--rate", "3")
