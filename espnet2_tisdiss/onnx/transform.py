"""Transforming waveforms into the input of the graphs, and back, in NumPy.

Axis letters: j speaker, n sample, t frame, f frequency bin.
"""

import numpy as np

from espnet2_tisdiss.audio.spectra import frame_spectra, overlap_add
from espnet2_tisdiss.onnx.folder import Description


class Transform:
    """STFT, its inverse and the normalisation of the mixture, as in PyTorch's model.

    Args:
        description: description of the exported model.
    """

    def __init__(self, description: Description):
        self._window = np.array(description.window, np.float32)
        self._hop, self._gain = description.hop, description.gain
        self._margin = len(self._window) // 2 if description.center else 0
        self._normalises = description.normalises

    def encode(self, wave: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the spectrum (t, f, 2) of a waveform (n,), and the factor for its estimates."""
        length = self._padded(len(wave))
        wave = np.pad(wave.astype(np.float32), (0, length - len(wave)))
        scale = float(wave.std(ddof=1)) if self._normalises else 1.0
        if scale == 0:  # silence stays silence
            scale = 1.0
        wave = np.pad(wave / np.float32(scale), self._margin, mode="reflect")
        spectrum = frame_spectra(wave, self._window, self._hop) * np.float32(self._gain)
        return np.ascontiguousarray(spectrum[..., None]).view(np.float32), scale

    def decode(self, spectra: np.ndarray, length: int, scale: float) -> np.ndarray:
        """Return the waveforms (j, n), with a length in samples, of spectra (j, t, f, 2)."""
        pairs = np.ascontiguousarray(spectra, np.float32)
        waves = overlap_add(pairs.view(np.complex64)[..., 0], self._window, self._hop)
        waves = waves[:, self._margin :][:, :length] * np.float32(scale / self._gain)
        return np.pad(waves, ((0, 0), (0, length - waves.shape[1])))

    def _padded(self, length: int) -> int:
        """Return the length of a padded waveform: a multiple of the hop, at least one transform."""
        return max(len(self._window), length + -length % self._hop)
