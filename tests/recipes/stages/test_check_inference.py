"""An inference configuration is checked before the jobs start."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.check_inference import check_depth, check_inference_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path for the configuration."""
    monkeypatch.chdir(tmp_path)
    return Path("base.yaml")


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (
            "separator_conf: {flash_attention: true}",
            {"separator_conf": {"flash_attention": True}},
        ),
        (
            "encoder: stft\nencoder_conf: {n_fft: 256}",
            {"encoder": "stft", "encoder_conf": {"n_fft": 256}},
        ),
    ],
)
def test_what_espnet_can_use_passes(config: Path, text: str, changes: dict) -> None:
    config.write_text(text)
    assert check_inference_config(config) == changes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "base.yaml: expected 'key: value' lines"),
        ("a: [", "base.yaml: not YAML: "),
        ("", "base.yaml: is empty; leave --inference_enh_config out for no change"),
        ("n_re: 3\n", "base.yaml: unknown key 'n_re'; keys are encoder, encoder_conf, "),
    ],
)
def test_what_it_cannot_use_is_refused_in_one_line(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(TisdissError) as error:
        check_inference_config(config)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_separator_without_depth_is_refused() -> None:
    check_depth({"separator": "tisdiss"}, {})
    check_depth({"separator": "rnn"}, {"separator": "tisdiss"})
    for trained, changes in (("rnn", {}), ("tisdiss", {"separator": "rnn"})):
        with pytest.raises(TisdissError, match="^--n_re needs a model with .*, not 'rnn'$"):
            check_depth({"separator": trained}, changes)
