"""The inference configuration of a depth is the base file plus the repetitions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from datadir import DataError
from inference_config import inference_config

TISDISS = {"separator": "tisdiss", "separator_conf": {"reconstructor_repeat_times": 6}}


def test_depth_and_base_are_merged() -> None:
    base = {"separator_conf": {"flash_attention": True}, "encoder_conf": {"n_fft": 256}}
    assert inference_config(TISDISS, base, 3) == {
        "separator_conf": {"flash_attention": True, "reconstructor_repeat_times": 3},
        "encoder_conf": {"n_fft": 256},
    }
    assert inference_config(TISDISS, base, None) == base


def test_a_separator_without_depth_is_refused() -> None:
    with pytest.raises(DataError, match="--n_re needs a model with the tisdiss separator"):
        inference_config({"separator": "rnn"}, {}, 3)
    assert inference_config({"separator": "rnn"}, {}, None) == {}


def test_an_unchanged_file_is_not_touched(run_tool, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TISDISS))
    options = ("--train_config", "config.yaml", "--n_re", "2", "out.yaml")
    assert run_tool("inference_config", *options).returncode == 0
    before = (tmp_path / "out.yaml").stat().st_mtime_ns
    assert run_tool("inference_config", *options).returncode == 0
    assert (tmp_path / "out.yaml").stat().st_mtime_ns == before
    made = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert made == {"separator_conf": {"reconstructor_repeat_times": 2}}


def test_what_is_not_a_mapping_is_refused_in_one_line(run_tool, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TISDISS))
    for text, message in (("- a\n", "expected 'key: value' lines"), ("a: [", "not YAML: ")):
        (tmp_path / "base.yaml").write_text(text)
        options = ("--train_config", "config.yaml", "--base", "base.yaml", "out.yaml")
        done = run_tool("inference_config", *options)
        assert done.returncode == 1
        assert done.stderr.startswith(f"inference_config: base.yaml: {message}")
        assert done.stderr.count("\n") == 1
