"""The benchmarks' command lines: values that are refused, and messages about failures."""

import os
import subprocess
import sys
from pathlib import Path

import all_depths
import chunking
import data_preparation
import growth
import long_recordings
import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.errors import TisdissError

PROGRAMS = Path(__file__).parents[2] / "benchmarks"
PAGE = "<!-- growth-cpu -->\nold\n<!-- /growth-cpu -->\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "depth"], "omit --only"),
        (["--most", "30"], "omit --most"),
        (["--only", "depth", "--most", "30"], "omit --only and --most"),
    ],
)
def test_a_page_is_not_written_from_a_part(tmp_path, monkeypatch, options, message):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(sys, "argv", ["growth.py", "--threads", "1", "--page", str(page), *options])
    with pytest.raises(TisdissError, match=f"^--page needs complete results: {message}$"):
        growth.main()
    assert page.read_text() == PAGE


@pytest.mark.parametrize(
    ("program", "options"),
    [
        (all_depths, ["model", "--repeats", "0"]),
        (all_depths, ["model", "--depths", "0"]),
        (chunking, ["model", "data", "--recordings", "0"]),
        (chunking, ["model", "data", "--n_re", "-1"]),
        (long_recordings, ["model", "--rate", "0"]),
        (data_preparation, ["--mixtures", "0"]),
        (data_preparation, ["--utterances", "-1"]),
        (data_preparation, ["--nj", "2", "many"]),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(program, options, capsys):
    with pytest.raises(SystemExit):
        program.main(options)
    told = capsys.readouterr().err.splitlines()[-1]
    name, found = [word for word in options if word.startswith("--")][-1], options[-1]
    assert told.endswith(f"argument {name}: must be a whole number of at least 1; got {found!r}")


@pytest.mark.parametrize("program", ["chunking", "long_recordings"])
def test_a_wrong_model_is_one_line(program, sources, tmp_path):
    data = [sources] if program == "chunking" else []
    run = subprocess.run(
        [sys.executable, PROGRAMS / f"{program}.py", tmp_path / "no_model", *data],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "1000"},
    )
    assert run.returncode in (1, 2)
    (told,) = run.stderr.splitlines()
    assert "no_model" in told


def test_a_recording_that_cannot_be_separated_is_told(espnet_model):
    _, _, weights = espnet_model()
    with pytest.raises(TisdissError, match="^0 minutes: .*holds no samples"):
        long_recordings.main([str(weights), "--minutes", "0"])


def test_a_long_recording_that_was_killed_is_told(monkeypatch):
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(long_recordings, "_COMMAND", killed)
    with pytest.raises(TisdissError, match="^0 minutes: ended by SIGKILL$"):
        long_recordings.main(["model", "--minutes", "0"])


# --- recordings in chunks ---------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path):
    """A data directory with two sources of each of two speakers."""
    folder = tmp_path / "data"
    folder.mkdir()
    lists = {"utt2spk": "", "spk1.scp": "", "spk2.scp": ""}
    for utterance in ("u1", "u2"):
        lists["utt2spk"] += f"{utterance} a_b\n"
        for speaker in ("spk1", "spk2"):
            path = folder / f"{utterance}_{speaker}.wav"
            soundfile.write(path, np.random.uniform(-0.5, 0.5, 4000), 8000)
            lists[f"{speaker}.scp"] += f"{utterance} {path}\n"
    for name, text in lists.items():
        (folder / name).write_text(text)
    return folder


def test_the_chunks_that_are_asked_for_are_compared(sources, espnet_model, capsys):
    _, _, weights = espnet_model()
    lengths = ["--recordings", "2", "--seconds", "3", "--pause", "0.1", "0.2"]
    chunking.main([str(weights), str(sources), *lengths, "--chunks", "1:0.25", "2:0.5"])
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows] == [["1", "0.25"], ["2", "0.5"]]


def test_the_table_of_the_documentation_is_that_of_the_defaults():
    args = chunking._arguments(["model", "data"])
    page = (PROGRAMS.parent / "docs/separating.md").read_text(encoding="utf-8")
    table = page.partition("| chunk s | overlap s |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:3]] for row in table]
    assert cells == [[f"{seconds:g}" for seconds in chunk] for chunk in args.chunks]
    assert (args.recordings, args.seconds, tuple(args.pause)) == (3, 90, (0.5, 5))


@pytest.mark.parametrize("text", ["8", "8:2:1", "8:", "long:2"])
def test_chunks_that_are_no_pair_of_lengths_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        chunking.main(["model", "data", "--chunks", text])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f"of a chunk and of its overlap, such as 8:2; got {text!r}")


def test_data_that_cannot_be_used_is_told_before_a_model_is_loaded(sources):
    with pytest.raises(TisdissError, match="^chunks of 2 s cannot overlap by 2 s"):
        chunking.main(["model", str(sources), "--chunks", "2:2"])
    (sources / "u2_spk2.wav").unlink()
    with pytest.raises(TisdissError, match="u2_spk2.wav: no readable audio; is --root "):
        chunking.main(["model", str(sources)])
    with pytest.raises(TisdissError, match="none/utt2spk: No such file"):
        chunking.main(["model", str(sources / "none")])
    speakers = (sources / "utt2spk").read_text()
    for damage, told in (
        ("_", "does not name two speakers of u"),
        (" ", "a name and a value in each line"),
    ):
        (sources / "utt2spk").write_text(speakers.replace(damage, ""))
        with pytest.raises(TisdissError, match=f"utt2spk: .*{told}"):
            chunking.main(["model", str(sources)])


# --- data preparation -------------------------------------------------------------------------


def test_what_a_data_preparation_said_is_shown(tmp_path):
    little = ["--mixtures", "6", "--utterances", "1", "--seconds", "0.001"]
    with pytest.raises(SystemExit) as ending:
        data_preparation.main([*little, "--nj", "1", "--folder", str(tmp_path)])
    told = str(ending.value).splitlines()
    assert told[0] == "data_preparation.py: local/data.sh failed:"
    assert told[-1].startswith("local/data.sh: active levels: 6 of 6 failed")
    assert not list(tmp_path.iterdir())
