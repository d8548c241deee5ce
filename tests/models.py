"""Small models and the golden files, for tests."""

import json
from pathlib import Path

import numpy as np
import torch
from tiny_model import TINY

GOLDEN = Path(__file__).parent / "golden"

# a configuration of ESPnet's with a learned encoder and decoder instead of a spectrum
LEARNED_ENCODER = {
    "encoder": "conv",
    "encoder_conf": {"channel": 12, "kernel_size": 16, "stride": 8},
    "decoder": "conv",
    "decoder_conf": {"channel": 12, "kernel_size": 16, "stride": 8},
    "separator_conf": {**TINY, "segment_size": 20, "mask": True},
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
