"""A trained model in memory: its configuration, weights and transforms, checked.

Models are built without ESPnet's task where possible, because its import takes seconds.
"""

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from espnet2_tisdiss.checks import check_integer, check_n_re
from espnet2_tisdiss.choices import RATES, Dtype
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.lazy_espnet import espnet_module
from espnet2_tisdiss.network.assembly import (
    ESPNET_OPTIONS,
    Network,
    build_network,
    check_fit,
    check_parts,
)
from espnet2_tisdiss.network.precision import half_precision
from espnet2_tisdiss.network.separator import TISDiSSSeparator
from espnet2_tisdiss.network.weights import WeightsError, check_names, fingerprint
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL
from espnet2_tisdiss.pretrained.finding import (
    CONFIG,
    find_model,
    loading,
    read_weights,
)
from espnet2_tisdiss.pretrained.layouts import CALIBRATION, is_joint
from espnet2_tisdiss.separate.calibration import Calibration, calibration_of
from espnet2_tisdiss.separate.transforms import Transforms
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:
    from espnet2.enh.espnet_model import ESPnetEnhancementModel


class LoadedModel:
    """A trained TISDiSS model on a device; see :class:`~espnet2_tisdiss.SeparateSpeech`."""

    enh_model: "Network | ESPnetEnhancementModel"

    def __init__(
        self,
        train_config: Path | str | None,
        model_file: Path | str | None,
        inference_config: Path | str | None,
        device: str,
        dtype: Dtype,
        enh_s2t_task: bool,
        *,
        n_re: int | None,
        sample_rate: int | None,
        half_weights: bool,
        compiled: bool,
    ):
        half = half_precision(dtype, device)
        # options are checked before the files, so that errors name the right cause
        if n_re is not None:
            check_n_re("n_re", n_re, 0)
        if sample_rate is not None:
            check_integer("sample_rate", sample_rate, 1, RATES[-1])
        if train_config is None:
            if model_file is None:
                raise TisdissError(
                    "no model given: pass model_file, or use from_pretrained(), which loads "
                    f"{DEFAULT_MODEL} by default"
                )
            train_config = Path(model_file).with_name(CONFIG)
        self.device = device
        # half precision applies to the separator; waveforms and spectra stay in float32
        self.dtype = "float64" if dtype == "float64" else "float32"
        # an inference_config changes what the model computes, so it is part of the fingerprint
        self._calibration_file = (
            None if model_file is None else Path(model_file).with_name(CALIBRATION)
        )
        self._load(train_config, model_file, inference_config, enh_s2t_task)
        if dtype == "auto" and self.separator.config.training_dtype != "bfloat16":
            half = None
        self.precision = self.dtype if half is None else str(half).removeprefix("torch.")
        self.num_spk = self.enh_model.num_spk
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
        self.hop, self.look_ahead = self._transforms.hop, self._transforms.look_ahead

    @classmethod
    def from_pretrained(cls, model_tag: str | Path | None = None, **kwargs: Any) -> Self:
        """Build from a trained model.

        Args:
            model_tag: a model's folder, weights or archive, a published model's tag, or the name
                of a model that comes with the package: see
                :func:`~espnet2_tisdiss.pretrained.finding.find_model`. None: the files given in
                ``kwargs``, or without these the package's default model.
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
                names = " and ".join(given)
                raise TisdissError(f"give either a model ({model_tag}) or its {names}, not both")
            kwargs.update(find_model(model_tag))
        return cls(**kwargs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A name of the model, derived from its weights and configuration."""
        return fingerprint(self.enh_model.state_dict(), vars(self.enh_train_args))

    @functools.cached_property
    def calibration(self) -> Calibration | None:
        """The prediction of quality from the estimates; None if the model is not calibrated.

        It is read from ``calibration.yaml`` in the weights' folder, written by ``tisdiss
        calibrate``.

        Raises:
            TisdissError: the file is damaged.
        """
        if self._calibration_file is None:
            return None
        return calibration_of(self.fingerprint, self._calibration_file)

    @property
    def separator(self) -> TISDiSSSeparator:
        """The network."""
        return self.enh_model.separator

    def _load(
        self,
        config_file: Path | str,
        model_file: Path | str | None,
        inference_config: Path | str | None,
        enh_s2t_task: bool,
    ) -> None:
        """Load the model and its configuration.

        Raises:
            TisdissError: a file is damaged, or they do not match.
        """
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
        if network is None or weights is None:
            with loading(file, Exception):
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
            # in a joint model, the separator is in the first part
            self._check_model(weights, "enh_model." if enh_s2t_task else "")

    def _check_model(self, weights: dict[str, Tensor] | None, prefix: str) -> None:
        """Check that the model is a TISDiSS and that the file has its weights, with a prefix."""
        if not isinstance(self.separator, TISDiSSSeparator):
            raise TisdissError(
                f"the model's separator is {type(self.separator).__name__}, not a TISDiSS"
            )
        if self.enh_model.always_forward_in_48k:
            raise TisdissError("a TISDiSS model with always_forward_in_48k is not supported")
        if weights is not None:
            # ESPnet loads the weights that match and ignores the others
            found = [name.removeprefix(prefix) for name in weights if name.startswith(prefix)]
            check_names(self.enh_model.state_dict(), found)

    def _rate(self, chosen: int | None) -> int:
        """Return the model's sample rate, chosen or configured, after checking that they agree."""
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
