"""A trained model's transforms from waveforms to features and back, for different lengths.

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

FRAMES_STEP = 32  # on a CPU, mixtures are padded to a multiple of this number of frames


class Transforms:
    """Encoder and decoder of a model, with its normalisation of mixtures.

    Each waveform is transformed separately, because padding it to the length of the others would
    change the frames at its end. Unlike in ESPnet, it is padded with silence to a multiple of the
    hop. Otherwise, if a waveform ends between two frames, the inverse STFT divides its last samples
    by the vanishing slope of the window. An estimated spectrum is not exactly that of any waveform,
    so this would make a click.

    Args:
        model: ESPnet's model, or the network that replaces it.
        device: device of the model.
        dtype: data type of its waveforms.

    Attributes:
        hop: samples from one frame of the encoder to the next.
        look_ahead: for a causal model, the number of later samples that an estimated sample depends
            on, which is that of a window; None: it depends on all samples of the mixture.
        normalises: whether the model expects mixtures with a standard deviation of 1.
    """

    def __init__(self, model: "Network | ESPnetEnhancementModel", device: str, dtype: torch.dtype):
        encoder = model.encoder
        self.hop = hop_of(encoder)
        self.look_ahead = encoder.win_length if model.separator.config.causal else None
        self._encoder, self._decoder = encoder, model.decoder
        self._device, self._dtype = device, dtype
        # the STFT's last frame is centred on the end of the padded waveform and complete; the last
        # frames of a learned encoder must extend beyond the end
        if hasattr(encoder, "n_fft"):
            self._least, self._beyond = encoder.n_fft, 0
        else:
            self._least, self._beyond = encoder.kernel_size, encoder.kernel_size - self.hop
        self.normalises = model.normalize_variance or model.normalize_variance_per_ch

    def padded(self, length: int) -> int:
        """Return the length in samples to which a waveform is padded."""
        return max(self._least, length + -length % self.hop + self._beyond)

    def encode(self, waves: Sequence[np.ndarray]) -> tuple[Tensor, Tensor, list[Tensor | float]]:
        """Return the features (b, t, f) of waveforms (n,), their frames (b,) and their scales."""
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
        # known without waiting for a GPU
        lengths = torch.tensor([len(feature) for feature in each])
        features = pad_sequence(each, batch_first=True)  # (b, t, f)
        if features.device.type == "cpu":
            # for oneDNN, each new shape costs more than the separation of a few seconds of audio
            features = pad(features, (0, 0, 0, -features.shape[1] % FRAMES_STEP))
        return features, lengths, scales

    def decode(self, features: Tensor, length: int, scale: Tensor | float) -> Tensor:
        """Return the waveforms (j, n), with a length in samples, of features (j, t, f)."""
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
