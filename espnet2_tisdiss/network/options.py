"""The separator's options: names, defaults, meaning, and what follows from them.

Names are the published ones, so that published configurations load unchanged: there "encoder" means
the separator blocks, and the splitter is spelled "spliter".
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from espnet2_tisdiss.network.blocks.band_layout import BandSplit
from espnet2_tisdiss.network.blocks.block import TFOrder
from espnet2_tisdiss.network.blocks.feedforward import FFNType
from espnet2_tisdiss.network.blocks.locoformer import Checkpoint, PathConfig
from espnet2_tisdiss.network.blocks.norm import NormType
from espnet2_tisdiss.network.blocks.splitter import SplitterType

# float16 would need loss scaling, which ESPnet does only on GPUs
TrainingDtype = Literal["float32", "bfloat16"]


@dataclass
class SeparatorOptions:
    """Options of :class:`~espnet2_tisdiss.network.separator.TISDiSSSeparator`.

    :class:`~espnet2_tisdiss.network.config.TISDiSSConfig` checks them.

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
