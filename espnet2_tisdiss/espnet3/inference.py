"""Separation at several depths, as a model of ESPnet3's inference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from espnet3.contract.kinds.audio import Audio

from espnet2_tisdiss.choices import Scale
from espnet2_tisdiss.separate.speech import SeparateSpeech


def output_name(n_re: int, speaker: int) -> str:
    """Return the name of a speaker's estimate at a depth; speakers count from 1."""
    return f"re{n_re}_spk{speaker}"


class DepthModel:
    """A trained model that returns the estimates of several depths from one run.

    Args:
        train_config: config.yaml of the training.
        model_file: weights.
        n_re: the depths.
        scale: level of the estimates. With ``peak`` scores equal those of ``tisdiss sweep``;
            ``level`` may silence an estimate that is not part of the mixture.
        device: PyTorch's name of the device; ESPnet3 passes it.

    Raises:
        TisdissError: the files are missing or damaged, or the separator is not a TISDiSS.
        ValueError: in use: a depth is not an integer >= 1, or there is no such scale.
    """

    def __init__(
        self,
        train_config: str,
        model_file: str,
        n_re: Sequence[int],
        scale: Scale = "peak",
        device: str = "cpu",
    ):
        self._model = SeparateSpeech(train_config, model_file, device=device)
        self._n_re = list(n_re)
        self._scale = scale
        self.sample_rate = self._model.sample_rate

    def __call__(
        self, speech_mix: Audio | list[Audio]
    ) -> dict[str, Audio] | list[dict[str, Audio]]:
        """Separate a mixture, or a batch of them: the estimates by :func:`output_name`."""
        if isinstance(speech_mix, Audio):
            return self._separate([speech_mix])[0]
        return self._separate(speech_mix)

    def _separate(self, mixtures: list[Audio]) -> list[dict[str, Audio]]:
        waves = [mixture.array for mixture in mixtures]
        depths = self._model.depths(waves, self._n_re, self._scale)
        return [
            {
                output_name(n_re, speaker): Audio(wave, self.sample_rate)
                for n_re, found in depths.items()
                for speaker, wave in enumerate(found[item], start=1)
            }
            for item in range(len(mixtures))
        ]


def write_wav(value: np.ndarray, output_path: Path, sample_rate: int) -> Path:
    """Write a waveform (n,) as float WAV, one of ESPnet3's writers of results.

    ESPnet3's own writer uses 16 bits, which clips samples beyond full scale.
    """
    path = output_path.with_name(f"{output_path.name}.wav")  # the name may contain dots
    soundfile.write(path, value, sample_rate, subtype="FLOAT")
    return path
