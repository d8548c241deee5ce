"""A marker vouches for results as long as everything they depend on is as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from espnet2_tisdiss.lists import write_scp

NOT_DONE = 3


@pytest.fixture
def facts(tmp_path: Path) -> list[str]:
    """Facts of every kind about files in ``tmp_path``."""
    (tmp_path / "config").write_text("a: 1")
    (tmp_path / "x.wav").write_text("audio")
    write_scp(tmp_path / "wav.scp", {"x": str(tmp_path / "x.wav")})
    return ["--option", "fs=8000", "--input", "config", "--audio", "wav.scp", "--exists", "x.wav"]


def test_a_marker_holds_while_nothing_changes(facts: list[str], run_tool) -> None:
    assert run_tool("marker", "check", ".done", *facts).returncode == NOT_DONE
    assert run_tool("marker", "write", ".done", *facts).returncode == 0
    check = run_tool("marker", "check", ".done", *facts)
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


def test_writing_the_same_content_again_is_no_change(facts, run_tool, tmp_path: Path) -> None:
    run_tool("marker", "write", ".done", *facts)
    (tmp_path / "config").write_text("a: 1")
    os.utime(tmp_path / "config", (0, 0))
    assert run_tool("marker", "check", ".done", *facts).returncode == 0


def test_what_changed_is_named(facts: list[str], run_tool, tmp_path: Path) -> None:
    run_tool("marker", "write", ".done", *facts)
    (tmp_path / "config").write_text("a: 2")
    os.utime(tmp_path / "x.wav", (0, 0))
    changed = ["--option", "fs=16000", *facts[2:]]
    check = run_tool("marker", "check", ".done", *changed)
    assert check.returncode == NOT_DONE
    assert check.stdout == "--fs, config, the audio of wav.scp\n"


def test_a_missing_result_is_a_change(facts: list[str], run_tool, tmp_path: Path) -> None:
    run_tool("marker", "write", ".done", *facts)
    (tmp_path / "x.wav").unlink()
    check = run_tool("marker", "check", ".done", *facts)
    assert check.stdout == "the audio of wav.scp, the presence of x.wav\n"
    write = run_tool("marker", "write", ".done", *facts)
    assert write.returncode == 1
    assert write.stderr == "marker: .done cannot be written: the audio of wav.scp is missing\n"


def test_a_damaged_marker_vouches_for_nothing(facts: list[str], run_tool, tmp_path: Path) -> None:
    (tmp_path / ".done").write_text('{"--fs": ')
    assert run_tool("marker", "check", ".done", *facts).returncode == NOT_DONE
