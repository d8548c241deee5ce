"""Separation of waveforms with the depth as a dial.

:class:`SeparateSpeech` is ESPnet's class of that name, constructed and called the same way, with
the number of repetitions chosen per call, estimates at every depth from one run, a run that stops
by itself, and batches of different lengths. Axis letters: b batch, j speaker, n sample.
"""

import argparse
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from espnet2_tisdiss.checks import check_choice, check_integer, check_number
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lazy_espnet import espnet_module
from espnet2_tisdiss.network.assembly import build_network
from espnet2_tisdiss.network.precision import half_precision
from espnet2_tisdiss.network.separator import TISDiSSSeparator, depth_of_call, refuse_mismatch
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL
from espnet2_tisdiss.pretrained.finding import (
    CONFIG,
    find_model,
    loading,
    read_config,
    read_weights,
)
from espnet2_tisdiss.separate.budget import kept_calibration, timed_seconds
from espnet2_tisdiss.separate.chunking import CHUNK_SECONDS, Chunking
from espnet2_tisdiss.separate.loudness import DEFAULT_SCALE, PEAK, SCALES, rescale, rescale_channels
from espnet2_tisdiss.separate.recordings import Depths, change_db, channels_of, separate_recording
from espnet2_tisdiss.separate.transforms import Transforms

if TYPE_CHECKING:  # which takes seconds
    import espnet2.bin.enh_inference

# (b, n), or b waveforms (n,) of their own lengths
Mixtures = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """Separated waveforms at one depth.

    Attributes:
        n_re: repetitions that were run for each item (b,).
        waves: num_spk arrays (b, n); for mixtures given as a list of b, b arrays (j, n).
    """

    n_re: np.ndarray
    waves: list[np.ndarray]


class SeparateSpeech:
    """ESPnet's ``SeparateSpeech`` for a TISDiSS model, with the depth as a dial.

    It has the arguments and attributes of ESPnet's class, and its calls give the same results, but
    it is not a subclass. ESPnet's task, whose import takes seconds, is imported only for ESPnet's
    segments, joint models, models with an ``inference_config`` or without weights, and encoders,
    decoders or options that :mod:`espnet2_tisdiss.network.assembly` does not know.

    Where a method takes mixtures, they are an array (b, n), or a list of b waveforms (n,) of their
    own lengths, which are run as one padded batch and come out as each would alone.

    Args:
        train_config: config.yaml of the training; None: the one beside ``model_file``.
        model_file: weights.
        inference_config: YAML file with options of the model other than the training's.
        segment_size: seconds of ESPnet's segments; segments, their scale and
            ``normalize_output_wav`` hold for calls, ``separate(mixture)``, alone:
            :meth:`recording` has chunks and a scale of its own.
        hop_size: seconds from one segment to the next; None: do not segment.
        normalize_segment_scale: bring each segment to the level of the mixture.
        show_progressbar: over the segments.
        ref_channel: of ESPnet's; a model takes one channel.
        normalize_output_wav: bring each estimate's peak to 0.9.
        device: PyTorch's name of it.
        dtype: ``float32``, ``float64``, or ``bfloat16`` or ``float16``: the separator computes in
            half precision where the device has it, in float32 elsewhere.
        enh_s2t_task: whether the model is the first part of a joint one with recognition.
        n_re: repetitions N_re unless a call says otherwise; None: as the model was trained.
        sample_rate: of the model, in Hz; None: as its configuration says.
        half_weights: in half precision, keep the separator's weights in it as well, in half the
            memory.
        compiled: let ``torch.compile`` fuse the separator's blocks: for GPUs, and many calls with
            mixtures of one length, as the first call takes minutes.

    Raises:
        TisdissError: the files are broken or do not fit together, encoder and decoder included;
            the separator is no TISDiSS, or runs at 48 kHz whatever the input.
        ValueError: ``n_re`` is no integer >= 0, ``sample_rate`` none >= 1, or ``dtype`` unknown.

    Example:
        >>> separate = SeparateSpeech.from_pretrained()  # "mini", or the folder of one's own
        >>> speakers = separate(mixture)              # (b, n) to num_spk arrays (b, n)
        >>> quick = separate(mixture, n_re=1)
        >>> sweep = separate.depths(mixture, [1, 2, 4, 8])
        >>> for estimate in separate.anytime(mixture, n_re=8):
        ...     play(estimate.waves)
        >>> voices = separate.recording(samples, 44100)  # any length and rate
        >>> voices = separate.recording(samples, 44100, rtf=0.5)

    Attributes:
        enh_model: the model, a :class:`~espnet2_tisdiss.network.assembly.Network` or ESPnet's.
        enh_train_args: the training's configuration.
        num_spk: speakers.
        sample_rate: of the model, in Hz.
        dtype: of waveforms and spectra, ``float32`` or ``float64``.
        precision: type that the separator computes in.
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
        dtype: str = "float32",
        enh_s2t_task: bool = False,
        *,
        n_re: int | None = None,
        sample_rate: int | None = None,
        half_weights: bool = False,
        compiled: bool = False,
    ):
        half = half_precision(dtype, device)
        # before the files, which are not to blame for these
        if n_re is not None:
            check_integer("n_re", n_re, 0)
        if sample_rate is not None:
            check_integer("sample_rate", sample_rate, 1)
        if model_file is None and train_config is None:
            raise TisdissError(
                "no model is given: give a model_file, or take from_pretrained(), of which "
                f"{DEFAULT_MODEL} is the default"
            )
        self.device = device
        # half precision is the separator's: waveforms and spectra stay in float32
        self.dtype = "float64" if dtype == "float64" else "float32"
        self.precision = self.dtype if half is None else dtype
        self._load(train_config, model_file, inference_config, enh_s2t_task)
        self.num_spk = self.enh_model.num_spk
        self.segment_size, self.hop_size = segment_size, hop_size
        self.segmenting = segment_size is not None and hop_size is not None
        self.normalize_segment_scale = normalize_segment_scale
        self.show_progressbar = show_progressbar
        self.ref_channel = self.enh_model.ref_channel if ref_channel is None else ref_channel
        self.normalize_output_wav = normalize_output_wav
        if n_re is not None:
            self.separator.reconstructor_repeat_times = n_re
        self.sample_rate = sample_rate or self.separator.config.sample_rate
        if half_weights and half is not None:
            self.separator.to(half)
        if compiled:
            self.separator.compile_blocks()
        # of the separator alone: the transforms to and from spectra are cheap, and stay exact
        self.separator.half_dtype = half
        self._transforms = Transforms(self.enh_model, self.device, getattr(torch, self.dtype))

    def _load(
        self,
        train_config: Path | str | None,
        model_file: Path | str | None,
        inference_config: Path | str | None,
        enh_s2t_task: bool,
    ) -> None:
        """Set the model and its configuration, from files that must fit together.

        Raises:
            TisdissError: they do not, or one of them is broken.
        """
        with loading(model_file or train_config):
            weights = None if model_file is None else read_weights(model_file)
            network = None
            if weights is not None and inference_config is None and not enh_s2t_task:
                config = read_config(train_config or Path(model_file).with_name(CONFIG))
                network = build_network(config)
            if network is None:
                espnets = espnet_module("espnet2.bin.enh_inference").SeparateSpeech(
                    train_config,
                    model_file,
                    inference_config,
                    device=self.device,
                    dtype=self.dtype,
                    enh_s2t_task=enh_s2t_task,
                )
                self.enh_model, self.enh_train_args = espnets.enh_model, espnets.enh_train_args
            else:
                network.load_state_dict(weights, strict=False)
                self.enh_model = network.to(self.device, getattr(torch, self.dtype)).eval()
                self.enh_train_args = argparse.Namespace(**config)
            # of a joint model this is the first part
            self._check_model(weights, "enh_model." if enh_s2t_task else "")

    def _check_model(self, weights: dict[str, Tensor] | None, prefix: str) -> None:
        """Check that the model is a TISDiSS whose weights were in the file, under a prefix."""
        if not isinstance(self.separator, TISDiSSSeparator):
            raise TisdissError(
                f"the model's separator is {type(self.separator).__name__}, no TISDiSS"
            )
        if self.enh_model.always_forward_in_48k:
            raise TisdissError("a TISDiSS model with always_forward_in_48k is not supported")
        if weights is not None:
            # ESPnet loads what fits, and passes the rest over in silence
            found = {name.removeprefix(prefix) for name in weights if name.startswith(prefix)}
            names = self.enh_model.state_dict().keys()
            refuse_mismatch(names - found, found - names)

    @classmethod
    def from_pretrained(cls, model_tag: str | Path | None = None, **kwargs: Any) -> Self:
        """Build from a trained model.

        Args:
            model_tag: a model's folder, weights or archive, a published model's tag, or the name
                of a model that comes with the package: see
                :func:`~espnet2_tisdiss.pretrained.finding.find_model`. None: the files are in
                ``kwargs``; or, where none are, the package's default model.
            **kwargs: for the constructor.

        Raises:
            TisdissError: there is no such model, or its files are broken or do not fit together;
                or a model and files are given; the text is one line.
            ValueError: as the constructor.
        """
        files = [name for name in ("train_config", "model_file") if name in kwargs]
        if model_tag is None and not files:
            model_tag = DEFAULT_MODEL
        if model_tag is not None:
            if given := [name for name in files if kwargs[name] is not None]:
                given = " and ".join(given)
                raise TisdissError(f"give a model, {model_tag}, or its {given}; not both")
            kwargs.update(find_model(model_tag))
        return cls(**kwargs)

    @property
    def separator(self) -> TISDiSSSeparator:
        """The model's separator."""
        return self.enh_model.separator

    def __call__(
        self,
        speech_mix: Tensor | np.ndarray,
        fs: int | None = None,
        n_re: int | None = None,
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """Separate a batch of mixtures, as ESPnet's class does.

        Mixtures are padded to whole hops, without which ESPnet's end in a click. The estimates are
        as loud as the model gives them, which may be a hundred times too loud:
        ``normalize_output_wav=True`` brings each one's peak to 0.9, and leaves silence silent; the
        other methods bring all to their level in the mixture.

        Args:
            speech_mix: (b, n) or (b, n, 1), at the model's sample rate.
            fs: that rate in Hz, as in ESPnet; None: :attr:`sample_rate`. Nothing is resampled:
                :meth:`recording` does that.
            n_re: repetitions of this call; None: the instance's.
            **kwargs: as for ESPnet's class.

        Returns:
            num_spk arrays (b, n).

        Raises:
            ValueError: ``speech_mix`` is no such array.
        """
        is_array = isinstance(speech_mix, Tensor | np.ndarray)
        if is_array and speech_mix.ndim == 3 and speech_mix.shape[2] == 1:
            speech_mix = speech_mix[:, :, 0]
        if not is_array or speech_mix.ndim != 2:
            raise ValueError(
                "speech_mix must be an array (batch, samples): give speech_mix[None], or use "
                "batch() for a list, recording() for a recording of any number of channels"
            )
        if fs is not None and fs != self.sample_rate:
            logging.warning(
                "the model is for %d Hz, the call says %d Hz, nothing is resampled: recording() "
                "does that, and sample_rate corrects what the configuration says",
                self.sample_rate,
                fs,
            )
        n_samples = speech_mix.shape[1]
        speech_mix = _as_tensor(speech_mix)
        padded = pad(speech_mix, (0, self._transforms.padded(n_samples) - n_samples))
        with depth_of_call(n_re):
            if self.segmenting or self.enh_model.categories:
                waves = self._as_espnets()(padded, fs=fs or self.sample_rate, **kwargs)
            else:
                waves = self._whole(padded)
        if self.normalize_output_wav:  # which divides silence by its peak
            silent = (speech_mix == 0).flatten(1).all(1).cpu().numpy()
            for wave in waves:
                wave[silent] = 0
        return [wave[:, :n_samples] for wave in waves]

    @torch.no_grad()
    def _whole(self, mixtures: Tensor) -> list[np.ndarray]:
        """Separate mixtures (b, n) as ESPnet's class does without segments, to the last bit."""
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
        """Return an object of ESPnet's class with this one's model and options."""
        espnets = object.__new__(espnet_module("espnet2.bin.enh_inference").SeparateSpeech)
        vars(espnets).update(vars(self), sfi_processing=False)
        return espnets

    def cal_permumation(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the order of the speakers of one of ESPnet's segments, as ESPnet's class does."""
        return self._as_espnets().cal_permumation(*args, **kwargs)

    def anytime(
        self, mixtures: Mixtures, n_re: int | None = None, scale: str = DEFAULT_SCALE
    ) -> Iterator[Estimate]:
        """Yield estimates from shallow to deep, each as soon as its repetition is done.

        To stop early costs nothing: no repetition is run before its estimate is asked for.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            n_re: the last depth; None: the instance's.
            scale: how loud: one of :data:`~espnet2_tisdiss.separate.loudness.SCALES`.

        Yields:
            The estimates after 1, 2, ... ``n_re`` repetitions.

        Raises:
            TisdissError: a mixture has another shape or no samples.
        """
        waves = _as_list(mixtures)
        check_choice("scale", scale, SCALES)
        for depth, estimates in self._estimates(waves, n_re):
            scaled = _scaled(scale, waves, estimates)
            yield Estimate(np.full(len(waves), depth), _in_kind(scaled, mixtures))

    def depths(
        self, mixtures: Mixtures, n_re: Sequence[int], scale: str = DEFAULT_SCALE
    ) -> dict[int, list[np.ndarray]]:
        """Separate at several depths for the price of the deepest.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            n_re: the depths wanted, in any order.
            scale: as for :meth:`anytime`.

        Returns:
            For each depth the waves of its :class:`Estimate`.
        """
        n_re = [check_integer("n_re", depth, 1) for depth in n_re]
        if not n_re:
            raise ValueError("n_re must be one depth or more; got none")
        waves = _as_list(mixtures)
        check_choice("scale", scale, SCALES)
        found = {  # what is not wanted is not scaled either
            depth: _in_kind(_scaled(scale, waves, estimates), mixtures)
            for depth, estimates in self._estimates(waves, max(n_re))
            if depth in n_re
        }
        return {depth: found[depth] for depth in n_re}

    def until_stable(
        self,
        mixtures: Mixtures,
        stop_db: float,
        n_re: int | None = None,
        scale: str = DEFAULT_SCALE,
    ) -> Estimate:
        """Repeat until another repetition changes the estimate by less than a threshold.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            stop_db: threshold, in dB, on the energy of the change against that of the estimate.
                What suits a model, the column "change" of ``tisdiss sweep`` tells.
            n_re: the most repetitions; None: the instance's.
            scale: as for :meth:`anytime`.

        Returns:
            The estimate of each item at ITS depth: an item is done when its own change is small,
            whatever else is in the batch.
        """
        check_number("stop_db", stop_db, -float("inf"), float("inf"))
        check_choice("scale", scale, SCALES)
        given = _as_list(mixtures)
        running: list[int] = []  # items that still change
        for depth, waves in self._estimates(given, n_re):
            if depth == 1:
                running = list(range(len(waves)))
                results, n_used = waves.copy(), np.ones(len(waves), int)
            still = []
            for item in running:
                if depth == 1 or change_db(results[item], waves[item]) > stop_db:
                    still.append(item)
                results[item], n_used[item] = waves[item], depth
            running = still
            if not running:
                break
        return Estimate(n_used, _in_kind(_scaled(scale, given, results), mixtures))

    def batch(
        self,
        waves: Sequence[Tensor | np.ndarray],
        n_re: int | None = None,
        batch_size: int = 8,
        scale: str = DEFAULT_SCALE,
    ) -> list[np.ndarray]:
        """Separate any number of mixtures, a batch of similar lengths at a time.

        Args:
            waves: mixtures (n,), at the model's sample rate.
            n_re: repetitions; None: the instance's.
            batch_size: the most mixtures of one batch.
            scale: as for :meth:`anytime`.

        Returns:
            For each mixture, in their order, (j, n): what it would give alone.
        """
        check_integer("batch_size", batch_size, 1)
        depth = self.resolve_depth(n_re)
        by_length = sorted(range(len(waves)), key=lambda index: len(waves[index]))
        separated: dict[int, np.ndarray] = {}
        for indices in itertools.batched(by_length, batch_size):
            found = self.depths([waves[index] for index in indices], [depth], scale)[depth]
            separated.update(zip(indices, found, strict=True))
        return [separated[index] for index in range(len(waves))]

    def resolve_depth(self, n_re: int | None = None) -> int:
        """Return the repetitions to run: ``n_re``, or the instance's where that is None.

        Raises:
            TisdissError: the model has no reconstructor, or is set to no repetition.
            ValueError: ``n_re`` is no integer >= 1.
        """
        if not self.separator.config.reconstructor_n_layers:
            raise TisdissError("the model has no reconstructor, and so no depths to separate at")
        if n_re is not None:
            return check_integer("n_re", n_re, 1)
        if usual := self.separator.reconstructor_repeat_times:
            return usual
        raise TisdissError("the model is set to 0 repetitions: choose n_re, 1 or more")

    def depth_within(
        self,
        rtf: float | None = None,
        seconds: float | None = None,
        duration: float | None = None,
        most: int | None = None,
        work: float = 1.0,
        chunk_seconds: float = CHUNK_SECONDS,
    ) -> int:
        """Return the largest depth that fits a time, from a calibration of this machine.

        The calibration is measured when one is asked for first, in some seconds, and kept for
        this model's structure and this machine: see budget.py. :meth:`recording` takes ``rtf`` or
        ``seconds`` itself, and allows for its chunks.

        Args:
            rtf: wanted real-time factor: seconds of work for a second of audio; or else
            seconds: of work wanted in all,
            duration: for so many seconds of audio.
            most: no depth beyond this one; None: the configuration's ``deepest_useful``.
            work: seconds to be separated for a second of audio: more than 1 where chunks overlap.
            chunk_seconds: length of what is separated at once; the calibration is for that.

        Raises:
            TisdissError: not even one repetition fits.
            ValueError: neither ``rtf`` nor ``seconds`` with ``duration`` is given, or both are.
        """
        if (rtf is None) == (seconds is None) or (seconds is None) != (duration is None):
            raise ValueError("give either rtf, or seconds and duration")
        most = self.separator.config.deepest_useful if most is None else most
        calibration = kept_calibration(self, chunk_seconds)
        if rtf is not None:
            return calibration.depth_for(rtf, most, work)
        return calibration.depth_for_seconds(seconds, duration, most, work)

    def recording(
        self,
        samples: np.ndarray,
        rate: int,
        n_re: int | None = None,
        stop_db: float | None = None,
        channel: str = "mean",
        scale: str = DEFAULT_SCALE,
        chunk_seconds: float = CHUNK_SECONDS,
        overlap_seconds: float | None = None,
        batch_size: int = 1,
        rtf: float | None = None,
        seconds: float | None = None,
    ) -> np.ndarray:
        """Separate a recording of any length and sample rate.

        What is longer than a chunk is separated in overlapping chunks, with the speakers kept in
        order: the memory that the model needs does not grow with the length.

        Args:
            samples: (n,), or (n, c) as soundfile reads them; floats, full scale being 1.
            rate: in Hz; another than the model's is converted to that and back.
            n_re: repetitions, with ``rtf`` or ``seconds`` the most; None: the instance's.
            stop_db: stop before, as in :meth:`until_stable`, chunk by chunk; None: do not.
            channel: what to separate of several channels: their ``mean``, the ``left`` (first) or
                ``right`` (second) one, or ``each`` by itself.
            scale: how loud: one of :data:`~espnet2_tisdiss.separate.loudness.SCALES`.
            chunk_seconds: length of a chunk.
            overlap_seconds: what neighbouring chunks share; None: a quarter.
            batch_size: the most chunks to separate at once.
            rtf: as deep as fits this many seconds of work for a second of audio, by
                :meth:`depth_within`; or
            seconds: this many in all.

        Returns:
            float32 (j, n); with ``each`` (c, j, n).

        Raises:
            TisdissError: there are no samples, or some that are not finite; not even one
                repetition fits the time.
            ValueError: an option has an impossible value.
        """
        check_choice("scale", scale, SCALES)
        check_integer("batch_size", batch_size, 1)
        channels = channels_of(samples, channel)
        chunking = Chunking.in_seconds(self.sample_rate, chunk_seconds, overlap_seconds)
        length = channels.shape[1] / check_integer("rate", rate, 1)
        if (rtf, seconds) != (None, None):
            duration = None if seconds is None else len(channels) * length
            here = length * self.sample_rate
            work = chunking.separated(here) / here
            timed = timed_seconds(chunk_seconds, length)
            n_re = self.depth_within(rtf, seconds, duration, n_re, work, timed)
        if rate != self.sample_rate:
            logging.warning("resampling from %d Hz to the model's %d", rate, self.sample_rate)
        depths = Depths((self.resolve_depth(n_re),), stop_db)
        separated = [
            separate_recording(self, one, rate, depths, chunking, batch_size) for one in channels
        ]
        scaled = rescale_channels(scale, *zip(*separated, strict=True))
        return np.stack(scaled) if channel == "each" else scaled[0]

    def _estimates(
        self, waves: list[Tensor], n_re: int | None
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Yield depths 1, 2, ... ``n_re`` and the estimate (j, n) of each wave (n,) there."""
        last = self.resolve_depth(n_re)
        with torch.inference_mode():
            features, frames, scales = self._transforms.encode(waves)
        half = self.separator.autocast(features.device.type)
        with torch.inference_mode(), half:
            depths = self.separator.anytime(features, frames, last)
            next(depths)  # the splitter's output is no estimate of a repetition
        for depth in range(1, last + 1):
            # entered anew for each step: a generator must not leave its caller in these modes
            with torch.inference_mode():
                with half:
                    spectra = next(depths)
                items = zip(*spectra, frames.tolist(), waves, scales, strict=True)
                estimates = [
                    self._transforms.decode(torch.stack(speakers)[:, :length], len(wave), scale)
                    for *speakers, length, wave, scale in items
                ]
            yield depth, [estimate.cpu().numpy() for estimate in estimates]


def _as_list(mixtures: Mixtures) -> list[Tensor]:
    """Return mixtures as a list of waveforms (n,), checked."""
    if isinstance(mixtures, Tensor | np.ndarray) and mixtures.ndim != 2:
        raise TisdissError(f"mixtures must be (batch, samples); got {tuple(mixtures.shape)}")
    waves = [_as_tensor(wave) for wave in mixtures]
    for index, wave in enumerate(waves):
        if wave.dim() != 1 or len(wave) == 0:
            raise TisdissError(
                f"mixture {index} must be one channel with samples; got {tuple(wave.shape)}"
            )
        if not wave.isfinite().all():
            raise TisdissError(f"mixture {index} holds samples that are not finite numbers")
    if not waves:
        raise TisdissError("mixtures are none: an empty list or batch")
    return waves


def _as_tensor(samples: Tensor | np.ndarray) -> Tensor:
    """Return samples as a tensor that can become an array again."""
    if not isinstance(samples, Tensor):
        # PyTorch takes no arrays that run backwards
        return torch.as_tensor(np.ascontiguousarray(samples))
    samples = samples.detach()
    return samples.float() if samples.dtype in (torch.bfloat16, torch.float16) else samples


def _scaled(
    scale: str, waves: Sequence[Tensor], estimates: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the estimates (j, n) of mixtures (n,) as loud as ``scale`` says."""
    pairs = zip(waves, estimates, strict=True)
    return [rescale(scale, wave.cpu().numpy(), estimate) for wave, estimate in pairs]


def _in_kind(waves: list[np.ndarray], mixtures: Mixtures) -> list[np.ndarray]:
    """Return the items' waves (j, n) as mixtures were given: for an array, j arrays (b, n)."""
    return list(np.stack(waves, 1)) if isinstance(mixtures, Tensor | np.ndarray) else waves
