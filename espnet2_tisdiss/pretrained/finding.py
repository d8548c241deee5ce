"""Trained models: finding their files, and reading configuration and weights."""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterator
from os.path import isdir, isfile, lexists
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from espnet2_tisdiss.checksums import damage
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.pretrained.archives import check_stored, unpack_model
from espnet2_tisdiss.pretrained.bundled import (
    DEFAULT_MODEL,
    MODEL_FILE,
    bundled_model,
    bundled_models,
)
from espnet2_tisdiss.pretrained.layouts import EXPORTED, META, files_in, model_files
from espnet2_tisdiss.user_files import check_ordinary

if TYPE_CHECKING:  # the import takes seconds, and finding a model does not need it
    import torch

CONFIG = "config.yaml"
NO_WEIGHTS = "{}: not a valid weights file (wrong format or corrupted); replace it"
# weights that ESPnet's training writes, best first: average of the best epochs, best epoch, last
WEIGHTS = (
    "valid.loss.ave.pth",
    "*.ave.pth",
    "*.ave_*best.pth",
    "valid.loss.best.pth",
    "*.best.pth",
    "latest.pth",
)


def find_model(name: str | Path) -> dict[str, str]:
    """Return the files of a trained model.

    Args:
        name: the name of a model of the package, such as ``"voices"``; a folder with config.yaml
            and weights, as training writes it; a folder with meta.yaml, as ``tisdiss pack`` writes
            it and the hub stores it; a weights file with config.yaml in the same folder; an
            archive made by ESPnet's ``pack`` (stage 11 of a recipe); or the tag of a published
            model, which espnet_model_zoo downloads. The string ``"voices"`` always means the
            package's model; for a folder of that name give ``"./voices"`` or ``Path("voices")``.

    Returns:
        ``train_config`` and ``model_file``, arguments of the constructor.

    Raises:
        TisdissError: the model does not exist or is incomplete.
    """
    path = Path(name)
    if isinstance(name, str) and name in bundled_models():
        if isdir(path):
            _warn_of_folder(name)
        folder = bundled_model(name)
        return _files(folder, folder / MODEL_FILE)
    if isdir(path):  # os.path reports inaccessible paths as missing
        if isfile(path / META) and not isfile(path / CONFIG):
            return files_in(path)
        if isfile(path / EXPORTED):
            raise TisdissError(
                f"{path}: was exported, for tisdiss separate and live; give the model itself"
            )
        return _files(path, _weights_in(path))
    if lexists(path):
        check_ordinary(path)
        return _unpacked(path) if path.suffix == ".zip" else _files(path.parent, path)
    # a tag is owner/model; anything else is a mistyped name
    is_file = path.suffix in (".pth", ".zip", ".yaml")
    if path.is_absolute() or str(name).startswith(".") or str(name).count("/") != 1 or is_file:
        there = ", ".join(bundled_models())
        raise TisdissError(
            f"{name}: no such model folder, weights or archive; with the package come {there}"
        )
    return _downloaded(str(name))


@functools.cache
def _warn_of_folder(name: str) -> None:
    """Warn once if a local folder has the name of a model of the package."""
    logger = logging.getLogger(__name__)
    logger.warning("%s: taken for the package's model; the folder here is ./%s", name, name)


@contextlib.contextmanager
def loading(file: str | Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of the given types in the block into a TisdissError that names the file.

    ESPnet does not check configurations and weights, so faulty ones raise arbitrary exceptions.
    """
    try:
        yield
    except errors as error:
        reason = first_line(error)
        raise TisdissError(f"{file}: the model cannot be loaded: {reason}") from error


def read_weights(path: str | Path) -> "dict[str, torch.Tensor]":
    """Read a state dict to the CPU.

    Raises:
        TisdissError: the file cannot be opened, or contains more or something else than weights, or
            numbers that are not finite.
    """
    import torch

    check_ordinary(path)
    check_stored(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise TisdissError(f"{path}: cannot be opened ({error.strerror}); check it") from None
    except Exception:  # which exceptions PyTorch raises for faulty files is not documented
        raise TisdissError(NO_WEIGHTS.format(path)) from None
    if reason := damage(Path(path), may_be_old=True):
        raise TisdissError(f"{path}: {reason}; replace it")
    if not isinstance(weights, dict):
        raise TisdissError(f"{path}: holds a {type(weights).__name__}, not weights")
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise TisdissError(
            f"{path}: holds more than weights, as a training's checkpoint.pth does; give its "
            "latest.pth or valid.loss.ave.pth"
        )
    if not all(isinstance(name, str) and _is_plain(value) for name, value in weights.items()):
        raise TisdissError(NO_WEIGHTS.format(path))
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        # if they were found later, the recording would seem to be at fault
        raise TisdissError(
            f"{path}: {broken[0]} holds NaN or infinity, as after a training that diverged; give "
            "other weights"
        )
    return weights


def _is_plain(tensor: "torch.Tensor") -> bool:
    """Whether a tensor stores all of its elements; others take more memory than their file."""
    import torch

    is_dense = tensor.layout == torch.strided and not tensor.is_quantized
    is_here = is_dense and tensor.device.type == "cpu"
    size = tensor.numel() * tensor.element_size()
    return is_here and size <= tensor.untyped_storage().nbytes()


def _files(folder: Path, weights: Path) -> dict[str, str]:
    """Return the two files after checking that the configuration exists."""
    config = folder / CONFIG
    if weights.suffix != ".pth":
        raise TisdissError(f"{weights}: weights are a .pth file; give that, or the model's folder")
    if not isfile(config):
        raise TisdissError(f"{config}: missing; a model is its {CONFIG} and its weights (*.pth)")
    return {"train_config": str(config), "model_file": str(weights)}


def _weights_in(folder: Path) -> Path:
    """Return a folder's weights: the best written by training, or the only ones."""
    for pattern in WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    found = [path for path in folder.glob("*.pth") if path.name != "checkpoint.pth"]
    if len(found) != 1:
        if not found:
            raise TisdissError(
                f"{folder}: holds no weights (*.pth); give the folder that a training wrote"
            )
        there = ", ".join(sorted(path.name for path in found))
        raise TisdissError(f"{folder}: which weights? give the file itself; there: {there}")
    return found[0]


def _unpacked(archive: Path) -> dict[str, str]:
    """Unpack an archive into the user's cache, once per content, and return its files."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = platformdirs.user_cache_path("tisdiss") / "models" / digest[:16]
    if not isdir(folder):
        try:
            unpack_model(archive, folder, CONFIG)
        except OSError as error:
            raise TisdissError(
                f"{archive}: cannot be unpacked into {folder.parent}: {error.strerror}"
            ) from None
    weights = sorted(folder.rglob("*.pth"))
    return _files(weights[0].parent, weights[0])


def _downloaded(tag: str) -> dict[str, str]:
    """Download a published model."""
    from espnet2.utils.pretrained import download_pretrained

    try:
        found = download_pretrained(tag)
    except (
        Exception
    ) as error:  # the network, the hub and the archive raise exceptions of many types
        raise TisdissError(
            f"{tag}: no such file or folder here, and no model of that tag could be fetched "
            f"({first_line(error)}); give a model's folder or weights, or {DEFAULT_MODEL}"
        ) from error
    return model_files(tag, found)
