"""A TISDiSS that runs in milliseconds, for measurements and tests of everything but the network."""

from pathlib import Path
from typing import Any

import torch
import yaml

TINY: dict[str, Any] = {
    "emb_dim": 8,
    "num_groups": 2,
    "n_heads": 2,
    "attention_dim": 8,
    "ffn_hidden_dim": [6, 10],
    "reconstructor_repeat_times": 2,
}
STFT = {"n_fft": 128, "hop_length": 64}
CRITERION = {"name": "si_snr", "conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": {}}
# as a user would write it
CONFIG: dict[str, Any] = {
    "encoder": "stft",
    "encoder_conf": STFT,
    "decoder": "stft",
    "decoder_conf": dict(STFT),
    "separator": "tisdiss",
    "separator_conf": TINY,
    "model_conf": {"normalize_variance": True},
    "criterions": [CRITERION],
    "init": "xavier_uniform",
}


def write_model(folder: Path, **changes: Any) -> torch.nn.Module:
    """Write config.yaml and model.pth to a folder, as training does, with random weights.

    Args:
        folder: an existing folder.
        **changes: options in place of those of ``CONFIG``.
    """
    from espnet2.tasks.enh import EnhancementTask  # takes seconds to import

    config = EnhancementTask.get_default_config() | CONFIG | changes
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    model, _ = EnhancementTask.build_model_from_file(folder / "config.yaml", None, "cpu")
    torch.save(model.state_dict(), folder / "model.pth")
    return model
