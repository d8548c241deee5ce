"""The separator's options, checked."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from espnet2_tisdiss.checks import (
    as_list,
    check_choice,
    check_divides,
    check_flag,
    check_integer,
    check_number,
    shown,
)
from espnet2_tisdiss.choices import MOST_N_RE, RATES
from espnet2_tisdiss.errors import OptionError, UnknownOptionError
from espnet2_tisdiss.network.blocks.band_layout import BAND_SPLITS
from espnet2_tisdiss.network.blocks.feedforward import FFN_TYPES
from espnet2_tisdiss.network.options import SeparatorOptions

# the upper limit of each integer option. A configuration may come from an unknown source: with
# 100,000 layers, building the separator would take hours.
MOST = {
    "num_spk": 64,
    "emb_dim": 4096,
    "num_groups": 4096,
    "n_heads": 4096,
    "attention_dim": 4096,
    "ffn_hidden_dim": 16384,
    "conv1d_kernel": 256,
    "conv1d_shift": 256,
    "encoder_repeat_times": MOST_N_RE,
    "encoder_n_layers": 100,
    "reconstructor_repeat_times": MOST_N_RE,
    "reconstructor_n_layers": 100,
    "num_bands": 1024,
    "sample_rate": RATES[-1],
    "segment_size": 65536,
    "attention_window": 2**20,
}
MOST_WEIGHTS = 2 * 10**9  # of a separator, which makes a file of 8 GB


@dataclass
class TISDiSSConfig(SeparatorOptions):
    """Options of the separator, all checked.

    :class:`~espnet2_tisdiss.network.options.SeparatorOptions` has their meaning and defaults.

    Raises:
        OptionError: a value is wrong; the message names the option and the values allowed.
    """

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "TISDiSSConfig":
        """Build from keyword arguments.

        Raises:
            UnknownOptionError: a name is unknown; the message lists the known ones.
            OptionError: as for the constructor.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in names:
                raise UnknownOptionError(
                    f"unknown argument {shown(name)}; the arguments are {', '.join(names)}"
                )
        return cls(**options)

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            OptionError: a value is wrong; the message names the option and the values allowed.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is bool:
                check_flag(field.name, value)
            elif field.type is int:
                minimum = 0 if field.name.startswith("reconstructor_") else 1
                integer = check_integer(field.name, value, minimum, MOST[field.name])
                setattr(self, field.name, integer)
            elif get_origin(field.type) is Literal:
                check_choice(field.name, value, get_args(field.type))
        check_number("dropout", self.dropout, 0, 1)
        check_number("eps", self.eps, 0, 1)
        self._check_ffn()
        self._check_widths()
        self._check_size()
        self._check_front_end()
        self._check_causal()

    def _check_ffn(self) -> None:
        """Check the options of the FFNs and turn them into lists of the same length."""
        self.ffn_type, self.ffn_hidden_dim = as_list(self.ffn_type), as_list(self.ffn_hidden_dim)
        for ffn_type in self.ffn_type:
            check_choice("ffn_type", ffn_type, FFN_TYPES)
        for hidden_dim in self.ffn_hidden_dim:
            check_integer("ffn_hidden_dim", hidden_dim, 1, MOST["ffn_hidden_dim"])
        if len(self.ffn_type) not in (1, 2):
            raise OptionError(f"ffn_type must be one type or a list of two; got {self.ffn_type}")
        if len(self.ffn_hidden_dim) != len(self.ffn_type):
            raise OptionError(
                f"ffn_hidden_dim must hold one width for each of the {len(self.ffn_type)} "
                f"networks of ffn_type; got {self.ffn_hidden_dim}"
            )
        if self.conv1d_shift > self.conv1d_kernel:
            raise OptionError(
                f"conv1d_shift must be at most conv1d_kernel = {self.conv1d_kernel}; "
                f"got {self.conv1d_shift}"
            )

    def _check_front_end(self) -> None:
        """Check the options of the band-split front end and of that for a learned encoder."""
        check_number("band_scale", self.band_scale, 1e-3, float("inf"))
        if isinstance(self.band_split, str):
            check_choice("band_split", self.band_split, BAND_SPLITS)
        elif self.band_split is not None:
            self.band_split = [
                check_integer("band_split", width, 1) for width in as_list(self.band_split)
            ]
        if self.band_split is not None and not self.mask:
            # the embedding normalises the level of each band; only a mask restores it
            raise OptionError("mask must be true with band_split; got False")
        if self.segment_size is not None:
            if check_integer("segment_size", self.segment_size, 2, MOST["segment_size"]) % 2:
                raise OptionError(f"segment_size must be even; got {self.segment_size}")
            if self.band_split is not None:
                raise OptionError(
                    "band_split must be null with segment_size: a learned encoder has no bins; "
                    f"got {shown(self.band_split)}"
                )

    def _check_causal(self) -> None:
        """Check that ``causal`` is not combined with options that look ahead."""
        if self.causal and self.segment_size is not None:
            raise OptionError(
                "segment_size must be null with causal: a segment holds frames to come; "
                f"got {self.segment_size}"
            )
        if self.causal and self.flash_attention:
            raise OptionError(
                "flash_attention must be false with causal: it does not support a window; got True"
            )

    def _check_widths(self) -> None:
        """Check that the widths are multiples of the numbers of heads, groups and speakers."""
        if self.split_compress:
            check_divides("num_spk", self.num_spk, "emb_dim", self.emb_dim)
            check_divides("num_spk", self.num_spk, "attention_dim", self.attention_dim)
            for hidden_dim in as_list(self.ffn_hidden_dim):
                check_divides("num_spk", self.num_spk, "ffn_hidden_dim", hidden_dim)
        stream = "" if self.compression == 1 else " / num_spk"
        for path in (self.mixture_path, self.stream_path):
            if self.norm_type == "rmsgroupnorm":
                check_divides("num_groups", self.num_groups, f"emb_dim{stream}", path.emb_dim)
            check_divides("n_heads", self.n_heads, f"attention_dim{stream}", path.attention_dim)
            if path.attention_dim // self.n_heads % 2:
                raise OptionError(
                    f"attention_dim{stream} / n_heads must be even, for the rotary pairs; "
                    f"got {path.attention_dim} / {self.n_heads}"
                )

    def _check_size(self) -> None:
        """Check the size of the separator before memory is allocated for it."""
        paths = 2 * self.encoder_n_layers + 3 * self.reconstructor_n_layers
        ffn_width = sum(as_list(self.ffn_hidden_dim)) * self.conv1d_kernel
        weights = 2 * paths * self.emb_dim * (2 * self.attention_dim + ffn_width)
        weights += 9 * self.num_spk * self.emb_dim**2  # one convolution of the splitter
        if weights > MOST_WEIGHTS:
            raise OptionError(
                f"emb_dim, ffn_hidden_dim, conv1d_kernel and the numbers of layers must make at "
                f"most {MOST_WEIGHTS / 1e9:g} billion weights; got {weights / 1e9:.3g} billion"
            )
