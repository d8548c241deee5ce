"""Half precision where the device computes in it."""

import logging

import torch

from espnet2_tisdiss.checks import check_choice

DTYPES = ("float32", "float64", "bfloat16", "float16")
HALF_TYPES = (torch.float16, torch.bfloat16)


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """Return half-precision ``x`` as float32, and any other as it is."""
    return x.float() if x.dtype in HALF_TYPES else x


def half_precision(dtype: str, device: str) -> torch.dtype | None:
    """Return the half-precision type to compute in, or None where there is none to be had.

    Args:
        dtype: one of ``DTYPES``.
        device: PyTorch's name of the device.

    Returns:
        ``dtype`` if it is a half-precision type that the device has instructions for. Without
        them it would be slower than float32: a warning says that float32 is used.

    Raises:
        ValueError: ``dtype`` is none of ``DTYPES``.
    """
    check_choice("dtype", dtype, DTYPES)
    if dtype in ("float32", "float64"):
        return None
    if _has_instructions(dtype, torch.device(device).type):
        return getattr(torch, dtype)
    logging.warning("%s has no %s instructions; float32 is used", device, dtype)
    return None


def _has_instructions(dtype: str, device_type: str) -> bool:
    """Say whether a kind of device computes in a half-precision type."""
    if device_type == "cuda":
        return dtype == "float16" or torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu":
        return dtype == "float16"
    found = torch.cpu.get_capabilities()
    kinds = (
        ("amx_bf16", "avx512_bf16", "bf16") if dtype == "bfloat16" else ("amx_fp16", "avx512_fp16")
    )
    return any(found.get(kind, False) for kind in kinds)
