"""A marker is valid as long as nothing that the results depend on has changed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.stages.marker import (
    Step,
    audio,
    changes,
    content,
    contents,
    option,
    outcome,
    presence,
)


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """A step with facts of every kind about files in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("config").write_text("a: 1")
    Path("x.wav").write_text("audio")
    write_scp("wav.scp", {"x": "x.wav"})
    facts = [option("fs", "8000"), content(Path("config")), audio(Path("wav.scp"))]
    facts.append(contents("the lists", Path(), "utt2*"))
    Path("utt2spk").write_text("x spk")
    return Step("work", Path(".done"), facts, results=[presence(Path("x.wav"))])


def later(step: Step) -> Step:
    """The same step with its current facts."""
    return replace(step)


def test_a_marker_holds_while_nothing_changes(step: Step, caplog) -> None:
    caplog.set_level("INFO")
    assert step.changes() is None and not step.is_done()
    step.mark_done()
    assert later(step).changes() == [] and later(step).is_done()
    assert caplog.messages == ["work: already done (to do it again, remove .done)"]


def test_writing_the_same_content_again_is_no_change(step: Step) -> None:
    step.mark_done()
    Path("config").write_text("a: 1")
    os.utime("config", (0, 0))
    assert later(step).changes() == []


def test_what_changed_is_named(step: Step, caplog) -> None:
    caplog.set_level("INFO")
    step.mark_done()
    Path("config").write_text("a: 2")
    os.utime("x.wav", (0, 0))
    Path("utt2num_samples").write_text("x 1")
    now = replace(step, facts=[option("fs", "16000"), *step.facts[1:]])
    assert now.changes() == ["--fs", "config", "the audio of wav.scp", "the lists"]
    assert not now.is_done()
    told = "work: changed since it was done: --fs, config, the audio of wav.scp and 1 more"
    assert caplog.messages == [told]
    with pytest.raises(TisdissError, match="work: changed since then .* and 1 more.: run stage 1$"):
        now.require("then", "run stage 1")


def test_a_fact_that_disappeared_is_a_change(step: Step) -> None:
    assert changes({"--a": "1", "--b": "2"}, {"--a": "1"}) == ["--b"]
    step.mark_done()
    assert replace(step, facts=step.facts[1:]).changes() == ["--fs"]


def test_a_missing_result_is_a_change(step: Step) -> None:
    step.mark_done()
    Path("x.wav").unlink()
    assert later(step).changes() == ["the audio of wav.scp", "the presence of x.wav"]
    with pytest.raises(TisdissError, match="^the audio of wav.scp x.wav is missing after"):
        later(step).mark_done()


def test_the_facts_are_those_of_before_the_work(step: Step) -> None:
    assert not step.is_done()
    Path("config").write_text("a: 2")  # edited during the work
    step.mark_done()
    assert later(step).changes() == ["config"]


def test_results_are_no_facts_of_later_steps(step: Step) -> None:
    made = replace(step, facts=step.facts[:2], results=[audio(Path("wav.scp"))])
    after = Step("next", Path(".next"), [outcome(made)])
    after.mark_done()
    os.utime("x.wav", (0, 0))  # made again
    assert later(made).values == made.values
    assert replace(after, facts=[outcome(later(made))]).changes() == []
    Path("config").write_text("a: 2")
    assert replace(after, facts=[outcome(later(made))]).changes() == ["what made work"]


@pytest.mark.parametrize("text", ['{"--fs": ', "[]"])
def test_a_damaged_marker_vouches_for_nothing(step: Step, text: str) -> None:
    step.mark_done()
    assert json.loads(step.marker.read_text())["--fs"] == "8000"
    step.marker.write_text(text)
    assert later(step).changes() is None
    with pytest.raises(TisdissError, match="^.done is missing: run stage 1$"):
        step.require("then", "run stage 1")


def test_many_changes_are_abbreviated(step: Step) -> None:
    many = replace(step, facts=[option(name, "1") for name in "abcde"])
    many.mark_done()
    with pytest.raises(TisdissError, match=r"since then \(--a, --b, --c and 2 more\): redo"):
        replace(step, facts=[]).require("then", "redo")
