"""Front end for a learned encoder: its features, cut into overlapping segments.

ESPnet's convolutional encoder gives a thousand frames a second of real features. Cut into half
overlapping segments (Luo et al., 2020, DPRNN, section 2.1) they become a map: axis t counts the
segments, axis f the frames within one. See ``frontend`` for what a front end is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.blocks.frontend import GlobalNorm
from espnet2_tisdiss.blocks.splitter import blank_frames


class SegmentEmbed(nn.Module):
    """Norm, linear map to the channels, and segmentation.

    Args:
        input_dim: features of a frame.
        emb_dim: number of channels h.
        eps: of the norm.
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
        """Embed ``features`` (b, frame, input_dim) as (b, segment, frame within, h).

        ``frames`` (b, frame) marks valid frames; the mask returned, (b, segment), segments with
        any.
        """
        normed = self.norm(features, frames).to(self.linear.weight.dtype)
        x = blank_frames(self.linear(normed), frames)
        # half a segment before, and after until the last segment is full: each frame is in two
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
        start: number around which the estimates begin before training: the even share of the
            mixture for masks, 0 for features.
    """

    def __init__(self, emb_dim: int, output_dim: int, start: float):
        super().__init__()
        self.linear = nn.Linear(emb_dim, output_dim)
        nn.init.constant_(self.linear.bias, start)

    def forward(self, x: Tensor, frames: Tensor | None, n_frames: int) -> Tensor:
        """Project ``x`` (b, segment, frame within, h) to (b, n_frames, output_dim)."""
        hop = x.shape[2] // 2
        first, second = x[:, 1:, :hop], x[:, :-1, hop:]  # the two segments of each half
        x = ((first + second) / 2).flatten(1, 2)[:, :n_frames]
        return self.linear(x)
