"""Comparing a model before and after fine-tuning, and listing the voices for that."""

from __future__ import annotations

import argparse

import finetuning
import foreign_voices
import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.errors import TisdissError


def test_the_change_is_that_of_the_same_mixtures():
    before = {"a": {1: -1.0, 2: 1.0}, "b": {1: 3.0, 2: 3.0}}
    after = {"b": {1: 5.0, 2: 4.0}, "a": {1: 1.0, 2: 2.0}}
    assert finetuning.compare("new", before, after, [1, 2]) == [
        ["new", "2", "1", "1.00", "3.00", "+2.00", "[+2.00, +2.00]", "50%", "0%"],
        ["new", "2", "2", "2.00", "3.00", "+1.00", "[+1.00, +1.00]", "0%", "0%"],
    ]


def test_the_interval_covers_the_mean():
    gains = np.random.default_rng(0).normal(1.0, 1.0, 100)
    before = {str(number): {1: 0.0} for number in range(100)}
    after = {str(number): {1: gain} for number, gain in enumerate(gains)}
    ((*_, interval, _, _),) = finetuning.compare("new", before, after, [1])
    low, high = map(float, interval.strip("[]").split(","))
    assert low < gains.mean() < high and high - low == pytest.approx(0.39, abs=0.06)


@pytest.mark.parametrize("text", ["data", "=data", "new="])
def test_a_set_without_name_or_folder_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=DIR"):
        finetuning._named(text)


def write_words(folder, language, count=10, rate=16000):
    for number in range(count):
        (folder / language).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / language / f"{number:02d}.wav", np.ones(100), rate)


def test_no_language_is_in_two_splits(tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    for language in ("ca", "cs", "da", "fr"):
        write_words(one, language)
    write_words(two, "cs")
    write_words(two, "el", 9)
    write_words(two, "es", rate=8000)
    foreign_voices.main([str(one), str(two), "--out", str(tmp_path / "out")])
    rows = [line.split("\t") for line in (tmp_path / "out/utterances.tsv").open()]
    found = {(speaker, split.strip()) for _, speaker, split in rows[1:]}
    # French is in the training data, el has too few words, and es lacks the upper band
    assert found == {
        ("one-ca", "test"),
        ("one-cs", "train"),
        ("two-cs", "train"),
        ("one-da", "valid"),
    }
    assert "speakers: 2 train, 1 valid, 1 test" in capsys.readouterr().out


def test_folders_without_languages_are_refused(tmp_path):
    with pytest.raises(TisdissError, match="has no language folders"):
        foreign_voices.list_words([tmp_path])
    with pytest.raises(TisdissError, match="none: no such folder"):
        foreign_voices.list_words([tmp_path / "none"])
