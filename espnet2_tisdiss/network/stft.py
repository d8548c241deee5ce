"""ESPnet's ``stft`` encoder and decoder, without ESPnet's slow import.

ESPnet's modules import PyTorch's compiler, which takes seconds. These two give the same numbers for
waveforms of one channel. Axis letters: b batch, n sample, t frame, f frequency bin.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from espnet2_tisdiss.checks import check_flag, check_integer, shown
from espnet2_tisdiss.errors import OptionError

MOST_SAMPLES = 16384  # samples of a transform; a third of a second at 48 kHz
LEAST_OVERLAP = 1e-11  # the smallest divisor that PyTorch accepts


class STFT(nn.Module):
    """Options of the short-time Fourier transform, as in ESPnet.

    Args:
        n_fft: samples of a transform.
        win_length: samples of the window; None: ``n_fft``.
        hop_length: samples from one frame to the next.
        window: the name of a window function of PyTorch, such as ``hann``; None: no window.
        center: whether frames are centred on their time.
        normalized: whether the transform preserves the energy.
        onesided: whether the bins end at half the sample rate.

    Raises:
        OptionError: an option has an impossible value.
    """

    def __init__(
        self,
        n_fft: int = 512,
        win_length: int | None = None,
        hop_length: int = 128,
        window: str | None = "hann",
        center: bool = True,
        normalized: bool = False,
        onesided: bool = True,
    ):
        super().__init__()
        self.n_fft = check_integer("n_fft", n_fft, 1, MOST_SAMPLES)
        self.win_length = check_integer(
            "win_length", n_fft if win_length is None else win_length, 1, self.n_fft
        )
        self.hop_length = check_integer("hop_length", hop_length, 1, self.n_fft)
        if window is not None and not hasattr(torch, f"{shown(window)[1:-1]}_window"):
            raise OptionError(f"window must be the name of one of PyTorch's; got {shown(window)}")
        for name, flag in {
            "center": center,
            "normalized": normalized,
            "onesided": onesided,
        }.items():
            check_flag(name, flag)
        self.window, self.center = window, center
        self.normalized, self.onesided = normalized, onesided

    @property
    def output_dim(self) -> int:
        """Frequency bins f."""
        return self.n_fft // 2 + 1 if self.onesided else self.n_fft

    def check_inverse(self) -> None:
        """Check that the windows leave no gaps, where the inverse transform would be undefined.

        Raises:
            OptionError: they do.
        """
        window = torch.ones(self.win_length)
        if self.window is not None:
            window = getattr(torch, f"{self.window}_window")(self.win_length)
        power = window.square()
        overlap = pad(power, (0, -len(power) % self.hop_length)).view(-1, self.hop_length).sum(0)
        if not self.center:  # the waveform begins where the first window does
            overlap = torch.minimum(overlap, power[0])
        if overlap.min() <= LEAST_OVERLAP:
            raise OptionError(
                f"windows {self.window} of {self.win_length} samples every {self.hop_length}, with "
                f"center {str(self.center).lower()}, leave gaps; give a shorter hop_length"
                + (" or center true" if not self.center else "")
            )

    def _options(self, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
        """Return PyTorch's arguments, the window in a type: a converted one would be rounded."""
        names = ("n_fft", "hop_length", "win_length", "center", "normalized", "onesided")
        options = {name: getattr(self, name) for name in names}
        if self.window is not None:
            function = getattr(torch, f"{self.window}_window")
            options["window"] = function(self.win_length, dtype=dtype, device=device)
        return options


class STFTEncoder(STFT):
    """From waveforms to complex spectra."""

    @torch.amp.autocast("cuda", enabled=False)
    def forward(
        self, input: Tensor, ilens: Tensor | None, fs: None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Transform a batch.

        Args:
            input: waveforms (b, n).
            ilens: (b,) valid samples of each; None: all.
            fs: unused; ESPnet passes it.

        Returns:
            Spectra (b, t, f), zero beyond the valid frames, and the valid frames (b,) or None.
        """
        # float32 also for float64 input, as in ESPnet
        options = self._options(input.dtype, input.device)
        spectrum = torch.stft(input.float(), **options, return_complex=True)
        spectrum = spectrum.to(input.dtype.to_complex()).transpose(1, 2)
        if ilens is None:
            return spectrum, None
        reach = ilens + 2 * (self.n_fft // 2) if self.center else ilens
        frames = torch.div(reach - self.n_fft, self.hop_length, rounding_mode="trunc") + 1
        index = torch.arange(spectrum.shape[1], device=spectrum.device)
        beyond = index >= frames.to(spectrum.device)[:, None]
        return spectrum.masked_fill_(beyond[..., None], 0), frames


class STFTDecoder(STFT):
    """From complex spectra to waveforms."""

    @torch.amp.autocast("cuda", enabled=False)
    def forward(self, input: Tensor, ilens: Tensor, fs: None = None) -> tuple[Tensor, Tensor]:
        """Transform a batch back.

        Args:
            input: spectra (b, t, f).
            ilens: (b,) samples of each.
            fs: unused; ESPnet passes it.

        Returns:
            Waveforms (b, n) of the largest of these lengths, and ``ilens``.
        """
        options = self._options(input.real.dtype, input.device)
        waves = torch.istft(input.transpose(1, 2), **options, length=int(ilens.max()))
        return waves, ilens
