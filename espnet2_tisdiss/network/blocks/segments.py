"""Front end for a learned encoder: its features, cut into overlapping segments.

ESPnet's convolutional encoder returns about a thousand frames of real features per second. Cut into
segments that overlap by half (Luo et al., 2020, DPRNN, section 2.1), they become a map: axis t
counts segments, axis f the frames within a segment. ``frontend`` defines what a front end is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.blocks.global_norm import GlobalNorm
from espnet2_tisdiss.network.blocks.splitter import zero_padding


class SegmentEmbed(nn.Module):
    """Global norm, linear map to the channels, segmentation.

    Args:
        input_dim: features of a frame.
        emb_dim: number of channels h.
        eps: that of the norm.
        segment_size: frames in a segment; even.
    """

    def __init__(self, input_dim: int, emb_dim: int, eps: float, segment_size: int):
        super().__init__()
        self.hop = segment_size // 2
        self.norm = GlobalNorm(input_dim, eps)
        self.linear = nn.Linear(input_dim, emb_dim)

    def forward(
        self, features: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed features of frames as a map of segments.

        Args:
            features: (b, frame, input_dim).
            frames: (b, frame), false at padded frames; None: no padding.

        Returns:
            The map (b, segment, frame within, h), and the mask (b, segment), true at segments with
            a valid frame, or None.
        """
        normed = self.norm(features, frames).to(self.linear.weight.dtype)
        x = zero_padding(self.linear(normed), frames)
        # half a segment of zeros in front, and zeros behind until each frame is in two segments
        x = F.pad(x, (0, 0, self.hop, self.hop + -x.shape[1] % self.hop))
        x = x.unfold(1, 2 * self.hop, self.hop).movedim(2, -1)  # (b, segment, frame within, h)
        if frames is not None:
            count = (frames.sum(1, keepdim=True) + self.hop - 1) // self.hop + 1
            frames = torch.arange(x.shape[1], device=count.device) < count
        return x.contiguous(), frames


class SegmentProject(nn.Module):
    """Overlap-add and linear map to the encoder's features.

    Args:
        emb_dim: number of channels of a stream.
        output_dim: features of a frame.
        start: value around which estimates start before training: 1 / num_spk for masks (an even
            share of the mixture), 0 for features.
    """

    def __init__(self, emb_dim: int, output_dim: int, start: float):
        super().__init__()
        self.linear = nn.Linear(emb_dim, output_dim)
        nn.init.constant_(self.linear.bias, start)

    def forward(self, x: Tensor, frames: Tensor | None, n_frames: int) -> Tensor:
        """Project ``x`` (b, segment, frame within, h) to (b, n_frames, output_dim)."""
        hop = x.shape[2] // 2
        first, second = x[:, 1:, :hop], x[:, :-1, hop:]  # the two segments that share a hop
        x = ((first + second) / 2).flatten(1, 2)[:, :n_frames]
        return self.linear(x)
