import inspect
import json
import os
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

import espnet2_tisdiss
from espnet2_tisdiss.cli import profile
from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, TRAINED_ON, bundled_model

COMMANDS = [
    "separate",
    "live",
    "demo",
    "sweep",
    "report",
    "calibrate",
    "profile",
    "info",
    "models",
    "export",
    "pack",
    "upload",
]


def tisdiss(*args, **environment):
    """Run the command in a separate process."""
    program = (
        "import sys; sys.argv[0] = 'tisdiss'; from espnet2_tisdiss.cli.app import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "TERM": "dumb", **environment},
    )


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_has_examples_and_is_immediate(args):
    program = (
        "import sys\n"
        "from espnet2_tisdiss.cli.app import app\n"
        f"app({args}, standalone_mode=False)\n"
        "print('heavy:', sorted({'torch', 'espnet2', 'numpy', 'matplotlib'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("heavy: []\n")
    expected = COMMANDS if args == ["--help"] else ["Examples", f"tisdiss {args[0]} "]
    assert all(text in run.stdout for text in expected)


def test_version():
    run = CliRunner().invoke(app, ["--version"])
    assert (run.exit_code, run.stdout) == (0, f"tisdiss {espnet2_tisdiss.__version__}\n")


@pytest.mark.parametrize(
    "args",
    [
        ["sing"],
        ["sweep"],
        ["sweep", "a", "b", "c"],
        ["profile", "model", "--repeats", "0"],
        ["calibrate"],
    ],
)
def test_usage_errors_end_with_2(args, monkeypatch):
    monkeypatch.delenv("TISDISS_MODEL", raising=False)
    run = CliRunner().invoke(app, args)
    assert run.exit_code == 2
    assert run.stdout == "" and "Usage" in run.stderr


def test_errors_of_options_are_one_line():
    run = tisdiss("separate", "a.wav", "--format", "au")
    choices = "'wav', 'flac', 'mp3', 'ogg', 'opus'"
    told = f"tisdiss: invalid value for '--format': 'au' is not one of {choices}; see --help\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", told)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tisdiss ", set(COMMANDS)),
        ("tisdiss inf", {"info"}),
        ("tisdiss profile --rep", {"--repeats"}),
    ],
)
def test_shell_completion(words, expected):
    index = len(words.split(" ")) - 1
    run = tisdiss(_TISDISS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(index))
    assert set(run.stdout.split()) == expected


def test_a_missing_model_is_one_line(tmp_path):
    run = tisdiss("info", tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith(f"tisdiss: {tmp_path}: holds no weights")


def test_without_a_model_it_is_the_packages(tmp_path, monkeypatch):
    monkeypatch.delenv("TISDISS_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_MODEL).mkdir()
    run = tisdiss("info")
    assert run.returncode == 0
    weights = bundled_model() / "model.pth"
    assert f"weights        {weights}, " in run.stdout
    *_, warning, model = run.stderr.splitlines()
    taken = f"{DEFAULT_MODEL}: taken for the package's model; the folder here is ./{DEFAULT_MODEL}"
    assert warning == f"warning: {taken}"
    trained_on = TRAINED_ON[DEFAULT_MODEL]
    assert model == f"model: {DEFAULT_MODEL}, which comes with the package; trained on {trained_on}"
    refused = tisdiss("info", f"./{DEFAULT_MODEL}").stderr
    assert refused.startswith(f"tisdiss: {DEFAULT_MODEL}: holds no weights")


def test_weights_that_do_not_fit_are_one_line(espnet_model):
    model, config_file, model_file = espnet_model()
    weights = model.state_dict()
    del weights[next(iter(weights))]
    torch.save(weights, model_file)
    run = tisdiss("info", config_file.parent, "--json")
    assert run.returncode == 2
    assert "the weights do not fit" in json.loads(run.stdout)["error"]
    assert run.stderr.count("\n") == 1 and "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["separate", "a.wav", "--n-re", "0"], "--n-re 0: expected repetitions from 1"),
        (["sweep", "data", "--n-re", "0"], "--n-re 0: expected repetitions from 1"),
        (["profile", "--seconds", "0"], "--seconds 0: expected seconds of audio"),
        (["info", "./none"], "./none: no such model"),
    ],
)
def test_debug_shows_the_traceback_of_an_error(command, error):
    plain, debug = tisdiss(*command), tisdiss(*command, "--debug")
    assert (plain.returncode, debug.returncode) == (2, 2)
    assert plain.stderr.startswith(f"tisdiss: {error}") and plain.stderr.count("\n") == 1
    assert debug.stderr.startswith("Traceback")
    assert f"TisdissError: {error}" in debug.stderr.splitlines()[-1]


def info_that_raises(error, *args):
    """Run ``tisdiss info`` in a separate process, with an exception instead of its work."""
    program = (
        "from espnet2_tisdiss.cli import app, info\n"
        "def fail(*_):\n"
        f"    raise {error}\n"
        "info.load_for_command = fail\n"
        "app.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, "info", *args], capture_output=True, text=True
    )


def test_errors_of_the_system_are_one_line():
    error = "FileNotFoundError(2, 'No such file or directory', 'x.wav')"
    run = info_that_raises(error)
    assert run.returncode == 1
    assert run.stderr == "tisdiss: [Errno 2] No such file or directory: 'x.wav'\n"
    run = info_that_raises(error, "--debug", "--json")
    assert "Traceback" in run.stderr
    assert json.loads(run.stdout)["error"].endswith("'x.wav'")


def test_bugs_show_their_traceback():
    run = info_that_raises("AttributeError('no such name')")
    assert (run.returncode, run.stdout) == (1, "")
    *_, last, request = run.stderr.splitlines()
    assert last == "AttributeError: no such name" and "Traceback" in run.stderr
    assert request == "tisdiss: this is a bug in tisdiss; please report it with the lines above"


def test_defaults_are_the_librarys():
    from espnet2_tisdiss.evaluate.cost import measure

    def defaults(function, names):
        return [inspect.signature(function).parameters[name].default for name in names]

    assert defaults(profile.command, ["repeats"]) == defaults(measure, ["repeats"])
