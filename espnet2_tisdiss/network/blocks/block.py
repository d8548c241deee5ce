"""Separator block and reconstructor block: the two sets of weights that are repeated."""

from typing import Literal

from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.locoformer import LocoformerPath, PathConfig

TFOrder = Literal["ft", "tf"]


class SeparatorBlock(nn.Module):
    """Frequency path and time path over the mixture's stream (TISDiSS, section 2.2).

    Args:
        config: sizes and types of the paths.
        tf_order: ``ft``, frequency first, or ``tf``, time first.
    """

    def __init__(self, config: PathConfig, tf_order: TFOrder):
        super().__init__()
        self.tf_order = tf_order
        self.freq_path = LocoformerPath(config.both_ways())
        self.frame_path = LocoformerPath(config)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Process a feature map.

        Args:
            x: (b, t, f, h).
            frames: (b, t), false at padded frames; None: no padding.

        Returns:
            The same shape as ``x``.
        """
        for letter in self.tf_order:
            if letter == "f":
                x = self.freq_path(x)
            else:
                x = self.frame_path(x.transpose(1, 2), frames).transpose(1, 2)
        return x


class ReconstructorBlock(SeparatorBlock):
    """Time, frequency and speaker path over the speakers' streams (TISDiSS, section 2.2).

    Args:
        config: sizes and types of the paths.
        tf_order: ``ft`` or ``tf``; the speaker path comes last.
        speaker_path: whether there is a speaker path.
    """

    def __init__(self, config: PathConfig, tf_order: TFOrder, speaker_path: bool):
        super().__init__(config, tf_order)
        # Only the last FFN, although the other paths are Macaron: an oversight in the published
        # code, on which published weights depend.
        path = config.single_ffn().both_ways()
        self.spk_path = LocoformerPath(path) if speaker_path else None

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Process the speakers' streams.

        Args:
            x: (b, j, t, f, h).
            frames: (b, t), false at padded frames; None: no padding.

        Returns:
            The same shape as ``x``.
        """
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

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:  # type: ignore[override]
        """Return the activation (..., h) of the sum; the arguments broadcast against each other."""
        # a depthwise 1x1 convolution is a scale and an offset for each channel
        scale, offset = self[0].parameters()
        return self[1]((x + reference) * scale.flatten() + offset)
