"""The output names of a run: all paths differ, and none leaves the output folder."""

import os
from pathlib import Path

import pytest

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.separate.names import with_refusals
from espnet2_tisdiss.separate.options import FileOptions


def refusals(inputs, n_re=(2,), **options):
    """Check inputs, (source, name) -> number of channels; return the refusals."""
    options = FileOptions(n_re=n_re, **options)
    seconds = {InputFile(Path(s), Path("out"), name): [1.0] * n for (s, name), n in inputs.items()}
    checked = with_refusals(seconds, options, 2)
    assert list(checked.values()) == list(seconds.values())
    return [item.refusal for item in checked]


def test_the_second_file_of_a_name_is_refused():
    inputs = {("a/x.wav", "x"): 1, ("b/x.flac", "x"): 1, ("c/x.ogg", "y"): 1}
    first, second, third = refusals(inputs)
    assert (first, third) == ("", "")
    assert second.startswith("has the same output names as a/x.wav; put {ext} into --pattern")
    assert refusals(inputs, pattern="{name}.{ext}_{speaker}") == ["", "", ""]


def test_an_unreadable_file_takes_no_names():
    assert refusals({("x.m4a", "x"): 0, ("x.wav", "x"): 1}) == ["", ""]


def test_numbers_that_run_together():
    inputs = {("x.wav", "x"): 11}
    apart = "{name}_{channel}_{n_re}_{speaker}"
    assert refusals(inputs, (1, 11), channel="each", pattern=apart) == [""]
    with pytest.raises(TisdissError, match="gives two outputs of x.wav the name out/x111_1.wav"):
        refusals(inputs, (1, 11), channel="each", pattern="{name}{channel}{n_re}_{speaker}")
    # and those of two recordings
    first, second = refusals({("a.wav", "a"): 1, ("b.wav", "a1"): 1}, (1, 11), pattern=PATTERN)
    assert first == "" and "same output names as a.wav" in second


PATTERN = "{name}{n_re}{speaker}"


def test_an_output_stays_in_the_folder_and_replaces_no_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink(".", "out")
    (refusal,) = refusals({("x.wav", ".."): 1}, pattern="{name}/{speaker}")
    assert "leads out of the output folder" in refusal
    first, second = refusals({("x_spk1.wav", "y"): 1, ("x.wav", "x"): 1})
    assert first == "" and second.startswith("its output would replace the recording x_spk1.wav")
