"""An inference configuration is checked before the jobs start."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

TISDISS = {"separator": "tisdiss", "separator_conf": {"reconstructor_repeat_times": 6}}


@pytest.fixture
def check(run_tool, tmp_path: Path):
    """Runs the check on configurations given as text, for a model with depth or without."""

    def run(changes: str | None, *options: str, separator: str = "tisdiss"):
        train_config = TISDISS | {"separator": separator}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(train_config))
        command = ["--train_config", "config.yaml", *options]
        if changes is not None:
            (tmp_path / "base.yaml").write_text(changes)
            command += ["--inference_config", "base.yaml"]
        return run_tool("check_inference", *command)

    return run


@pytest.mark.parametrize(
    ("changes", "options", "separator"),
    [
        ("separator_conf: {flash_attention: true}", ["--n_re"], "tisdiss"),
        ("encoder: stft\nencoder_conf: {n_fft: 256}", [], "rnn"),
        (None, ["--n_re"], "tisdiss"),
        ("separator: tisdiss", ["--n_re"], "rnn"),
    ],
)
def test_what_espnet_can_use_passes(check, changes, options, separator) -> None:
    done = check(changes, *options, separator=separator)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("- a\n", "base.yaml: expected 'key: value' lines"),
        ("a: [", "base.yaml: not YAML: "),
        ("", "base.yaml: is empty; leave --inference_enh_config out for no change"),
        ("n_re: 3\n", "base.yaml: unknown key 'n_re'; keys are encoder, encoder_conf, "),
        ("separator: rnn", "--n_re needs a model with the tisdiss separator, not 'rnn'"),
    ],
)
def test_what_it_cannot_use_is_refused_in_one_line(check, changes: str, message: str) -> None:
    done = check(changes, "--n_re")
    assert done.returncode == 1
    assert done.stderr.startswith(f"check_inference: {message}")
    assert done.stderr.count("\n") == 1


def test_a_separator_without_depth_is_refused(check) -> None:
    done = check(None, "--n_re", separator="rnn")
    assert done.returncode == 1
    assert done.stderr == (
        "check_inference: --n_re needs a model with the tisdiss separator, not 'rnn'\n"
    )
