"""Converting samples in any array or tensor to floats with full scale 1."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_tisdiss.errors import TisdissError, first_line

if TYPE_CHECKING:  # exported models run without PyTorch
    from torch import Tensor

# full scale and zero of integer samples, as in WAV files
_INTEGERS = {"int8": (2**7, 0), "uint8": (2**7, 2**7), "int16": (2**15, 0), "int32": (2**31, 0)}


def refuse_path(samples: Any) -> None:
    """Raise TisdissError if a path is given instead of samples."""
    if isinstance(samples, (str, bytes, os.PathLike)):
        raise TisdissError(
            f"{os.fsdecode(samples)}: is a path, not samples; model.file(path) separates a file"
        )


def as_floats(samples: Any) -> np.ndarray:
    """Return samples of any shape as native float32, or as float64 if they have that precision.

    Integers are scaled so that full scale is 1. Tensors lose their gradient.

    Raises:
        TisdissError: the samples are complex, integers of unknown full scale, not numbers, or a
            path.
    """
    refuse_path(samples)
    if hasattr(samples, "detach"):  # a tensor
        samples = _as_array(samples)
    try:
        array = np.asarray(samples)
    except ValueError:  # rows of different lengths
        raise TisdissError("samples must be one array; got a list of different lengths") from None
    if array.dtype.kind == "f":
        return array.astype(np.float64 if array.dtype.itemsize >= 8 else np.float32, copy=False)
    name = array.dtype.newbyteorder("=").name
    if name not in _INTEGERS:
        known = ", ".join(_INTEGERS)
        raise TisdissError(f"samples must be floats with full scale 1, or {known}; got {name}")
    full_scale, zero = _INTEGERS[name]
    return ((array.astype(np.float64) - zero) / full_scale).astype(np.float32)


def _as_array(tensor: "Tensor") -> np.ndarray:
    """Return a tensor as an array.

    Raises:
        TisdissError: it is sparse, quantized or without content.
    """
    try:
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        if tensor.is_floating_point() and tensor.itemsize < 4:
            tensor = tensor.float()  # numpy has no bfloat16
        return tensor.numpy()
    except (RuntimeError, TypeError) as error:
        reason = first_line(error)
        raise TisdissError(
            f"samples must be an array or a dense tensor with content: {reason}"
        ) from None


def check_finite(name: str, samples: np.ndarray) -> None:
    """Refuse samples (n,) or (n, c) that are not all finite; the error names the first.

    Raises:
        TisdissError: a sample is NaN or infinite.
    """
    finite = np.isfinite(samples)
    if not finite.all():
        position = tuple(np.argwhere(~finite)[0].tolist())
        where = ", channel ".join(map(str, position))
        raise TisdissError(f"{name}: sample {where} is {samples[position]}, not a finite number")
