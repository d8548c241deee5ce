"""The separator as the three parts that are exported, for one mixture and in real numbers.

The caller runs the second part once per repetition. Axis letters: j speaker, h feature channel,
t frame, f frequency bin or band.
"""

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.separator import TISDiSSSeparator


class Encode(nn.Module):
    """From the mixture's spectrum (t, f, 2) to the streams before the repetitions.

    Args:
        separator: for spectra.
    """

    def __init__(self, separator: TISDiSSSeparator):
        super().__init__()
        self.separator = separator

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        """Return the streams (j, t, f, h), and the reference (1, t, f, h) if there is one."""
        embedded, _ = self.separator.conv(spectrum.unsqueeze(0), None)
        streams = self.separator.split(embedded, None)
        reference = self.separator.reference(embedded, None)
        return tuple(part.squeeze(0) for part in (streams, reference) if part is not None)


class Repeat(nn.Module):
    """One repetition.

    Args:
        separator: for spectra.
    """

    def __init__(self, separator: TISDiSSSeparator):
        super().__init__()
        self.separator = separator

    def forward(self, streams: Tensor, reference: Tensor | None = None) -> Tensor:
        """Return the next streams (j, t, f, h), of streams and the reference (1, t, f, h)."""
        if reference is not None:
            reference = reference.unsqueeze(0)
        *_, last = self.separator.repetition(streams.unsqueeze(0), reference, None)
        return last.squeeze(0)


class Decode(nn.Module):
    """From streams and the mixture's spectrum to the speakers' spectra.

    Args:
        separator: for spectra.
    """

    def __init__(self, separator: TISDiSSSeparator):
        super().__init__()
        self.separator = separator

    def forward(self, streams: Tensor, spectrum: Tensor) -> Tensor:
        """Return the spectra (j, t, f, 2), of streams (j, t, f, h) and a spectrum (t, f, 2)."""
        found = self.separator.reconstructor_deconv(streams, None, spectrum.shape[0])
        if not self.separator.config.mask:
            return found
        (real, imaginary), (mask_real, mask_imaginary) = spectrum.unbind(-1), found.unbind(-1)
        return torch.stack(
            (
                mask_real * real - mask_imaginary * imaginary,
                mask_real * imaginary + mask_imaginary * real,
            ),
            -1,
        )
