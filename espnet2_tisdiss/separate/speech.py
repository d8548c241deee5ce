"""Separation of waveforms, recordings and files with a trained model.

:class:`SeparateSpeech` is constructed and called like ESPnet's class of that name. Axis letters:
b batch, c channel, j speaker, n sample.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from espnet2_tisdiss.checks import check_number
from espnet2_tisdiss.choices import Dtype
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lazy_espnet import espnet_module
from espnet2_tisdiss.network.depth import depth_of_call
from espnet2_tisdiss.separate.any_length import RecordingSeparator
from espnet2_tisdiss.separate.arrays import refuse_path
from espnet2_tisdiss.separate.loaded_model import LoadedModel
from espnet2_tisdiss.separate.loudness import PEAK
from espnet2_tisdiss.separate.transforms import as_tensor

if TYPE_CHECKING:  # its import takes seconds
    import espnet2.bin.enh_inference

LEAST_SEGMENT = 1e-3  # seconds of ESPnet's segments


class SeparateSpeech(LoadedModel, RecordingSeparator):
    """ESPnet's ``SeparateSpeech`` for a TISDiSS model, with an adjustable depth.

    It has the arguments and attributes of ESPnet's class, and its calls give the same results, but
    it is not a subclass. ESPnet's task, whose import takes seconds, is imported only for ESPnet's
    segments, joint models, models with an ``inference_config`` or without weights, and encoders,
    decoders or options that :mod:`espnet2_tisdiss.network.assembly` does not know.

    Methods take mixtures as an array (b, n), or as a list of b waveforms (n,) of different lengths.
    A list runs as one padded batch, and the result for each waveform is independent of the others.

    Args:
        train_config: config.yaml of the training; None: the one in the folder of ``model_file``.
        model_file: the weights file.
        inference_config: YAML file with model options that replace those of the training.
        segment_size: seconds of ESPnet's segments. Segments, their scale and
            ``normalize_output_wav`` apply only to calls, ``separate(mixture)``; :meth:`recording`
            has its own chunks and scale.
        hop_size: seconds from one segment to the next; None: do not segment.
        normalize_segment_scale: scale each segment to the level of the mixture.
        show_progressbar: show progress over the segments.
        ref_channel: as in ESPnet's class; a model takes one channel.
        normalize_output_wav: scale each estimate to a peak of 0.9.
        device: PyTorch's name of the device.
        dtype: ``float32``, ``float64``, or ``bfloat16`` or ``float16``: the separator computes in
            half precision if the device supports it, otherwise in float32. ``auto``: bfloat16 for
            models trained in it, float32 for others.
        enh_s2t_task: whether the model is the first part of a joint model with recognition; not
            needed if the configuration is that of a joint model.
        n_re: default number of repetitions, N_re; None: as in training.
        sample_rate: sample rate of the model in Hz; None: from its configuration.
        half_weights: in half precision, also convert the separator's weights, which halves their
            memory.
        compiled: fuse the separator's blocks with ``torch.compile``. The first call takes minutes,
            so this pays off on GPUs for many calls with mixtures of equal length.

    Raises:
        TisdissError: the files are damaged or do not match, the separator is not a TISDiSS, or the
            model always runs at 48 kHz.
        ValueError: ``n_re`` is not an integer >= 0, ``sample_rate`` not one >= 1, or ``dtype`` is
            unknown.

    Example:
        >>> model = SeparateSpeech.from_pretrained()  # "voices", or the folder of your own
        >>> speakers = model(mixture)              # (b, n) to num_spk arrays (b, n)
        >>> quick = model(mixture, n_re=1)
        >>> sweep = model.depths(mixture, [1, 2, 4, 8])
        >>> for estimate in model.anytime(mixture, n_re=8):
        ...     play(estimate.waves[0])            # (j, n) of the first mixture
        >>> voices = model.recording(samples, 44100)  # any length and rate
        >>> voices, rate = model.file("talk.wav", rtf=0.5)

    Attributes:
        enh_model: the model, a :class:`~espnet2_tisdiss.network.assembly.Network` or ESPnet's.
        enh_train_args: the configuration of the training.
        num_spk: number of speakers.
        sample_rate: sample rate of the model in Hz.
        dtype: data type of waveforms and spectra, ``float32`` or ``float64``.
        precision: data type in which the separator computes.
        hop: samples from one frame of the encoder to the next.
        look_ahead: for a causal model, the number of later samples that an estimated sample depends
            on; None: it depends on all samples of the mixture.
    """

    def __init__(
        self,
        train_config: Path | str | None = None,
        model_file: Path | str | None = None,
        inference_config: Path | str | None = None,
        segment_size: float | None = None,
        hop_size: float | None = None,
        normalize_segment_scale: bool = False,
        show_progressbar: bool = False,
        ref_channel: int | None = None,
        normalize_output_wav: bool = False,
        device: str = "cpu",
        dtype: Dtype = "float32",
        enh_s2t_task: bool = False,
        *,
        n_re: int | None = None,
        sample_rate: int | None = None,
        half_weights: bool = False,
        compiled: bool = False,
    ):
        for name, seconds in {"segment_size": segment_size, "hop_size": hop_size}.items():
            if seconds is not None:
                check_number(name, seconds, LEAST_SEGMENT, float("inf"))
        super().__init__(
            train_config,
            model_file,
            inference_config,
            device,
            dtype,
            enh_s2t_task,
            n_re=n_re,
            sample_rate=sample_rate,
            half_weights=half_weights,
            compiled=compiled,
        )
        self.segment_size, self.hop_size = segment_size, hop_size
        self.segmenting = segment_size is not None and hop_size is not None
        self.normalize_segment_scale = normalize_segment_scale
        self.show_progressbar = show_progressbar
        self.ref_channel = self.enh_model.ref_channel if ref_channel is None else ref_channel
        self.normalize_output_wav = normalize_output_wav

    def __call__(
        self,
        speech_mix: Tensor | np.ndarray,
        fs: int | None = None,
        n_re: int | None = None,
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """Separate a batch of mixtures; as in ESPnet, the model sets the level of the estimates.

        They may be a hundred times too loud: ``normalize_output_wav=True`` scales each to a peak
        of 0.9, and the other methods scale all to their level in the mixture. Unlike in ESPnet,
        mixtures are padded to a multiple of the hop, which avoids a click at the end.

        Args:
            speech_mix: (b, n) or (b, n, 1), at the model's sample rate.
            fs: that rate in Hz, as in ESPnet; None: :attr:`sample_rate`. It is only checked;
                :meth:`recording` resamples.
            n_re: number of repetitions of this call; None: the instance's default.
            **kwargs: as for ESPnet's class.

        Returns:
            num_spk arrays (b, n).

        Raises:
            TisdissError: ``speech_mix`` has another shape, or is an empty batch.
            TisdissError: it is a path.
        """
        refuse_path(speech_mix)
        is_array = isinstance(speech_mix, Tensor | np.ndarray)
        if is_array and speech_mix.ndim == 3 and speech_mix.shape[2] == 1:
            speech_mix = speech_mix[:, :, 0]
        if not is_array or speech_mix.ndim != 2 or not len(speech_mix):
            raise TisdissError(
                "speech_mix must be an array (batch, samples): give speech_mix[None], or use "
                "batch() for a list, recording() for a recording of any number of channels"
            )
        if fs is not None and fs != self.sample_rate:
            logging.warning(
                "the model's rate is %d Hz, the call's %d Hz, and nothing is resampled: use "
                "recording(), or sample_rate if the configuration is wrong",
                self.sample_rate,
                fs,
            )
        n_samples = speech_mix.shape[1]
        speech_mix = as_tensor(speech_mix)
        padded = pad(speech_mix, (0, self._transforms.padded(n_samples) - n_samples))
        with depth_of_call(n_re):
            if self.segmenting or self.enh_model.categories:
                waves = self._as_espnets()(padded, fs=fs or self.sample_rate, **kwargs)
            else:
                waves = self._at_once(padded)
        if self.normalize_output_wav:  # it divides silence by its peak
            silent = (speech_mix == 0).flatten(1).all(1).cpu().numpy()
            for wave in waves:
                wave[silent] = 0
        return [wave[:, :n_samples] for wave in waves]

    @torch.no_grad()
    def _at_once(self, mixtures: Tensor) -> list[np.ndarray]:
        """Separate mixtures (b, n) without segments, bit for bit as ESPnet's class does."""
        model = self.enh_model
        mixtures = mixtures.to(self.device, getattr(torch, self.dtype))
        lengths = mixtures.new_full((len(mixtures),), mixtures.shape[1], dtype=torch.long)
        scales = mixtures.std(1, keepdim=True) if self._transforms.normalises else 1.0
        features, frames = model.encoder(mixtures / scales, lengths)
        estimates, _, _ = model.separator(features, frames)
        waves = [model.decoder(estimate, lengths)[0] * scales for estimate in estimates]
        if self.normalize_output_wav:
            waves = [wave / wave.abs().amax(1, keepdim=True) * PEAK for wave in waves]
        return [wave.cpu().numpy() for wave in waves]

    def _as_espnets(self) -> "espnet2.bin.enh_inference.SeparateSpeech":
        """Return an instance of ESPnet's class with the same model and options."""
        espnets = object.__new__(espnet_module("espnet2.bin.enh_inference").SeparateSpeech)
        vars(espnets).update(vars(self), sfi_processing=False)
        return espnets

    def cal_permumation(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the order of the speakers of one of ESPnet's segments, as ESPnet's class does."""
        return self._as_espnets().cal_permumation(*args, **kwargs)

    @property
    def usual_n_re(self) -> int:
        """Default number of repetitions of calls; may be set."""
        return self.separator.reconstructor_repeat_times

    @property
    @override
    def trained_n_re(self) -> int:
        return self.separator.config.reconstructor_repeat_times

    @property
    @override
    def deepest_useful(self) -> int:
        return self.separator.config.deepest_useful

    def resolve_depth(self, n_re: int | None = None) -> int:
        """Return the number of repetitions to run: ``n_re``, or if it is None the default.

        Raises:
            TisdissError: the model has no reconstructor, or is set to 0 repetitions.
            ValueError: ``n_re`` is not an integer >= 1.
        """
        if not self.separator.config.reconstructor_n_layers:
            raise TisdissError("the model has no reconstructor, so its depth cannot be chosen")
        return super().resolve_depth(n_re)

    @override
    def _estimates(
        self, waves: Sequence[np.ndarray], last: int
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        with torch.inference_mode():
            features, frames, scales = self._transforms.encode(waves)
        half = self.separator.autocast(features.device.type)
        with torch.inference_mode(), half:
            depths = self.separator.anytime(features, frames, last)
            next(depths)  # skip the splitter's output
        for depth in range(1, last + 1):
            # entered for each step: a suspended generator would leave its caller in these modes
            with torch.inference_mode():
                with half:
                    spectra = next(depths)
                items = zip(*spectra, frames.tolist(), waves, scales, strict=True)
                estimates = [
                    self._transforms.decode(torch.stack(speakers)[:, :length], len(wave), scale)
                    for *speakers, length, wave, scale in items
                ]
            yield depth, [estimate.cpu().numpy() for estimate in estimates]
