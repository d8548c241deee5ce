"""Splitter: from the mixture's stream to one stream a speaker (TISDiSS, section 2.2)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_tisdiss.network.kernels.cache import at_once

SPLITTER_TYPES = ("swiglu_conv_deconv2d", "conv2d")


class Splitter(nn.Module):
    """Expand (b, t, f, h) to ``num_spk`` streams of h / compression channels each.

    Args:
        spliter_type: ``swiglu_conv_deconv2d``: 3x3 convolution, gate, 3x3 transposed convolution;
            ``conv2d``: one 3x3 convolution.
        emb_dim: number of channels h.
        num_spk: number of speakers j.
        compression: factor by which a stream is narrower than the mixture's.
        dropout: applied to the streams.
    """

    def __init__(
        self, spliter_type: str, emb_dim: int, num_spk: int, compression: int, dropout: float
    ):
        super().__init__()
        self.num_spk = num_spk
        self.dropout = nn.Dropout(dropout)
        out_dim = emb_dim // compression * num_spk
        self.gated = spliter_type == "swiglu_conv_deconv2d"
        if self.gated:
            hidden_dim = 2 * out_dim
            self.conv2d = nn.Conv2d(emb_dim, 2 * hidden_dim, 3, padding=1)
            self.deconv2d = nn.ConvTranspose2d(hidden_dim, out_dim, 3, padding=1)
        else:
            self.conv2d = nn.Conv2d(emb_dim, out_dim, 3, padding=1)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Split ``x``.

        Args:
            x: (b, t, f, h).
            frames: (b, t) false at padded frames, None where there are none.

        Returns:
            (b, j, t, f, h / compression).
        """
        together = at_once(x)
        if torch.is_grad_enabled() or together == x.shape[1]:
            return self._split(x, frames)
        # the hidden map is many times as large as the streams: on a CPU, a few frames at a time
        return torch.cat(list(self._in_parts(x, frames, together)), 2)

    def _in_parts(self, x: Tensor, frames: Tensor | None, together: int) -> Iterator[Tensor]:
        """Yield the streams of ``together`` frames after the others."""
        for start in range(0, x.shape[1], together):
            # each convolution sees one frame to either side
            part = slice(max(0, start - 2), start + together + 2)
            split = self._split(x[:, part], None if frames is None else frames[:, part])
            yield split[:, :, start - part.start :][:, :, :together]

    def _split(self, x: Tensor, frames: Tensor | None) -> Tensor:
        """Split all frames at once; see :meth:`forward`."""
        x = self.conv2d(blank_frames(x, frames).movedim(-1, 1))
        if self.gated:
            x, gate = x.chunk(2, dim=1)
            x = x * F.silu(gate)
            x = self.deconv2d(blank_frames(x.movedim(1, -1), frames).movedim(-1, 1))
        x = self.dropout(x)  # (b, j * h, t, f)
        return x.unflatten(1, (self.num_spk, -1)).movedim(2, -1).contiguous()


def blank_frames(x: Tensor, frames: Tensor | None) -> Tensor:
    """Zero the padded frames of ``x`` (b, t, ...), as a convolution sees them past the end."""
    return x if frames is None else x * frames.view(*frames.shape, *[1] * (x.dim() - 2))
