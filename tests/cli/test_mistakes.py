"""Absurd values, on the command line and in Python, are refused with one line."""

import io
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import FileOptions, RecordingOptions, SeparateSpeech, TisdissError
from espnet2_tisdiss.cli import app
from espnet2_tisdiss.cli.console import messages

DIGITS = "9" * 5000
HUGE = 10**5000
ARGUMENTS = {
    "separate a.wav": [
        *(("--n-re", text) for text in (DIGITS, "1000000000", "0", "-1", "²", "1,", "x" * 5000)),
        *(("--rate", text) for text in (DIGITS, "1000000000000", "²", "0", "-8000")),
        *(("--model-rate", text) for text in (DIGITS, "1000000000000", "0")),
        *(("--threads", text) for text in (DIGITS, "1000000000", "0")),
        *(("--jobs", text) for text in (DIGITS, "1000000000")),
        *(("--batch", text) for text in (DIGITS, "1000000000")),
        *(("--chunk", text) for text in ("nan", "inf", "-1", "1e999", DIGITS)),
        *(("--overlap", text) for text in ("nan", "inf", "-1")),
        *(("--seconds", text) for text in ("nan", "inf", "-1", DIGITS)),
        *(("--stop-db", text) for text in ("nan", "inf")),
        *(("--pattern", text) for text in ("{", "{name.__class__}{speaker}", "{name:9}{speaker}")),
        *(("--device", text) for text in ("cuda:99999999999999999999", "meta", "x" * 5000)),
        *(("-o", text) for text in ("/dev/null", "/dev/full", "/proc/x", "x" * 300)),
        *(("-m", text) for text in ("/dev/zero", "/proc/self/mem", "x" * 5000, "", "-", "~")),
    ],
    "profile mini": [
        *(("--seconds", text) for text in ("1e300", "nan", DIGITS)),
        *(("--n-re", text) for text in (DIGITS, "1000000000")),
        ("--repeats", "1000000000"),
    ],
    "sweep mini .": [("--n-re", DIGITS), ("--limit", "0"), ("--batch", DIGITS)],
    "report .": [("-o", "."), ("-o", "/tmp")],
    "info": [("/dev/zero",), ("/dev/full",), ("/proc/self/mem",)],
}


@pytest.mark.promise("mistakes")
def test_arguments_that_nobody_means_are_one_line(tmp_path, monkeypatch, capsys, record_property):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(800), 8000)
    cases = [(*command.split(), *more) for command, each in ARGUMENTS.items() for more in each]
    record_property("cases", len(cases))
    for words in cases:
        monkeypatch.setattr(sys, "argv", ["tisdiss", *words])
        monkeypatch.setattr(messages, "file", io.StringIO())
        with pytest.raises(SystemExit) as ending:
            app.main()
        text = messages.file.getvalue()
        shown = " ".join(words)[:100]
        assert ending.value.code == 2, f"{shown}: {ending.value.code}, {text}"
        assert text.count("\n") == 1 and text.startswith("tisdiss: "), f"{shown}: {text}"
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.glob("separated/*"))


@pytest.fixture(scope="module")
def model() -> SeparateSpeech:
    return SeparateSpeech.from_pretrained("mini")


@pytest.mark.promise("mistakes")
def test_values_that_nobody_means_are_an_error_of_one_line_in_python(model, record_property):
    noise = np.random.default_rng(0).standard_normal(800).astype(np.float32)
    numbers = (HUGE, math.nan, math.inf, "1", [1])
    depths = [lambda value=value: model.depths([noise], [value]) for value in (HUGE, 1.5, "3", 0)]
    rates = [
        lambda value=value: model.recording(noise, value)
        for value in (HUGE, 10**12, 0, -1, 1.5, "8000", math.nan, True)
    ]
    options = [
        lambda name=name, value=value: RecordingOptions(**{name: value})
        for name in ("stop_db", "rtf", "seconds", "chunk_seconds", "overlap_seconds", "batch_size")
        for value in numbers
    ]
    options += [
        lambda name=name, value=value: FileOptions(**{name: value})
        for name, value in [
            *(("pattern", value) for value in ("a\0{name}{speaker}", 3, "{")),
            *(("rate", value) for value in (HUGE, 10**12, "x", None, 1.5)),
            *(("all_depths", value) for value in (HUGE, "yes", None)),
            ("keep_rumble", "no"),
            ("existing", "maybe"),
            ("channel", "mean\0"),
            ("scale", math.nan),
        ]
    ]
    names = [
        lambda: model.file("a\0b"),
        lambda: list(model.files(["a.wav"], "a\0b")),
        lambda: SeparateSpeech.from_pretrained("a\0b"),
        lambda: SeparateSpeech.from_pretrained("mini", sample_rate=10**12),
        lambda: SeparateSpeech.from_pretrained("mini", n_re=HUGE),
        lambda: SeparateSpeech.from_pretrained("mini", segment_size=-1, hop_size=1),
        lambda: SeparateSpeech.from_pretrained("mini", segment_size=1, hop_size=0),
        lambda: model(np.zeros((0, 80))),
        lambda: model(np.zeros(80)),
    ]
    cases = [*depths, *rates, *options, *names]
    record_property("cases", len(cases))
    for case in cases:
        with pytest.raises(TisdissError) as caught:
            case()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    (failed,) = model.files(["a\0b.wav"], ".")
    assert failed.status == "failed" and failed.reason.endswith("NUL character; correct the name")


@pytest.mark.promise("mistakes")
@pytest.mark.parametrize(
    ("output", "said"),
    [("/dev/full", "No space left on device"), ("closed", "Bad file descriptor"), (None, "")],
)
def test_output_that_cannot_be_written_is_one_line(output, said):
    """A full device; a closed descriptor; and a closed pipe, as of `| head`, without a message."""
    program = (
        "import sys; sys.argv[1:] = ['models', '--json']; from espnet2_tisdiss.cli.app import "
    )
    read, write = os.pipe()
    os.close(read)
    with open(output, "wb") if output == "/dev/full" else os.fdopen(write, "wb") as stdout:
        run = subprocess.run(
            [sys.executable, "-c", program + "main; main()"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            preexec_fn=(lambda: os.close(1)) if output == "closed" else None,
        )
    expected = f"tisdiss: standard output: cannot be written to ({said}); finished work is kept\n"
    assert (run.returncode, run.stderr.decode()) == (1, expected if said else "")
