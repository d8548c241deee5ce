"""Separation of waveforms at a depth chosen per call.

:class:`SeparateSpeech` is constructed and called like ESPnet's class of that name. It also gives
estimates at every depth from one run, stops when the estimates no longer change, and takes batches
of different lengths. Axis letters: b batch, c channel, j speaker, n sample.
"""

import argparse
import functools
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from espnet2_tisdiss.audio.channels import take_channels
from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.checks import check_choice, check_integer, check_n_re, check_number
from espnet2_tisdiss.choices import DEFAULT_SCALE, RATES, SCALES, Channel, Scale
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.lazy_espnet import espnet_module
from espnet2_tisdiss.network.assembly import (
    ESPNET_OPTIONS,
    build_network,
    check_fit,
    check_parts,
)
from espnet2_tisdiss.network.precision import half_precision
from espnet2_tisdiss.network.separator import (
    TISDiSSSeparator,
    WeightsError,
    depth_of_call,
    refuse_mismatch,
)
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL
from espnet2_tisdiss.pretrained.finding import (
    CONFIG,
    ESPNET_ERRORS,
    find_model,
    loading,
    read_weights,
)
from espnet2_tisdiss.pretrained.layouts import is_joint
from espnet2_tisdiss.separate.arrays import as_floats, refuse_path
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.doubts import (
    channel_powers,
    doubt_of_channels,
    doubt_of_estimates,
    estimate_powers,
)
from espnet2_tisdiss.separate.files import (
    FileResult,
    InputFile,
    durations_of,
    name_of,
    separate_files,
    to_separate,
)
from espnet2_tisdiss.separate.loudness import PEAK, ScaleStatistics, rescale, rescale_channels
from espnet2_tisdiss.separate.names import with_refusals
from espnet2_tisdiss.separate.options import FileOptions, RecordingOptions
from espnet2_tisdiss.separate.protocol import Estimate
from espnet2_tisdiss.separate.provenance import fingerprint
from espnet2_tisdiss.separate.recordings import change_db, channels_of, separate_recording
from espnet2_tisdiss.separate.transforms import Transforms
from espnet2_tisdiss.user_files import check_name, read_yaml

if TYPE_CHECKING:  # its import takes seconds
    import espnet2.bin.enh_inference

LEAST_SEGMENT = 1e-3  # seconds of ESPnet's segments
# (b, n), or b waveforms (n,) of different lengths
Mixtures = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]


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
            half precision where the device has it, in float32 elsewhere. ``auto``: bfloat16 for
            models trained in it, float32 for others.
        enh_s2t_task: whether the model is the first part of a joint one with recognition; a joint
            model's configuration says so itself.
        n_re: repetitions N_re of calls that give none; None: as in training.
        sample_rate: of the model, in Hz; None: from its configuration.
        half_weights: in half precision, convert the separator's weights too, which halves their
            memory.
        compiled: fuse the separator's blocks with ``torch.compile``. The first call takes minutes,
            so this pays on GPUs for many calls with mixtures of one length.

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
        enh_train_args: the training's configuration.
        num_spk: speakers.
        sample_rate: of the model, in Hz.
        dtype: of waveforms and spectra, ``float32`` or ``float64``.
        precision: type that the separator computes in.
        hop: samples from one frame of the encoder to the next.
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
        # checked before the files, so that errors name the right cause
        if n_re is not None:
            check_n_re("n_re", n_re, 0)
        if sample_rate is not None:
            check_integer("sample_rate", sample_rate, 1, RATES[-1])
        for name, seconds in {"segment_size": segment_size, "hop_size": hop_size}.items():
            if seconds is not None:
                check_number(name, seconds, LEAST_SEGMENT, float("inf"))
        if model_file is None and train_config is None:
            raise TisdissError(
                "no model given: pass model_file, or use from_pretrained(), which loads "
                f"{DEFAULT_MODEL} by default"
            )
        self.device = device
        # half precision applies to the separator; waveforms and spectra stay in float32
        self.dtype = "float64" if dtype == "float64" else "float32"
        self._load(train_config, model_file, inference_config, enh_s2t_task)
        if dtype == "auto" and self.separator.config.training_dtype != "bfloat16":
            half = None
        self.precision = self.dtype if half is None else str(half).removeprefix("torch.")
        self.num_spk = self.enh_model.num_spk
        self.segment_size, self.hop_size = segment_size, hop_size
        self.segmenting = segment_size is not None and hop_size is not None
        self.normalize_segment_scale = normalize_segment_scale
        self.show_progressbar = show_progressbar
        self.ref_channel = self.enh_model.ref_channel if ref_channel is None else ref_channel
        self.normalize_output_wav = normalize_output_wav
        if n_re is not None:
            self.separator.reconstructor_repeat_times = n_re
        self.sample_rate = self._rate(sample_rate)
        if half_weights and half is not None:
            self.separator.to(half)
        if compiled:
            self.separator.compile_blocks()
        # the transforms to and from spectra are cheap and stay exact
        self.separator.half_dtype = half
        self._transforms = Transforms(self.enh_model, self.device, getattr(torch, self.dtype))
        self.hop = self._transforms.hop

    def _load(
        self,
        train_config: Path | str | None,
        model_file: Path | str | None,
        inference_config: Path | str | None,
        enh_s2t_task: bool,
    ) -> None:
        """Load the model and its configuration.

        Raises:
            TisdissError: a file is damaged, or they do not match.
        """
        config_file = train_config or Path(model_file).with_name(CONFIG)
        config = read_yaml(config_file)
        weights = None if model_file is None else read_weights(model_file)
        if inference_config is not None:
            read_yaml(inference_config)
        enh_s2t_task = enh_s2t_task or is_joint(config)
        file, network = model_file or config_file, None
        part_prefix = "enh_" if enh_s2t_task else ""
        with loading(config_file, OptionError):
            if weights is not None and inference_config is None and not enh_s2t_task:
                network = build_network(config)
            else:
                check_parts(config, part_prefix, ESPNET_OPTIONS)
        if network is None:
            with loading(file, *ESPNET_ERRORS):
                espnets = espnet_module("espnet2.bin.enh_inference").SeparateSpeech(
                    config_file,
                    model_file,
                    inference_config,
                    device=self.device,
                    dtype=self.dtype,
                    enh_s2t_task=enh_s2t_task,
                )
            self.enh_model, self.enh_train_args = espnets.enh_model, espnets.enh_train_args
            if isinstance(self.separator, TISDiSSSeparator):
                with loading(inference_config or config_file, OptionError):
                    check_fit(vars(self.enh_train_args), part_prefix)
        else:
            with loading(file, RuntimeError):  # names or shapes differ, or the device is full
                network.load_state_dict(weights, strict=False)
                self.enh_model = network.to(self.device, getattr(torch, self.dtype)).eval()
            self.enh_train_args = argparse.Namespace(**config)
        with loading(file, WeightsError):
            # of a joint model, the separator is in the first part
            self._check_model(weights, "enh_model." if enh_s2t_task else "")

    def _check_model(self, weights: dict[str, Tensor] | None, prefix: str) -> None:
        """Check that the model is a TISDiSS and that the file has its weights, under a prefix."""
        if not isinstance(self.separator, TISDiSSSeparator):
            raise TisdissError(
                f"the model's separator is {type(self.separator).__name__}, not a TISDiSS"
            )
        if self.enh_model.always_forward_in_48k:
            raise TisdissError("a TISDiSS model with always_forward_in_48k is not supported")
        if weights is not None:
            # ESPnet loads the weights that match and ignores the others
            found = {name.removeprefix(prefix) for name in weights if name.startswith(prefix)}
            names = self.enh_model.state_dict().keys()
            refuse_mismatch(names - found, found - names)

    def _rate(self, chosen: int | None) -> int:
        """Return the model's sample rate, chosen or configured, after comparing the two."""
        config = self.separator.config
        if chosen is None:
            return config.sample_rate
        if chosen != config.sample_rate and isinstance(config.band_split, str):
            raise TisdissError(
                f"the model's bands are placed for {config.sample_rate} Hz, and {chosen} Hz were "
                "chosen; leave the rate out, or correct sample_rate of separator_conf in its "
                "configuration"
            )
        return chosen

    @classmethod
    def from_pretrained(cls, model_tag: str | Path | None = None, **kwargs: Any) -> Self:
        """Build from a trained model.

        Args:
            model_tag: a model's folder, weights or archive, a published model's tag, or the name
                of a model that comes with the package: see
                :func:`~espnet2_tisdiss.pretrained.finding.find_model`. None: the files are in
                ``kwargs``, or else the package's default model.
            **kwargs: for the constructor.

        Raises:
            TisdissError: the model does not exist, its files are damaged or do not match, or both a
                model and files are given; the message is one line.
            ValueError: as for the constructor.
        """
        files = [name for name in ("train_config", "model_file") if name in kwargs]
        if model_tag is None and not files:
            model_tag = DEFAULT_MODEL
        if model_tag is not None:
            if given := [name for name in files if kwargs[name] is not None]:
                given = " and ".join(given)
                raise TisdissError(f"give either a model ({model_tag}) or its {given}, not both")
            kwargs.update(find_model(model_tag))
        return cls(**kwargs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A name of the model that depends on its weights and configuration only."""
        return fingerprint(self.enh_model.state_dict(), vars(self.enh_train_args))

    @property
    def separator(self) -> TISDiSSSeparator:
        """The network."""
        return self.enh_model.separator

    def __call__(
        self,
        speech_mix: Tensor | np.ndarray,
        fs: int | None = None,
        n_re: int | None = None,
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """Separate a batch of mixtures, and leave the level as ESPnet does: that of the model.

        The estimates may be a hundred times too loud: ``normalize_output_wav=True`` brings the peak
        of each to 0.9, and the other methods bring all to their level in the mixture. Unlike
        ESPnet, mixtures are padded to a multiple of the hop, which avoids a click at the end.

        Args:
            speech_mix: (b, n) or (b, n, 1), at the model's sample rate.
            fs: that rate in Hz, as in ESPnet; None: :attr:`sample_rate`. It is only checked;
                :meth:`recording` resamples.
            n_re: repetitions of this call; None: the instance's.
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
        speech_mix = _as_tensor(speech_mix)
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
        """Return an object of ESPnet's class with this one's model and options."""
        espnets = object.__new__(espnet_module("espnet2.bin.enh_inference").SeparateSpeech)
        vars(espnets).update(vars(self), sfi_processing=False)
        return espnets

    def cal_permumation(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the order of the speakers of one of ESPnet's segments, as ESPnet's class does."""
        return self._as_espnets().cal_permumation(*args, **kwargs)

    def anytime(
        self, mixtures: Mixtures, n_re: int | None = None, scale: Scale = DEFAULT_SCALE
    ) -> Iterator[Estimate]:
        """Yield estimates from shallow to deep, each as soon as its repetition is done.

        Stopping early costs nothing: a repetition runs when its estimate is requested.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            n_re: the last depth; None: the instance's.
            scale: output level; see :mod:`~espnet2_tisdiss.separate.loudness`.

        Yields:
            The estimates after 1, 2, ... ``n_re`` repetitions.

        Raises:
            TisdissError: a mixture has a wrong shape or no samples.
        """
        waves = _as_list(mixtures)
        check_choice("scale", scale, SCALES)
        for depth, estimates in self._estimates(waves, n_re):
            yield Estimate(np.full(len(waves), depth), _scaled(scale, waves, estimates))

    def depths(
        self, mixtures: Mixtures, n_re: Sequence[int], scale: Scale = DEFAULT_SCALE
    ) -> dict[int, list[np.ndarray]]:
        """Separate at several depths at the cost of the deepest.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            n_re: the depths, in any order.
            scale: as for :meth:`anytime`.

        Returns:
            For each depth the waves of its :class:`Estimate`: b arrays (j, n).
        """
        n_re = [check_n_re("n_re", depth) for depth in n_re]
        if not n_re:
            raise ValueError("n_re must have at least one depth; got none")
        waves = _as_list(mixtures)
        check_choice("scale", scale, SCALES)
        found = {  # only the requested depths are scaled
            depth: _scaled(scale, waves, estimates)
            for depth, estimates in self._estimates(waves, max(n_re))
            if depth in n_re
        }
        return {depth: found[depth] for depth in n_re}

    def until_stable(
        self,
        mixtures: Mixtures,
        stop_db: float,
        n_re: int | None = None,
        scale: Scale = DEFAULT_SCALE,
    ) -> Estimate:
        """Repeat until another repetition changes the estimate by less than a threshold.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            stop_db: threshold in dB for the energy of the change relative to the estimate. The
                column "change" of ``tisdiss sweep`` helps to choose it.
            n_re: maximum number of repetitions; None: the instance's.
            scale: as for :meth:`anytime`.

        Returns:
            The estimate of each item at its own depth, which does not depend on the rest of the
            batch.
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
        return Estimate(n_used, _scaled(scale, given, results))

    def within(
        self,
        mixtures: Mixtures,
        seconds: float,
        n_re: int | None = None,
        scale: Scale = DEFAULT_SCALE,
    ) -> Estimate:
        """Repeat as long as another repetition is expected to fit a time.

        The first repetition is always run, however long it takes.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            seconds: time for the batch.
            n_re: maximum number of repetitions; None: the configuration's ``deepest_useful``.
            scale: as for :meth:`anytime`.

        Returns:
            The estimates, all at the same depth.
        """
        check_number("seconds", seconds, 0, float("inf"))
        check_choice("scale", scale, SCALES)
        waves = _as_list(mixtures)
        budget = TimeBudget(seconds, sum(map(len, waves)) / self.sample_rate)
        deepest = self.separator.config.deepest_useful if n_re is None else n_re
        found = budget.separate(self, waves, deepest)
        return Estimate(found.n_re, _scaled(scale, waves, found.waves))

    def batch(
        self,
        waves: Sequence[Tensor | np.ndarray],
        n_re: int | None = None,
        batch_size: int = 8,
        scale: Scale = DEFAULT_SCALE,
    ) -> list[np.ndarray]:
        """Separate any number of mixtures, a batch of similar lengths at a time.

        Args:
            waves: mixtures (n,), at the model's sample rate.
            n_re: repetitions; None: the instance's.
            batch_size: maximum number of mixtures in a batch.
            scale: as for :meth:`anytime`.

        Returns:
            The estimates (j, n) of each mixture, in order, as if separated alone.
        """
        check_integer("batch_size", batch_size, 1)
        for wave in waves:
            refuse_path(wave)
        depth = self.resolve_depth(n_re)
        by_length = sorted(range(len(waves)), key=lambda index: len(waves[index]))
        separated: dict[int, np.ndarray] = {}
        for indices in itertools.batched(by_length, batch_size):
            found = self.depths([waves[index] for index in indices], [depth], scale)[depth]
            separated.update(zip(indices, found, strict=True))
        return [separated[index] for index in range(len(waves))]

    def resolve_depth(self, n_re: int | None = None) -> int:
        """Return the repetitions to run: ``n_re``, or the instance's if it is None.

        Raises:
            TisdissError: the model has no reconstructor, or is set to 0 repetitions.
            ValueError: ``n_re`` is not an integer >= 1.
        """
        if not self.separator.config.reconstructor_n_layers:
            raise TisdissError("the model has no reconstructor, so its depth cannot be chosen")
        if n_re is not None:
            return check_n_re("n_re", n_re)
        if usual := self.separator.reconstructor_repeat_times:
            return usual
        raise TisdissError("the model is set to 0 repetitions: choose n_re, 1 or more")

    def recording(
        self,
        samples: Tensor | np.ndarray,
        rate: int | None = None,
        options: RecordingOptions | None = None,
        **changes: Any,
    ) -> np.ndarray:
        """Separate a recording of any length and sample rate.

        Recordings longer than a chunk are separated in overlapping chunks, with the speakers kept
        in order, so that the model's memory does not grow with the length.

        Args:
            samples: (n,), or (n, c) as soundfile reads them: an array or tensor of floats with full
                scale 1, or of 8-, 16- or 32-bit integers.
            rate: in Hz, always needed; resampled to the model's rate and back if they differ.
            options: how; None: :class:`RecordingOptions` with its defaults.
            **changes: options that differ, by name, such as ``n_re=4``.

        Returns:
            float32 (j, n); with the channel ``each`` (c, j, n).

        Raises:
            TisdissError: there are no samples, some are not finite, they are a path, or the rate is
                missing.
            OptionError: an option has an invalid value.
        """
        options = replace(options or RecordingOptions(), **changes)
        if options.is_several:
            raise OptionError("n_re must be one depth for a recording in memory; see files")
        there = channels_of(samples)
        if rate is None:
            raise TisdissError("recording(samples, rate) needs the sample rate in Hz")
        channels = take_channels(there, options.channel)
        length = channels.shape[1] / check_integer("rate", rate, RATES[0], RATES[-1])
        options = options.for_model(self)
        budget = options.budget([[length] * len(channels)], self.sample_rate)
        if rate != self.sample_rate:
            logging.warning("resampling from %d Hz to the model's %d", rate, self.sample_rate)
        separated = [separate_recording(self, one, rate, options, budget) for one in channels]
        if budget is not None:
            budget.log()
        _warn_of_doubts(there, rate, options.channel, separated)
        scaled = rescale_channels(options.scale, *zip(*separated, strict=True))
        return np.stack(scaled) if options.channel == "each" else scaled[0]

    def file(
        self, path: str | Path, options: RecordingOptions | None = None, **changes: Any
    ) -> tuple[np.ndarray, int]:
        """Separate an audio file in memory, as :meth:`recording` does.

        Args:
            path: the file, of any format that soundfile reads.
            options: as for :meth:`recording`.
            **changes: as for :meth:`recording`.

        Returns:
            The speakers, float32 (j, n) or (c, j, n), and the file's sample rate in Hz.

        Raises:
            AudioError: the file cannot be read.
            TisdissError, OptionError: as for :meth:`recording`.
        """
        options = replace(options or RecordingOptions(), **changes)
        # "each": the other channels show whether these are related
        each = "each" if options.channel == "mean" else options.channel
        samples = np.concatenate(list(read_blocks(path, each)), axis=1)
        rate = probe(path).rate
        return self.recording(samples.T, rate, options), rate

    def files(
        self,
        paths: Iterable[str | Path],
        folder: str | Path,
        options: FileOptions | None = None,
        **changes: Any,
    ) -> Iterator[FileResult]:
        """Separate audio files of any length into one file per speaker, block by block.

        Args:
            paths: the files.
            folder: where the separated files go.
            options: how; None: :class:`FileOptions` with its defaults.
            **changes: options that differ, by name, such as ``n_re=[1, 4]``.

        Returns:
            What became of each file, as soon as it is done. A file that fails does so alone: its
            result has the status ``failed`` and the reason.

        Raises:
            TisdissError: the options do not fit the model or each other.
            OptionError: an option has an invalid value.

        Example:
            >>> for result in model.files(["a.wav", "b.flac"], "separated", n_re=4):
            ...     print(result.status, result.outputs)
        """
        options = replace(options or FileOptions(), **changes).for_model(self)
        check_name(folder)
        inputs = [InputFile(path, Path(folder), name_of(path)) for path in map(Path, paths)]
        durations = with_refusals(durations_of(inputs, options.channel), options, self.num_spk)
        budget = None
        if options.is_timed:
            work = to_separate(durations, options, self.num_spk)
            budget = options.budget(work, self.sample_rate)
        return separate_files(self, list(durations), options, budget)

    def _estimates(
        self, waves: list[Tensor], n_re: int | None
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Yield each depth 1, 2, ... ``n_re`` with the estimates (j, n) of the waves (n,)."""
        last = self.resolve_depth(n_re)
        with torch.inference_mode():
            features, frames, scales = self._transforms.encode(waves)
        half = self.separator.autocast(features.device.type)
        with torch.inference_mode(), half:
            depths = self.separator.anytime(features, frames, last)
            next(depths)  # skip the splitter's output
        for depth in range(1, last + 1):
            # entered for each step, because a generator would leave its caller in these modes
            with torch.inference_mode():
                with half:
                    spectra = next(depths)
                items = zip(*spectra, frames.tolist(), waves, scales, strict=True)
                estimates = [
                    self._transforms.decode(torch.stack(speakers)[:, :length], len(wave), scale)
                    for *speakers, length, wave, scale in items
                ]
            yield depth, [estimate.cpu().numpy() for estimate in estimates]


def _warn_of_doubts(
    there: np.ndarray,
    rate: int,
    channel: Channel,
    separated: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Warn of channels (c, n) and of estimates (j, n), with their mixtures, that are doubtful."""
    is_chosen = len(there) > 1 and channel in ("mean", "each")
    if is_chosen and (doubt := doubt_of_channels(channel_powers(rate).push(there))):
        logging.warning(doubt)
    for number, (mixture, estimates) in enumerate(separated, start=1):
        statistics = ScaleStatistics(len(estimates)).update(mixture, estimates)
        if doubt := doubt_of_estimates(statistics, estimate_powers(rate).push(estimates)):
            logging.warning(f"channel {number}: {doubt}" if len(separated) > 1 else doubt)


def _as_list(mixtures: Mixtures) -> list[Tensor]:
    """Return mixtures as a list of waveforms (n,), checked."""
    refuse_path(mixtures)
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
        raise TisdissError("mixtures must not be empty; got an empty list or batch")
    return waves


def _as_tensor(samples: Tensor | np.ndarray) -> Tensor:
    """Return samples as a tensor that can be converted to an array."""
    if isinstance(samples, Tensor) and samples.dtype in (torch.float32, torch.float64):
        return samples.detach()  # on its device
    # PyTorch does not take arrays with negative strides
    return torch.as_tensor(np.ascontiguousarray(as_floats(samples)))


def _scaled(
    scale: Scale, waves: Sequence[Tensor], estimates: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the estimates (j, n) of mixtures (n,), scaled as ``scale`` says."""
    pairs = zip(waves, estimates, strict=True)
    return [rescale(scale, wave.cpu().numpy(), estimate) for wave, estimate in pairs]
