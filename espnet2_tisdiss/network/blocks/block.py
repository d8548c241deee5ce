"""Separator block and reconstructor block: the two sets of weights that are repeated."""

from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.locoformer import LocoformerPath, PathConfig

TF_ORDERS = ("ft", "tf")


class SeparatorBlock(nn.Module):
    """Frequency path and time path over the mixture's stream (TISDiSS, section 2.2).

    Args:
        config: sizes and types of the paths.
        tf_order: ``ft``, frequency first, or ``tf``, time first.
    """

    def __init__(self, config: PathConfig, tf_order: str):
        super().__init__()
        self.tf_order = tf_order
        self.freq_path = LocoformerPath(config)
        self.frame_path = LocoformerPath(config)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Process ``x`` (b, t, f, h); ``frames`` (b, t) is false at padded frames, or None."""
        for letter in self.tf_order:
            if letter == "f":
                x = self.freq_path(x)
            else:
                x = self.frame_path(x.transpose(1, 2), frames).transpose(1, 2)
        return x


class ReconstructorBlock(SeparatorBlock):
    """Time, frequency and speaker path over the speakers' streams (TISDiSS, section 2.2).

    Args:
        config: sizes and types of the paths. The speaker path takes the last feed-forward network
            alone: it is not Macaron, an accident of the published code which its weights carry.
        tf_order: ``ft`` or ``tf``; the speaker path comes last.
        speaker_path: whether there is a speaker path at all.
    """

    def __init__(self, config: PathConfig, tf_order: str, speaker_path: bool):
        super().__init__(config, tf_order)
        self.spk_path = LocoformerPath(config.single_ffn()) if speaker_path else None

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Process ``x`` (b, j, t, f, h); ``frames`` (b, t) is false at padded frames, or None."""
        b, j, t, f, _ = x.shape
        if frames is not None:
            frames = frames.repeat_interleave(j, dim=0)
        x = super().forward(x.flatten(0, 1), frames).unflatten(0, (b, j))
        if self.spk_path is not None:
            x = x.flatten(2, 3).transpose(1, 2)  # (b, t * f, j, h)
            x = self.spk_path(x).transpose(1, 2).unflatten(2, (t, f))
        return x


class RepeatResidual(nn.Sequential):
    """Reference stream added before a repetition: PReLU(depthwise 1x1 Conv2d(x + reference)).

    Args:
        dim: number of channels h.
    """

    def __init__(self, dim: int):
        super().__init__(nn.Conv2d(dim, dim, 1, groups=dim), nn.PReLU())

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Return the sum's activation; both arguments (..., h), broadcast against each other."""
        scale, activation = self[0], self[1]
        # a depthwise 1x1 convolution is one product a channel, whatever the number of axes
        return activation((x + reference) * scale.weight.flatten() + scale.bias)
