"""Packing a model into a folder for ESPnet, this package and the Hugging Face hub."""

import shutil
from collections.abc import Mapping
from os.path import isfile, lexists
from pathlib import Path
from string import Template
from typing import Any

import yaml

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.checksums import record_checksums
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.pretrained.finding import CONFIG
from espnet2_tisdiss.pretrained.layouts import CALIBRATION, META, PREFIXES, is_joint
from espnet2_tisdiss.user_files import read_yaml

PARTS = Path("exp")  # folder of configuration and weights
OTHERS = Path("data")  # folder of the files that the configuration names
CARD = "README.md"
RESULTS = "RESULTS.md"
PACKAGE = "espnet2_tisdiss"
# options of a joint model that name files; the token list is in the configuration itself
FILE_OPTIONS = ("bpemodel", "non_linguistic_symbols")
STATISTICS = "stats_file"


def pack_model(files: Mapping[str, str], folder: Path, name: str) -> None:
    """Write a model's folder: weights, configuration, ``meta.yaml``, checksums and a model card.

    Args:
        files: ``train_config`` and ``model_file``.
        folder: new folder.
        name: name of the model for the card; on the hub ``owner/model``.

    Raises:
        TisdissError: the folder exists, or a file that the configuration names is missing.
        OSError: the folder cannot be written.
    """
    if lexists(folder):
        raise TisdissError(f"{folder}: exists; give a new folder")
    source, weights = Path(files["train_config"]), Path(files["model_file"])
    config = read_yaml(source)
    with replacing_folder(folder) as temporary:
        (temporary / PARTS).mkdir()
        config = _with_files(config, source, temporary)
        (temporary / PARTS / CONFIG).write_text(
            yaml.safe_dump(config, sort_keys=False), encoding="utf-8"
        )
        shutil.copyfile(weights, temporary / PARTS / weights.name)
        known = weights.with_name(CALIBRATION)
        if known.is_file():
            shutil.copyfile(known, temporary / PARTS / known.name)
        record_checksums(temporary / PARTS, [temporary / PARTS / weights.name])
        meta = _meta(config, weights.name)
        (temporary / META).write_text(yaml.safe_dump(meta, sort_keys=False), encoding="utf-8")
        (temporary / CARD).write_text(_card(name, config, source.parent), encoding="utf-8")


def upload_model(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder written by :func:`pack_model` to the Hugging Face hub.

    Args:
        folder: the model.
        repository: ``owner/model``; created if it does not exist.
        private: whether a new repository is private.

    Returns:
        The address of the model.

    Raises:
        TisdissError: the folder is not a packed model, or the hub refuses it.
    """
    if not isfile(folder / META):
        raise TisdissError(f"{folder}: holds no {META}; write the folder with tisdiss pack")
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # the network and the hub raise exceptions of many types
        raise TisdissError(
            f"{repository}: cannot be uploaded ({first_line(error)}); `hf auth login` stores the "
            "access token"
        ) from error
    return str(address)


def _with_files(config: Mapping[str, Any], source: Path, folder: Path) -> dict[str, Any]:
    """Copy the files that a configuration names, and return it with their paths in the folder.

    Raises:
        TisdissError: one is missing.
    """
    packed = dict(config)
    if not is_joint(config):
        return packed
    for option in FILE_OPTIONS:
        if isinstance(config.get(option), str):
            packed[option] = _copied(config[option], source, folder)
    normalization = config.get("normalize_conf")
    if isinstance(normalization, Mapping) and STATISTICS in normalization:
        statistics = _copied(normalization[STATISTICS], source, folder)
        packed["normalize_conf"] = {**normalization, STATISTICS: statistics}
    return packed


def _copied(file: str, source: Path, folder: Path) -> str:
    """Copy a file that a configuration names; return its path in the folder."""
    if not isfile(file):
        raise TisdissError(
            f"{source}: names {file}, which is missing; run this where the path holds"
        )
    (folder / OTHERS).mkdir(exist_ok=True)
    target = OTHERS / Path(file).name
    shutil.copyfile(file, folder / target)
    return str(target)


def _meta(config: Mapping[str, Any], weights: str) -> dict[str, Any]:
    """Return the content of ``meta.yaml``, from which ESPnet reads the names of the files."""
    prefix = PREFIXES[2] if is_joint(config) else PREFIXES[0]
    return {
        "yaml_files": {f"{prefix}train_config": str(PARTS / CONFIG)},
        "files": {f"{prefix}model_file": str(PARTS / weights)},
        "espnet": config.get("version"),
        "requires": PACKAGE,
        "note": f"the separator is {PACKAGE}'s: programs must import {PACKAGE} first; see {CARD}",
    }


def _card(name: str, config: Mapping[str, Any], folder: Path) -> str:
    """Return the model card, with the results of the model's folder if it has any."""
    kind = "joint" if is_joint(config) else "separation"
    here = Path(__file__)
    text = Template(here.with_name(f"card_{kind}.md").read_text(encoding="utf-8")).substitute(
        name=name, package=PACKAGE
    )
    results = folder / RESULTS
    return f"{text}\n{results.read_text(encoding='utf-8')}" if results.is_file() else text
