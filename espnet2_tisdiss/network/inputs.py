"""The separator's input: checked spectra or features, and the mask of their frames.

Axis letters: b batch, t frame, f frequency bin or feature.
"""

import torch
from torch import Tensor
from torch_complex.tensor import ComplexTensor


def checked_input(
    input: Tensor | ComplexTensor, ilens: Tensor | None, input_dim: int, is_real: bool
) -> Tensor:
    """Check the input of a separator, and return it as a tensor (b, t, f).

    ESPnet's normalize_variance divides digital silence by its standard deviation, 0. So an item
    that is NaN in all valid frames becomes silence; other NaNs stay, to show a broken input.

    Args:
        input: (b, t, f) or (b, t, 1, f).
        ilens: (b,) valid frames of each item; None: all frames.
        input_dim: the number f.
        is_real: whether it must be the real features of a learned encoder, not a complex spectrum.

    Raises:
        TypeError: it is real instead of complex, or complex instead of real.
        ValueError: it has another shape, or no frames.
    """
    if isinstance(input, ComplexTensor):
        input = torch.complex(input.real, input.imag)
    if torch.is_complex(input) == is_real:
        raise TypeError(
            "TISDiSS needs a complex spectrum (encoder: stft), or with segment_size real "
            f"features (encoder: conv); got {input.dtype}"
        )
    if input.dim() == 4 and input.shape[2] == 1:
        input = input.squeeze(2)
    if input.dim() != 3 or input.shape[2] != input_dim or not input.numel():
        raise ValueError(
            f"TISDiSS needs single-channel features (batch, frames, {input_dim}) or "
            f"(batch, frames, 1, {input_dim}); got {tuple(input.shape)}"
        )
    is_nan = input.isnan().all(2)  # (b, t)
    if ilens is not None:
        is_nan |= ~_frame_mask(ilens, input)
    return input.masked_fill(is_nan.all(1)[:, None, None], 0)


def valid_frames(ilens: Tensor | None, mixture: Tensor) -> Tensor | None:
    """Return (b, t), false at padded frames of ``mixture`` (b, t, f), or None without padding.

    Reading lengths from a GPU synchronises once a call; attention without a mask is worth it. Pass
    CPU lengths or None to avoid it (CUDA graphs).
    """
    n_frames = mixture.shape[1]
    if ilens is None or bool((ilens >= n_frames).all()):
        return None
    return _frame_mask(ilens, mixture)


def _frame_mask(ilens: Tensor, mixture: Tensor) -> Tensor:
    """Return (b, t), true at the first ``ilens`` (b,) frames of each item of ``mixture``."""
    # a blocking copy would wait for all work queued on the GPU
    ilens = ilens.to(mixture.device, non_blocking=True)
    return torch.arange(mixture.shape[1], device=mixture.device) < ilens[:, None]
