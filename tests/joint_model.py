"""A tiny joint model of separation and recognition, for tests."""

from pathlib import Path
from typing import Any

import torch
import yaml
from tiny_model import CRITERION, STFT, TINY

TOKENS = ["<blank>", "<unk>", "<space>", "a", "b", "c", "<sos/eos>"]
RATE = 8000
TRANSFORMER = {"attention_heads": 2, "linear_units": 8, "num_blocks": 1}


def joint_config(**changes: Any) -> dict[str, Any]:
    """The configuration of a joint training, as a user would write it."""
    return {
        "enh_encoder": "stft",
        "enh_encoder_conf": STFT,
        "enh_decoder": "stft",
        "enh_decoder_conf": STFT,
        "enh_separator": "tisdiss",
        "enh_separator_conf": {**TINY, "sample_rate": RATE},
        "enh_criterions": [CRITERION],
        "frontend": "default",
        "frontend_conf": {"fs": RATE, "n_fft": 256, "hop_length": 64, "n_mels": 20},
        "normalize": "utterance_mvn",
        "asr_encoder": "transformer",
        "asr_encoder_conf": {"output_size": 8, "input_layer": "conv2d", **TRANSFORMER},
        "asr_decoder": "transformer",
        "asr_decoder_conf": TRANSFORMER,
        "asr_model_conf": {"ctc_weight": 0.3},
        "token_list": TOKENS,
        "token_type": "char",
        "use_preprocessor": True,
        "text_name": ["text_spk1", "text_spk2"],
        "init": "xavier_uniform",
        "seed": 0,
        **changes,
    }


def write_joint_model(folder: Path, task: Any, **changes: Any) -> tuple[Path, Path]:
    """Write the configuration and the weights of a new model, as training does."""
    config = {**task.get_default_config(), **joint_config(**changes)}
    config_file, model_file = folder / "config.yaml", folder / "model.pth"
    config_file.write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    model, _ = task.build_model_from_file(config_file, None, "cpu")
    torch.save(model.state_dict(), model_file)
    return config_file, model_file
