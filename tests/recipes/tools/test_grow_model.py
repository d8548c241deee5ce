"""The weights of a small model, for training a larger one."""

import subprocess
import sys
from pathlib import Path

import torch
import yaml

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.pretrained.finding import find_model

ROOT = Path(__file__).resolve().parents[2]


def grow(*arguments):
    program = [sys.executable, "-W", "ignore", "-m", "espnet2_tisdiss.recipes.tools.grow_model"]
    return subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True)


def larger(tmp_path, **changes):
    config = yaml.safe_load(Path(find_model("mini")["train_config"]).read_text())
    config["separator_conf"] |= {"emb_dim": 64, "attention_dim": 64, "n_heads": 4} | changes
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_grown_model_separates_as_the_small_one(tmp_path):
    config, output = larger(tmp_path), tmp_path / "start.pth"
    ran = grow("mini", config, output)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    small = SeparateSpeech(**find_model("mini"))
    large = SeparateSpeech(config, output)
    torch.manual_seed(0)
    mixture = torch.randn(1, 8000).numpy()
    for one, other in zip(small(mixture), large(mixture), strict=True):
        assert abs(one - other).max() < 1e-3 * abs(one).max()
    weights = [m.separator.state_dict() for m in (small, large)]
    name = "spk_spliter.conv2d.weight"
    assert weights[1][name].shape[1] == 2 * weights[0][name].shape[1]


def test_configuration_that_is_too_small_is_one_line(tmp_path):
    config = larger(tmp_path, emb_dim=16)
    ran = grow("mini", config, tmp_path / "start.pth")
    assert ran.returncode == 1
    assert ran.stderr == (
        f"grow_model: {config}: cannot hold mini: emb_dim must be at least 32; got 16\n"
    )
    assert not (tmp_path / "start.pth").exists()
