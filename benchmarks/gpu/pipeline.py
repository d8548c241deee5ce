"""A model's encoder, separator and decoder, run as ESPnet's model runs them.

ESPnet's task imports every encoder, separator and loss, and with them several hundred megabytes of
packages. This module imports only what one configuration needs; parameters have the same names.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from espnet2_tisdiss.network.assembly import build_decoder, build_encoder
from espnet2_tisdiss.network.reference import PlainTISDiSS
from espnet2_tisdiss.network.separator import TISDiSSSeparator

SEPARATORS = {
    "tisdiss": ("espnet2_tisdiss.network.separator", "TISDiSSSeparator"),
    "tcn": ("espnet2.enh.separator.tcn_separator", "TCNSeparator"),
    "dprnn": ("espnet2.enh.separator.dprnn_separator", "DPRNNSeparator"),
    "tfgridnetv2": ("espnet2.enh.separator.tfgridnetv2_separator", "TFGridNetV2"),
}


class Pipeline(nn.Module):
    """From waveforms to waveforms.

    Args:
        config: ESPnet's configuration.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.encoder = build_encoder(config["encoder"], config["encoder_conf"])
        module, name = SEPARATORS[config["separator"]]
        separator = getattr(importlib.import_module(module), name)
        self.separator = separator(self.encoder.output_dim, **config["separator_conf"])
        self.decoder = build_decoder(config["decoder"], config["decoder_conf"])
        self.normalises = bool(config.get("model_conf", {}).get("normalize_variance"))

    def forward(self, waves: Tensor) -> list[Tensor]:
        """Separate ``waves`` (b, n); in training mode return every supervised depth's (b, n)."""
        if self.normalises:
            waves = waves / waves.std(1, keepdim=True)
        lengths = torch.full((len(waves),), waves.shape[1])  # on the CPU, to avoid synchronisation
        features, frames = self.encoder(waves, lengths)
        estimates, _, _ = self.separator(features, frames)
        return [self.decoder(estimate, lengths)[0] for estimate in estimates]


class PlainSeparator(nn.Module):
    """The plain implementation in place of a separator, with the separator's weights.

    Args:
        separator: a TISDiSS with the published front end and a loss at every depth.
    """

    def __init__(self, separator: TISDiSSSeparator):
        super().__init__()
        self.inner = separator

    def forward(self, input: Tensor, ilens: Tensor) -> tuple[list[Tensor], Tensor, dict]:
        """Separate as the separator does; padding is not supported."""
        inner = self.inner
        weights = {**dict(inner.named_parameters()), **dict(inner.named_buffers())}
        with input.device:
            depths = PlainTISDiSS(inner.config, weights)(input, inner.reconstructor_repeat_times)
        if not self.training:
            depths = depths[-1:]
        return [estimate for depth in depths for estimate in depth.unbind(1)], ilens, {}
