"""The weights of a model: a check that they match it, and a fingerprint of the model."""

import hashlib
from collections.abc import Iterable, Mapping

import torch

from espnet2_tisdiss.checks import abbreviated

# parts of a configuration on which the output of given weights depends
_CONFIG_PARTS = (
    *("encoder", "encoder_conf", "separator", "separator_conf", "decoder", "decoder_conf"),
    "model_conf",
)


class WeightsError(RuntimeError):
    """The weights do not match the model; a RuntimeError, as PyTorch raises for wrong shapes."""


def check_names(expected: Iterable[str], found: Iterable[str]) -> None:
    """Check that the weights found have exactly the names expected.

    ESPnet loads with strict=False, which would silently skip weights that do not match.

    Raises:
        WeightsError: names are missing or left over; the message lists them.
    """
    missing, left_over = set(expected) - set(found), set(found) - set(expected)
    if missing or left_over:
        raise WeightsError(
            "the weights do not fit this TISDiSS configuration; "
            f"missing: {abbreviated(missing) or 'none'}; "
            f"left over: {abbreviated(left_over) or 'none'}"
        )


def fingerprint(weights: Mapping[str, torch.Tensor], config: Mapping[str, object]) -> str:
    """Return a name of a model, derived from its weights and configuration."""
    digest = hashlib.sha256()
    for part in _CONFIG_PARTS:
        digest.update(f"{part}: {config.get(part)}\n".encode())
    for name, value in sorted(weights.items()):
        digest.update(f"{name}: {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]
