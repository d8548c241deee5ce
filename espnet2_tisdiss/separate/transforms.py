"""A trained model's way from waveforms to features and back, for batches of different lengths.

Axis letters: b batch, j speaker, t frame, f feature, n sample.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torch_complex.tensor import ComplexTensor

from espnet2_tisdiss.network.assembly import hop_of
from espnet2_tisdiss.separate.arrays import as_floats

if TYPE_CHECKING:
    from espnet2.enh.espnet_model import ESPnetEnhancementModel

    from espnet2_tisdiss.network.assembly import Network

FRAMES_STEP = 32  # on a CPU, mixtures are padded to a multiple of so many frames


class Transforms:
    """Encoder and decoder of a model, with its normalisation of mixtures.

    Each waveform is transformed alone: to pad it to the others' length would change the frames at
    its end. With silence it is brought to whole hops, a deviation from ESPnet: where a wave ends
    between two frames, the inverse STFT divides its last samples by a window's vanishing slope, and
    makes a click of what is no spectrum of any wave.

    Args:
        model: ESPnet's model, or the network in its place.
        device: that the model is on.
        dtype: of its waveforms.

    Attributes:
        hop: samples from one frame of the encoder to the next.
        look_ahead: samples after each one that its estimate depends on, if the model is causal:
            those of a window; None: all samples of the mixture.
        normalises: whether the model wants mixtures of deviation 1.
    """

    def __init__(self, model: "Network | ESPnetEnhancementModel", device: str, dtype: torch.dtype):
        encoder = model.encoder
        self.hop = hop_of(encoder)
        self.look_ahead = encoder.win_length if model.separator.config.causal else None
        self._encoder, self._decoder = encoder, model.decoder
        self._device, self._dtype = device, dtype
        # the STFT's last frame has its middle at the end of a whole number of hops, and is whole;
        # of a learned encoder's frames the last ones have to lie beyond the end
        if hasattr(encoder, "n_fft"):
            self._least, self._beyond = encoder.n_fft, 0
        else:
            self._least, self._beyond = encoder.kernel_size, encoder.kernel_size - self.hop
        self.normalises = model.normalize_variance or model.normalize_variance_per_ch

    def padded(self, length: int) -> int:
        """Return the samples that a wave of a length is brought to."""
        return max(self._least, length + -length % self.hop + self._beyond)

    def encode(self, waves: Sequence[np.ndarray]) -> tuple[Tensor, Tensor, list[Tensor | float]]:
        """Return the features (b, t, f) of waves (n,), their frames (b,), and the waves' scales."""
        each: list[Tensor] = []
        scales: list[Tensor | float] = []
        for samples in waves:
            wave = as_tensor(samples).to(self._device, self._dtype)
            wave = pad(wave, (0, self.padded(len(wave)) - len(wave)))
            scales.append(wave.std() if self.normalises else 1.0)
            feature, _ = self._encoder(wave[None] / scales[-1], torch.tensor([len(wave)]))
            if isinstance(feature, ComplexTensor):
                feature = torch.complex(feature.real, feature.imag)
            each.append(feature[0])
        lengths = torch.tensor([len(feature) for feature in each])  # known without a GPU
        features = pad_sequence(each, batch_first=True)  # (b, t, f)
        if features.device.type == "cpu":
            # each new shape costs oneDNN more than a separation of some seconds
            features = pad(features, (0, 0, 0, -features.shape[1] % FRAMES_STEP))
        return features, lengths, scales

    def decode(self, features: Tensor, length: int, scale: Tensor | float) -> Tensor:
        """Return the waves (j, n), of a length in samples, of features (j, t, f)."""
        waves, _ = self._decoder(features, torch.full((len(features),), self.padded(length)))
        return waves[:, :length] * scale


def as_tensor(samples: Tensor | np.ndarray) -> Tensor:
    """Return samples as a tensor that can be converted to an array."""
    if (
        isinstance(samples, Tensor)
        and samples.dtype in (torch.float32, torch.float64)
        and samples.layout is torch.strided
        and not samples.is_meta
    ):
        return samples.detach()  # on its device
    # PyTorch does not take arrays with negative strides
    return torch.as_tensor(np.array(as_floats(samples), order="C", copy=None))
