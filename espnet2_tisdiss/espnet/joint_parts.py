"""A joint model made from a separator and a recogniser that were trained separately."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.tasks.enh_s2t import EnhS2TTask, asr_attributes, enh_attributes

from espnet2_tisdiss.atomic import replacing, write_atomically
from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.network.assembly import NORMALIZATIONS
from espnet2_tisdiss.pretrained.finding import read_weights
from espnet2_tisdiss.user_files import read_yaml

# options that both tasks have under the same name; the others of a recogniser begin with asr_
COMMON = ("frontend", "specaug", "normalize", "ctc", "input_size", "token_list")
ESPNET_SPEAKERS = 2  # default of every separator
PREPROCESSING = ("token_type", "bpemodel", "non_linguistic_symbols", "cleaner", "g2p")


def joint_config(separation: Mapping[str, Any], recognition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``enh_s2t`` that describe both parts.

    Args:
        separation: configuration of a trained separator (ESPnet's ``config.yaml``).
        recognition: configuration of a trained recogniser.

    Raises:
        OptionError: the parts have different sample rates.
    """
    config: dict[str, Any] = {
        f"enh_{name}": separation[name] for name in enh_attributes if name in separation
    }
    # ESPnet's joint model separates at the level of the mixture
    config["enh_model_conf"] = {
        name: value
        for name, value in (separation.get("model_conf") or {}).items()
        if name not in NORMALIZATIONS
    }
    for name in asr_attributes:
        if name in recognition:
            is_common = name.removesuffix("_conf") in COMMON
            config[name if is_common else f"asr_{name}"] = recognition[name]
    config["asr_model_conf"] = recognition.get("model_conf") or {}
    config |= {name: recognition[name] for name in PREPROCESSING if name in recognition}
    _check_rates(separation, recognition)
    count = separation["separator_conf"].get("num_spk", ESPNET_SPEAKERS)
    speakers = range(1, int(count) + 1)
    return config | {
        "use_preprocessor": True,
        "text_name": [f"text_spk{number}" for number in speakers],
        "subtask_series": ["enh", "asr"],
    }


def _check_rates(separation: Mapping[str, Any], recognition: Mapping[str, Any]) -> None:
    """Refuse parts of different sample rates.

    Raises:
        OptionError: both are stated and differ.
    """
    ours = separation["separator_conf"].get("sample_rate")
    theirs = (recognition.get("frontend_conf") or {}).get("fs")
    stated = str(theirs).lower().replace("k", "000") if theirs else None
    if ours and stated and int(ours) != int(stated):
        raise OptionError(
            f"the separator was trained at {ours} Hz and the recogniser at {stated} Hz; train both "
            "at one rate"
        )


def write_cascade(
    separation: tuple[Path, Path], recognition: tuple[Path, Path], config_file: Path, weights: Path
) -> None:
    """Write a joint model of both parts, without further training.

    Args:
        separation: configuration and weights of the separator.
        recognition: those of the recogniser.
        config_file: configuration of the joint model.
        weights: its weights.

    Raises:
        TisdissError: a file is missing or damaged, or the parts have different sample rates.
    """
    config = joint_config(read_yaml(separation[0]), read_yaml(recognition[0]))
    options = EnhS2TTask.get_default_config() | config
    merged = {
        f"{part}.{name}": value
        for part, (_, path) in (("enh_model", separation), ("s2t_model", recognition))
        for name, value in read_weights(path).items()
    }
    for path in (config_file, weights):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(config_file, yaml.safe_dump(options, sort_keys=False))
    with replacing(weights) as temporary:
        torch.save(merged, temporary)
