"""Separation of waveforms with the depth as a dial.

:class:`SeparateSpeech` is ESPnet's class of that name, constructed and called the same way, with
the number of repetitions chosen per call, estimates at every depth from one run, and a run that
stops by itself. Axis letters: b batch, j speaker, n sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import espnet2.bin.enh_inference
import numpy as np
import torch
from espnet2.utils.pretrained import download_pretrained
from torch import Tensor

from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.separator import TISDiSSSeparator, refuse_mismatch


@dataclass(frozen=True)
class Estimate:
    """Separated waveforms at one depth.

    Attributes:
        n_re: repetitions that were run for each item (b,).
        waves: num_spk arrays (b, n).
    """

    n_re: np.ndarray
    waves: list[np.ndarray]


class SeparateSpeech(espnet2.bin.enh_inference.SeparateSpeech):
    """ESPnet's ``SeparateSpeech`` for a TISDiSS model, with the depth as a dial.

    Args:
        train_config: config.yaml of the training; None: the one beside ``model_file``.
        model_file: weights.
        *args: as for ESPnet's class.
        n_re: repetitions N_re unless a call says otherwise; None: as the model was trained.
        **kwargs: as for ESPnet's class.

    Raises:
        ValueError: the model's separator is no TISDiSS, or ``n_re`` no integer >= 0.
        RuntimeError: the weights do not fit the configuration, encoder and decoder included.

    Example:
        >>> separate = SeparateSpeech("exp/config.yaml", "exp/valid.loss.ave.pth", n_re=4)
        >>> speakers = separate(mixture)              # (b, n) to num_spk arrays (b, n)
        >>> quick = separate(mixture, n_re=1)
        >>> sweep = separate.depths(mixture, [1, 2, 4, 8])
        >>> for estimate in separate.anytime(mixture, n_re=8):
        ...     play(estimate.waves)
    """

    def __init__(
        self,
        train_config: Path | str | None = None,
        model_file: Path | str | None = None,
        *args: Any,
        n_re: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(train_config, model_file, *args, **kwargs)
        if not isinstance(self.separator, TISDiSSSeparator):
            raise ValueError(
                f"the model's separator is {type(self.separator).__name__}, no TISDiSS"
            )
        if model_file is not None:
            # ESPnet loads what fits, and passes the rest over in silence
            weights = torch.load(model_file, map_location="cpu", weights_only=True)
            names = self.enh_model.state_dict().keys()
            refuse_mismatch(names - weights.keys(), weights.keys() - names)
        if n_re is not None:
            self.separator.reconstructor_repeat_times = n_re

    @staticmethod
    def from_pretrained(model_tag: str | None = None, **kwargs: Any) -> "SeparateSpeech":
        """Build from a published model's tag, or from files given as keyword arguments."""
        if model_tag is not None:
            kwargs.update(download_pretrained(model_tag))
        return SeparateSpeech(**kwargs)

    @property
    def separator(self) -> TISDiSSSeparator:
        """The model's separator."""
        return self.enh_model.separator

    def __call__(
        self,
        speech_mix: Tensor | np.ndarray,
        fs: int = 8000,
        n_re: int | None = None,
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """Separate a batch of mixtures.

        Args:
            speech_mix: (b, n), at the model's sample rate.
            fs: sample rate in Hz, as in ESPnet: for the lengths of segments.
            n_re: repetitions of this call; None: the instance's.
            **kwargs: as for ESPnet's class.

        Returns:
            num_spk arrays (b, n).
        """
        usual = self.separator.reconstructor_repeat_times
        if n_re is not None:
            self.separator.reconstructor_repeat_times = n_re
        try:
            return super().__call__(speech_mix, fs=fs, **kwargs)
        finally:
            self.separator.reconstructor_repeat_times = usual

    def anytime(
        self, speech_mix: Tensor | np.ndarray, n_re: int | None = None
    ) -> Iterator[Estimate]:
        """Yield estimates from shallow to deep, each as soon as its repetition is done.

        To stop early costs nothing: no repetition is run before its estimate is asked for.

        Args:
            speech_mix: (b, n), at the model's sample rate.
            n_re: the last depth; None: the instance's.

        Yields:
            The estimates after 1, 2, ... ``n_re`` repetitions.
        """
        last = self.separator.reconstructor_repeat_times if n_re is None else n_re
        check_integer("n_re", last, 1)
        mixture, lengths, scale = self._normalised(speech_mix)
        with torch.inference_mode():
            features, feature_lengths = self.enh_model.encoder(mixture, lengths)
            depths = self.separator.anytime(features, feature_lengths, last)
        for depth in range(last + 1):
            # entered anew for each step: a generator must not leave its caller in this mode
            with torch.inference_mode():
                estimates = next(depths)
                if depth > 0:  # depth 0, the splitter's output, is no estimate of a repetition
                    waves = [self.enh_model.decoder(e, lengths)[0] * scale for e in estimates]
            if depth > 0:
                repeats = np.full(len(mixture), depth)
                yield Estimate(repeats, [wave.cpu().numpy() for wave in waves])

    def depths(
        self, speech_mix: Tensor | np.ndarray, n_re: Sequence[int]
    ) -> dict[int, list[np.ndarray]]:
        """Separate at several depths for the price of the deepest.

        Args:
            speech_mix: (b, n), at the model's sample rate.
            n_re: the depths wanted, in any order.

        Returns:
            For each depth what :meth:`__call__` gives at it.
        """
        wanted = {check_integer("n_re", depth, 1) for depth in n_re}
        estimates = enumerate(self.anytime(speech_mix, max(wanted)), start=1)
        found = {depth: estimate.waves for depth, estimate in estimates if depth in wanted}
        return {depth: found[depth] for depth in n_re}

    def until_stable(
        self, speech_mix: Tensor | np.ndarray, stop_db: float = -30.0, n_re: int | None = None
    ) -> Estimate:
        """Repeat until another repetition changes the estimate by less than a threshold.

        Args:
            speech_mix: (b, n), at the model's sample rate.
            stop_db: threshold, in dB, on the energy of the change against that of the estimate.
            n_re: the most repetitions; None: the instance's.

        Returns:
            The estimate of each item at ITS depth: an item is done when its own change is small,
            whatever else is in the batch.
        """
        previous = result = None
        for estimate in self.anytime(speech_mix, n_re):
            waves = np.stack(estimate.waves)  # (j, b, n)
            if previous is None:
                result, running = waves.copy(), np.full(waves.shape[1], True)
                n_used = estimate.n_re.copy()
            else:
                result[:, running] = waves[:, running]
                n_used[running] = estimate.n_re[running]
                change = np.square(waves - previous).sum((0, 2))
                running &= change > np.square(waves).sum((0, 2)) * 10 ** (stop_db / 10)
            if not running.any():
                break
            previous = waves
        return Estimate(n_used, list(result))

    def _normalised(self, speech_mix: Tensor | np.ndarray) -> tuple[Tensor, Tensor, Tensor | float]:
        """Return the mixture (b, n) as the model wants it, lengths (b,) and the scale (b, 1)."""
        mixture = torch.as_tensor(speech_mix).to(self.device, getattr(torch, self.dtype))
        if mixture.dim() != 2:
            raise ValueError(f"mixtures must be (batch, samples); got {tuple(mixture.shape)}")
        lengths = torch.full((len(mixture),), mixture.shape[1], device=self.device)
        if not self.enh_model.normalize_variance:
            return mixture, lengths, 1.0
        scale = mixture.std(dim=1, keepdim=True)
        return mixture / scale, lengths, scale
