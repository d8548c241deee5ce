"""A trained model built from its configuration, without ESPnet's task, whose import takes seconds.

Module names are those of ESPnet, so that weights load into both.
"""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from espnet2_tisdiss.checks import check_flag, check_integer, shown
from espnet2_tisdiss.errors import OptionError, first_line
from espnet2_tisdiss.lazy_espnet import espnet_module
from espnet2_tisdiss.network.separator import TISDiSSSeparator
from espnet2_tisdiss.network.stft import STFT, STFTDecoder, STFTEncoder

if TYPE_CHECKING:
    from espnet2.enh.decoder.abs_decoder import AbsDecoder
    from espnet2.enh.encoder.abs_encoder import AbsEncoder

# what a configuration must contain, as written by ESPnet's training
PARTS = ("encoder", "encoder_conf", "separator", "separator_conf", "decoder", "decoder_conf")
# other entries that ESPnet reads
ESPNET_OPTIONS = ("model_conf", "init")
# options of ESPnet's model that do not affect separation
TRAINING_OPTIONS = {
    "stft_consistency",
    "loss_type",
    "mask_type",
    "flexible_numspk",
    "extract_feats_in_collect_stats",
}
NORMALIZATIONS = ("normalize_variance", "normalize_variance_per_ch")
# by type of encoder and decoder, the options that must be the same in both: otherwise the decoder
# returns less or more time than the encoder took, or changes the level within each window
SHARED_OPTIONS = {
    "stft": (
        *("n_fft", "hop_length", "center", "onesided"),
        *("win_length", "window", "normalized"),
    ),
    "conv": ("channel", "kernel_size", "stride"),
}
# encoders and decoders that need little else of ESPnet, and what their classes' names begin with
LIGHT = {"conv": "Conv", "same": "Null"}
# largest learned encoder: its weights are the product of two of these
MOST_CONV = 65536


def build_encoder(name: str, conf: Mapping[str, Any]) -> "AbsEncoder":
    """Build one of ESPnet's encoders; all but ``stft`` and those in ``LIGHT`` import slowly.

    Raises:
        OptionError: there is no such encoder, or it refuses its options.
    """
    return _build("encoder", STFTEncoder, name, conf)


def build_decoder(name: str, conf: Mapping[str, Any]) -> "AbsDecoder":
    """Build one of ESPnet's decoders, as :func:`build_encoder` does."""
    return _build("decoder", STFTDecoder, name, conf)


def _build(part: str, stft: type[STFT], name: str, conf: Mapping[str, Any]) -> nn.Module:
    """Build an encoder or decoder, one of the class ``stft`` if that has the options."""
    if name == "stft" and set(conf) <= set(inspect.signature(STFT).parameters):
        return stft(**conf)
    cls = _espnet_class(part, name)
    try:  # ESPnet does not check the options but fails
        return cls(**conf)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise OptionError(f"{part}_conf is refused: {first_line(error)}") from error


def _espnet_class(part: str, name: str) -> type[nn.Module]:
    """Return ESPnet's class of an encoder or decoder."""
    if name in LIGHT:
        module = importlib.import_module(f"espnet2.enh.{part}.{LIGHT[name].lower()}_{part}")
        return getattr(module, LIGHT[name] + part.title())
    classes = getattr(espnet_module("espnet2.tasks.enh"), f"{part}_choices").classes
    if name not in classes:
        raise OptionError(f"{part} must be one of {', '.join(classes)}; got {shown(name)}")
    return classes[name]


def hop_of(encoder: "AbsEncoder") -> int:
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

    normalize_variance: bool
    normalize_variance_per_ch: bool

    def __init__(
        self,
        encoder: "AbsEncoder",
        separator: TISDiSSSeparator,
        decoder: "AbsDecoder",
        normalization: str | None,
    ):
        super().__init__()
        self.encoder, self.separator, self.decoder = encoder, separator, decoder
        self.num_spk = separator.num_spk
        for name in NORMALIZATIONS:
            setattr(self, name, name == normalization)
        # features that no model built here has
        self.ref_channel = 0
        self.categories: dict[int, str] = {}
        self.always_forward_in_48k = False


def check_parts(config: Mapping[str, Any], prefix: str = "", more: Sequence[str] = ()) -> None:
    """Check that a configuration has the names and the options of all parts.

    Args:
        config: the training's configuration.
        prefix: prefix of the names: ``enh_`` in the configuration of a joint model.
        more: further names that it must have.

    Raises:
        OptionError: it lacks a name, or one has a wrong type.
    """
    _check_options("the configuration", config)
    names = [prefix + name for name in PARTS]
    if missing := [name for name in (*names, *more) if name not in config]:
        raise OptionError(
            f"the configuration has no {', '.join(missing)}; take the one that the training wrote"
        )
    for name in names:
        if name.endswith("_conf"):
            _check_options(name, config[name])
        elif not isinstance(config[name], str):
            raise OptionError(f"{name} must be a name; got {shown(config[name])}")


def _check_options(name: str, value: Any) -> None:
    """Raise OptionError unless ``value`` is a mapping with strings as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise OptionError(f"{name} must be options by name; got {shown(value)}")


def check_fit(config: Mapping[str, Any], prefix: str = "") -> None:
    """Check that encoder, separator and decoder of a TISDiSS configuration match.

    ESPnet builds them separately and does not compare them. A decoder with another hop would output
    silence for a part of the recording.

    Args:
        config: the training's configuration, with the names of :func:`check_parts`.
        prefix: as for :func:`check_parts`.

    Raises:
        OptionError: two of them do not match.
    """
    kinds = {part: config[prefix + part] for part in ("encoder", "decoder")}
    options = {part: config[f"{prefix}{part}_conf"] for part in kinds}
    kind = kinds["encoder"]
    if kind not in SHARED_OPTIONS or kinds["decoder"] != kind:
        raise OptionError(
            f"{prefix}encoder {kind} and {prefix}decoder {kinds['decoder']} do not fit: a TISDiSS "
            f"takes {' or '.join(SHARED_OPTIONS)} for both"
        )
    check = _check_conv if kind == "conv" else _check_stft
    used = {part: check(part, options[part]) for part in options}
    for name in SHARED_OPTIONS[kind]:
        encoders, decoders = used["encoder"][name], used["decoder"][name]
        if encoders != decoders:
            raise OptionError(
                f"{prefix}encoder_conf has {name} {shown(encoders)} and {prefix}decoder_conf "
                f"{name} {shown(decoders)}: the decoder must undo the encoder; give both the same"
            )
    is_segmented = config[f"{prefix}separator_conf"].get("segment_size") is not None
    if is_segmented != (kind == "conv"):
        needed = "needs encoder conv" if is_segmented else "is missing: encoder conv needs it"
        raise OptionError(f"{prefix}separator_conf: segment_size {needed}")
    for name in NORMALIZATIONS:
        is_on = (config.get(f"{prefix}model_conf") or {}).get(name)
        if is_on and config[f"{prefix}separator_conf"].get("causal"):
            raise OptionError(
                f"{prefix}model_conf: {name} must be false with {prefix}separator_conf: causal: it "
                "takes the level of the mixture up to its end"
            )


def _check_conv(part: str, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Check and return the sizes of a learned encoder or decoder, which ESPnet does not check."""
    return {
        name: check_integer(f"{part}_conf: {name}", conf.get(name), 1, MOST_CONV)
        for name in SHARED_OPTIONS["conv"]
    }


def _check_stft(part: str, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a transform, and that a decoder's windows leave no gaps; return them."""
    known = inspect.signature(STFT).parameters
    try:
        transform = STFT(**{name: value for name, value in conf.items() if name in known})
        if part == "decoder":
            transform.check_inverse()
    except OptionError as error:
        raise OptionError(f"{part}_conf: {error}") from None
    return {name: getattr(transform, name) for name in known}


def build_network(config: Mapping[str, Any]) -> Network | None:
    """Build the network of a training's configuration, with random weights.

    Returns:
        The network; None if only ESPnet can build what the configuration asks for.

    Raises:
        OptionError: the configuration lacks a part, or an option is unknown or has a wrong value.
    """
    check_parts(config)
    model_conf = config.get("model_conf") or {}
    _check_options("model_conf", model_conf)
    for name in NORMALIZATIONS:
        check_flag(f"model_conf: {name}", model_conf.get(name, False))
    set_options = {name for name, value in model_conf.items() if value}
    options = set_options - TRAINING_OPTIONS
    is_plain = config["separator"] == "tisdiss" and options in (
        set(),
        *({n} for n in NORMALIZATIONS),
    )
    if not is_plain or config.get("use_adapter") or config.get("diffusion_model"):
        return None
    check_fit(config)
    encoder = build_encoder(config["encoder"], config["encoder_conf"])
    return Network(
        encoder,
        TISDiSSSeparator(encoder.output_dim, **config["separator_conf"]),
        build_decoder(config["decoder"], config["decoder_conf"]),
        next(iter(options), None),
    )
