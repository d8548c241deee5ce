"""Fixtures shared by all tests."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import espnet2_tisdiss  # noqa: F401  (registers with ESPnet)

GOLDEN = Path(__file__).parent / "golden"

# a whole TISDiSS, small enough to run in milliseconds
TINY = {
    "emb_dim": 8,
    "num_groups": 2,
    "n_heads": 2,
    "attention_dim": 8,
    "ffn_hidden_dim": [6, 10],
    "reconstructor_repeat_times": 2,
}


class Golden:
    """One structure of the published code: arguments, weights, input and outputs by depth."""

    def __init__(self, name: str):
        self.arrays = np.load(GOLDEN / f"{name}.npz")
        self.config = json.loads(str(self.arrays["config"]))
        self.input_dim = int(self.arrays["input_dim"])
        self.state_dict = {
            key.removeprefix("sd/"): torch.from_numpy(self.arrays[key])
            for key in self.arrays.files
            if key.startswith("sd/")
        }
        self.repeat_times = sorted(
            int(key.removeprefix("out_re")) for key in self.arrays.files if key.startswith("out_re")
        )

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])


@pytest.fixture(params=["published_structure", "residual_in_reconstructor", "split_compress"])
def golden(request) -> Golden:
    return Golden(request.param)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # for models this small, threads cost more than they bring
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def espnet_model(tmp_path):
    """Return a function that writes config.yaml and weights as ESPnet's training does."""
    from espnet2.tasks.enh import EnhancementTask

    def make(**overrides):
        config = EnhancementTask.get_default_config()
        config.update(
            encoder="stft",
            encoder_conf={"n_fft": 128, "hop_length": 64},
            decoder="stft",
            decoder_conf={"n_fft": 128, "hop_length": 64},
            separator="tisdiss",
            separator_conf=dict(TINY),
            model_conf={"normalize_variance": True},
            criterions=[
                {"name": "si_snr", "conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": {}}
            ],
            init="xavier_uniform",
        )
        config.update(overrides)
        config_file, model_file = tmp_path / "config.yaml", tmp_path / "model.pth"
        config_file.write_text(yaml.safe_dump(config))
        model, _ = EnhancementTask.build_model_from_file(config_file, None, "cpu")
        torch.save(model.state_dict(), model_file)
        return model, config_file, model_file

    return make
