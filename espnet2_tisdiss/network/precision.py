"""Half precision, if the device has instructions for it."""

import logging
from functools import cache

import torch

from espnet2_tisdiss.checks import check_choice
from espnet2_tisdiss.choices import DTYPES, Dtype

HALF_TYPES = (torch.float16, torch.bfloat16)


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """Return half-precision ``x`` as float32, and any other ``x`` unchanged."""
    return x.float() if x.dtype in HALF_TYPES else x


def half_precision(dtype: Dtype, device: str) -> torch.dtype | None:
    """Return the half-precision type to compute in, or None.

    Without such instructions, half precision is slower than float32; then this logs a warning and
    returns None.

    Args:
        dtype: requested type; ``auto``: bfloat16 if the device has instructions for it.
        device: PyTorch's name of the device.

    Returns:
        The half-precision type if the device has instructions for it, else None.

    Raises:
        ValueError: ``dtype`` is not one of ``DTYPES``.
    """
    check_choice("dtype", dtype, DTYPES)
    if dtype in ("float32", "float64"):
        return None
    device_type = torch.device(device).type
    if dtype == "auto":
        return torch.bfloat16 if _has_instructions("bfloat16", device_type) else None
    if _has_instructions(dtype, device_type):
        return getattr(torch, dtype)
    logging.warning("%s has no %s instructions; float32 is used", device, dtype)
    return None


@cache
def training_precision(dtype: Dtype, device_type: str) -> torch.dtype | None:
    """Return what :func:`half_precision` returns; cached, so that it warns only once."""
    return half_precision(dtype, device_type)


def _has_instructions(dtype: Dtype, device_type: str) -> bool:
    """Return whether a type of device has instructions for a half-precision type."""
    if device_type == "cuda":
        return dtype == "float16" or torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu":
        return dtype == "float16"
    found = torch.cpu.get_capabilities()
    kinds = (
        ("amx_bf16", "avx512_bf16", "bf16") if dtype == "bfloat16" else ("amx_fp16", "avx512_fp16")
    )
    return any(found.get(kind, False) for kind in kinds)
