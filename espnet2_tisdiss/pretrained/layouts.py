"""Packed models in a folder, as the Hugging Face hub stores them: ``meta.yaml`` names their files.

ESPnet's ``pack`` writes the same file into its archives.
"""

from collections.abc import Mapping
from os.path import isfile
from pathlib import Path, PurePosixPath

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.user_files import read_yaml

META = "meta.yaml"
CALIBRATION = "calibration.yaml"  # in the folder of the weights that it was fitted for
EXPORTED = "model.json"  # in the folder of a model that was exported for ONNX Runtime
# prefixes of the names of configuration and weights: separation, joint models as ESPnet packs them,
# and as its recogniser loads them
PREFIXES = ("", "enh_s2t_", "asr_")


def is_joint(config: Mapping[str, object]) -> bool:
    """Whether a configuration is that of a joint model of separation and recognition."""
    return "subtask_series" in config


def model_files(name: str | Path, found: Mapping[str, str]) -> dict[str, str]:
    """Return configuration and weights of a packed model, as arguments of the constructor.

    Args:
        name: name of the model, for messages.
        found: the model's files by ESPnet's names for them.

    Raises:
        TisdissError: it is not a model that separates.
    """
    for prefix in PREFIXES:
        config, weights = found.get(f"{prefix}train_config"), found.get(f"{prefix}model_file")
        if config is None or weights is None:
            continue
        if prefix == "asr_" and not (isfile(config) and is_joint(read_yaml(config))):
            continue  # a recogniser
        return {"train_config": config, "model_file": weights}
    has = ", ".join(sorted(found)) or "no files"
    raise TisdissError(f"{name}: is not a separation model; it has {has}")


def files_in(folder: Path) -> dict[str, str]:
    """Return configuration and weights that a folder's ``meta.yaml`` names.

    Raises:
        TisdissError: it names no files, missing files, or files outside the folder.
    """
    meta = read_yaml(folder / META)
    named: dict[str, str] = {}
    for part in ("yaml_files", "files"):
        names = meta.get(part)
        if not isinstance(names, Mapping):
            raise TisdissError(f"{folder / META}: has no {part}; pack the model again")
        for key, name in names.items():
            path = PurePosixPath(str(name))
            if path.is_absolute() or ".." in path.parts:
                raise TisdissError(f"{folder / META}: {key}: {name} is not in the folder")
            named[str(key)] = str(folder / path)
    files = model_files(folder, named)
    for file in files.values():
        if not isfile(file):
            raise TisdissError(
                f"{file}: missing, but {folder / META} names it; get the model again"
            )
    if is_joint(read_yaml(files["train_config"])):
        from espnet_model_zoo.downloader import ModelDownloader

        # a copy of the configuration with the paths of the files that the recogniser needs
        resolved = ModelDownloader._unpack_cache_dir_for_huggingface(str(folder))
        return model_files(folder, resolved)
    return files
