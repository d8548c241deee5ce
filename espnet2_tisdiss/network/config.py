"""The separator's options: names, defaults, meaning and checks.

Names are the published ones, so that published configurations load unchanged: there "encoder" means
the separator blocks, and the splitter is spelled "spliter".
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

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
from espnet2_tisdiss.network.blocks.band_layout import BAND_SPLITS, BandSplit
from espnet2_tisdiss.network.blocks.block import TF_ORDERS, TFOrder
from espnet2_tisdiss.network.blocks.feedforward import FFN_TYPES, FFNType
from espnet2_tisdiss.network.blocks.locoformer import CHECKPOINTS, Checkpoint, PathConfig
from espnet2_tisdiss.network.blocks.norm import NORM_TYPES, NormType
from espnet2_tisdiss.network.blocks.splitter import SPLITTER_TYPES, SplitterType

# float16 would need loss scaling, which ESPnet does only on GPUs
TrainingDtype = Literal["float32", "bfloat16"]
TRAINING_DTYPES: tuple[TrainingDtype, ...] = get_args(TrainingDtype)
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
class TISDiSSConfig:
    """Options of :class:`~espnet2_tisdiss.network.separator.TISDiSSSeparator`.

    The defaults are sep1x2-re1x6 as published for WSJ0-2mix: 8.0 M parameters.

    Attributes:
        num_spk: speakers j to separate.
        emb_dim: channels h of the feature map.
        norm_type: ``rmsgroupnorm`` or ``layernorm``.
        num_groups: groups of rmsgroupnorm; divides ``emb_dim``.
        tf_order: ``ft``, frequency path before time path, or ``tf``.
        n_heads: number of attention heads.
        flash_attention: force FlashAttention (more than 4 positions; padding masks unsupported);
            needs half precision on a GPU.
        attention_dim: width of queries, keys and values, all heads together.
        ffn_type: ``swiglu_conv1d`` (gated) or ``conv1d``; a list of two makes a Macaron path,
            listed in the order of execution.
        ffn_hidden_dim: hidden width of each FFN.
        conv1d_kernel: FFN kernel, in positions.
        conv1d_shift: FFN stride, in positions; at most the kernel.
        dropout: probability of all dropouts.
        eps: that of all norms.
        encoder_repeat_times: N_sep, repetitions of the separator layers.
        encoder_n_layers: separator layers, each with separate weights.
        reconstructor_repeat_times: N_re, repetitions of the reconstructor layers; 0 returns the
            splitter's output.
        reconstructor_n_layers: reconstructor layers; 0: no reconstructor.
        repeat_residual_module: add the embedded mixture before each separator layer except the
            first.
        reconstructor_repeat_residual_module: also add it before each reconstructor layer; ignored
            without ``repeat_residual_module``.
        speaker_path: whether the reconstructor has a path over the speakers.
        encoder_decoder: supervise the end of the separator; required by the next two, which
            supervise more of its depths.
        encoder_multi_decoder: supervise every separator repetition.
        encoder_n_layers_multi_decoder: supervise every layer of the supervised repetitions.
        reconstructor_multi_decoder: supervise every reconstructor repetition.
        reconstructor_n_layers_multi_decoder: supervise every layer of the supervised repetitions.
        spliter_loss: supervise the splitter's output; ignored with ``encoder_decoder``, which
            does so in any case.
        spk_spliter_type: ``swiglu_conv_deconv2d`` or ``conv2d``.
        split_compress: divide the widths of each stream by ``num_spk``.
        mask: estimate complex masks on the mixture's spectrum instead of spectra.
        band_split: front end with one position for each band of bins; needs ``mask``. ``fixed``:
            bands narrow at low and wide at high frequencies; ``mel``: overlapping mel bands; a
            list: number of bins of each band, low to high. None: the published front end, a
            convolution over every bin.
        band_scale: factor on the widths of the fixed bands; larger means fewer bands.
        num_bands: number of mel bands.
        sample_rate: in Hz. Recordings are resampled to it, and the fixed and mel bands depend on
            it.
        causal: only look back. Convolutions over time get a delayed input, so that they see nothing
            ahead; attention over time sees ``attention_window`` frames; and norms over time use
            the frames so far. A frame of the estimates depends on no later frame of the mixture.
            Needs ``model_conf: {normalize_variance: false}``.
        attention_window: with ``causal``, the number of frames that attention over time sees: the
            last ones, including the current one.
        checkpoint: what training stores for the backward pass: ``none``: everything;
            ``repetition``: the streams between repetitions; ``block``: those between the paths of a
            block, which needs the least memory. The rest is recomputed, which takes about a third
            more time.
        training_dtype: data type of the separator's autocast in training, ``float32`` or
            ``bfloat16``; bfloat16 is used only if the device has instructions for it. It does not
            affect inference.
        compile: fuse the blocks with ``torch.compile``, for training on a GPU with segments of
            equal length; the first step takes minutes.
        segment_size: number of frames of a segment, even, for a learned encoder (``encoder:
            conv``); segments overlap by half. None: the input is a spectrum.
    """

    num_spk: int = 2
    # feature map
    emb_dim: int = 128
    norm_type: NormType = "rmsgroupnorm"
    num_groups: int = 4
    # paths
    tf_order: TFOrder = "ft"
    n_heads: int = 4
    flash_attention: bool = False
    attention_dim: int = 128
    ffn_type: Sequence[FFNType] | FFNType = ("swiglu_conv1d", "swiglu_conv1d")
    ffn_hidden_dim: Sequence[int] | int = (384, 384)
    conv1d_kernel: int = 4
    conv1d_shift: int = 1
    dropout: float = 0.0
    eps: float = 1.0e-5
    # depth
    encoder_repeat_times: int = 2
    encoder_n_layers: int = 1
    reconstructor_repeat_times: int = 6
    reconstructor_n_layers: int = 1
    repeat_residual_module: bool = True
    reconstructor_repeat_residual_module: bool = False
    speaker_path: bool = True
    # supervision
    encoder_decoder: bool = False
    encoder_multi_decoder: bool = False
    encoder_n_layers_multi_decoder: bool = False
    reconstructor_multi_decoder: bool = True
    reconstructor_n_layers_multi_decoder: bool = True
    spliter_loss: bool = True
    # splitter and front end
    spk_spliter_type: SplitterType = "swiglu_conv_deconv2d"
    split_compress: bool = False
    mask: bool = False
    band_split: Sequence[int] | BandSplit | None = None
    band_scale: float = 1.0
    num_bands: int = 32
    sample_rate: int = 8000
    segment_size: int | None = None
    # live
    causal: bool = False
    attention_window: int = 128
    # training
    checkpoint: Checkpoint = "none"
    training_dtype: TrainingDtype = "float32"
    compile: bool = False

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
        check_choice("norm_type", self.norm_type, NORM_TYPES)
        check_choice("tf_order", self.tf_order, TF_ORDERS)
        check_choice("spk_spliter_type", self.spk_spliter_type, SPLITTER_TYPES)
        check_choice("checkpoint", self.checkpoint, CHECKPOINTS)
        check_choice("training_dtype", self.training_dtype, TRAINING_DTYPES)
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

    @property
    def structure(self) -> str:
        """Name of the structure in the paper's notation, sep{layers}x{repeats}-re{...}x{...}."""
        return (
            f"sep{self.encoder_n_layers}x{self.encoder_repeat_times}"
            f"-re{self.reconstructor_n_layers}x{self.reconstructor_repeat_times}"
        )

    @property
    def deepest_useful(self) -> int:
        """N_re beyond which quality hardly improves: 4/3 of the training depth.

        This is a rule of thumb from the paper's results: models trained at 3 repetitions are best
        at 4 (on WSJ0-2mix at 5), those trained at 6 are best at 8.
        """
        return max(1, math.ceil(self.reconstructor_repeat_times * 4 / 3))

    @property
    def compression(self) -> int:
        """Factor by which a stream is narrower than the mixture's feature map."""
        return self.num_spk if self.split_compress else 1

    @property
    def reconstructor_residual(self) -> bool:
        """Whether the mixture is added before each reconstructor layer.

        As in the published code, the reconstructor's switch is ignored without the separator's.
        """
        return self.repeat_residual_module and self.reconstructor_repeat_residual_module

    @property
    def mixture_path(self) -> PathConfig:
        """Sizes of the separator's paths."""
        return PathConfig(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(PathConfig)}
        )

    @property
    def stream_path(self) -> PathConfig:
        """Sizes of the reconstructor's paths."""
        return self.mixture_path.compressed(self.compression)
