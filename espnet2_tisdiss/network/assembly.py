"""A trained model built from its configuration, without ESPnet's task, whose import takes seconds.

Module names are ESPnet's, so that weights fit either way.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from espnet2_tisdiss.lazy_espnet import espnet_module
from espnet2_tisdiss.network.separator import TISDiSSSeparator
from espnet2_tisdiss.network.stft import STFT, STFTDecoder, STFTEncoder

# what a configuration must hold, as ESPnet's training writes it
PARTS = ("encoder", "encoder_conf", "separator", "separator_conf", "decoder", "decoder_conf")
# options of ESPnet's model that separation does not depend on
TRAINING_OPTIONS = {
    "stft_consistency",
    "loss_type",
    "mask_type",
    "flexible_numspk",
    "extract_feats_in_collect_stats",
}
NORMALIZATIONS = ("normalize_variance", "normalize_variance_per_ch")


def build_encoder(name: str, conf: Mapping[str, Any]) -> nn.Module:
    """Build an encoder of ESPnet's choices: ``stft`` and ``conv`` at once, others in seconds."""
    if name == "stft" and _is_known(conf):
        return STFTEncoder(**conf)
    if name == "conv":
        from espnet2.enh.encoder.conv_encoder import ConvEncoder

        return ConvEncoder(**conf)
    return espnet_module("espnet2.tasks.enh").encoder_choices.get_class(name)(**conf)


def build_decoder(name: str, conf: Mapping[str, Any]) -> nn.Module:
    """Build a decoder of ESPnet's choices, as :func:`build_encoder` does."""
    if name == "stft" and _is_known(conf):
        return STFTDecoder(**conf)
    if name == "conv":
        from espnet2.enh.decoder.conv_decoder import ConvDecoder

        return ConvDecoder(**conf)
    return espnet_module("espnet2.tasks.enh").decoder_choices.get_class(name)(**conf)


def _is_known(conf: Mapping[str, Any]) -> bool:
    """Whether an encoder or decoder ``stft`` has no option beyond those of :class:`STFT`."""
    return set(conf) <= set(inspect.signature(STFT).parameters)


def hop_of(encoder: nn.Module) -> int:
    """Return the hop size in samples of ESPnet's ``stft`` or ``conv`` encoder."""
    return encoder.hop_length if hasattr(encoder, "hop_length") else encoder.stride


class Network(nn.Module):
    """Encoder, separator and decoder, with the attributes that ESPnet's model has for inference.

    Args:
        encoder: from waveforms to features.
        separator: the TISDiSS.
        decoder: back to waveforms.
        normalization: which of ESPnet's ``NORMALIZATIONS`` of the mixture is on, if any.
    """

    def __init__(
        self,
        encoder: nn.Module,
        separator: TISDiSSSeparator,
        decoder: nn.Module,
        normalization: str | None,
    ):
        super().__init__()
        self.encoder, self.separator, self.decoder = encoder, separator, decoder
        self.num_spk = separator.num_spk
        for name in NORMALIZATIONS:
            setattr(self, name, name == normalization)
        # what no model built here has
        self.ref_channel = 0
        self.categories: dict[int, str] = {}
        self.always_forward_in_48k = False


def build_network(config: Mapping[str, Any]) -> Network | None:
    """Build the network of a training's configuration, with random weights.

    Returns:
        The network; None: the configuration asks for what ESPnet alone can build.

    Raises:
        ValueError: the configuration lacks a part, or an option has an impossible value.
        TypeError: an option is unknown.
    """
    if missing := [name for name in PARTS if name not in config]:
        raise ValueError(
            f"the configuration has no {', '.join(missing)}; take the one that the training wrote"
        )
    set_options = {name for name, value in (config.get("model_conf") or {}).items() if value}
    options = set_options - TRAINING_OPTIONS
    is_plain = config["separator"] == "tisdiss" and options in (
        set(),
        *({n} for n in NORMALIZATIONS),
    )
    if not is_plain or config.get("use_adapter") or config.get("diffusion_model"):
        return None
    encoder = build_encoder(config["encoder"], config["encoder_conf"])
    return Network(
        encoder,
        TISDiSSSeparator(encoder.output_dim, **config["separator_conf"]),
        build_decoder(config["decoder"], config["decoder_conf"]),
        next(iter(options), None),
    )
