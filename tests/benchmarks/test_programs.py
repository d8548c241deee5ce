"""What the benchmarks' command lines refuse, and what they say when something fails."""

import sys

import data_preparation
import growth
import long_recordings
import pytest
import sweep

from espnet2_tisdiss.errors import TisdissError

PAGE = "<!-- growth-cpu -->\nold\n<!-- /growth-cpu -->\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--only", "depth"], "leave --only out"),
        (["--most", "30"], "leave --most out"),
        (["--only", "depth", "--most", "30"], "leave --only and --most out"),
    ],
)
def test_a_page_is_not_written_from_a_part(tmp_path, monkeypatch, options, told):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(sys, "argv", ["growth.py", "--threads", "1", "--page", str(page), *options])
    with pytest.raises(TisdissError, match=f"^--page needs all that its section tells: {told}$"):
        growth.main()
    assert page.read_text() == PAGE


@pytest.mark.parametrize("name", ["--repeats", "--depths"])
def test_a_sweep_of_nothing_is_refused(name, capsys):
    with pytest.raises(SystemExit):
        sweep.main(["model", name, "0"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f"argument {name}: must be a whole number of at least 1; got '0'")


def test_a_recording_that_cannot_be_separated_is_told(espnet_model):
    _, _, weights = espnet_model()
    with pytest.raises(SystemExit, match="^long_recordings.py: 0 minutes: .*holds no samples"):
        long_recordings.main([str(weights), "--minutes", "0"])


def test_what_a_data_preparation_said_is_shown(tmp_path):
    little = ["--mixtures", "6", "--utterances", "1", "--seconds", "0.1"]
    with pytest.raises(SystemExit) as ending:
        data_preparation.main([*little, "--nj", "0", "--folder", str(tmp_path)])
    told = str(ending.value).splitlines()
    assert told[0] == "data_preparation.py: local/data.sh failed:"
    assert told[-1].endswith("--nj: expected a whole number of 1 or more, found '0'")
    assert not list(tmp_path.iterdir())
