"""TISDiSS as in its equations (arXiv 2509.15666), to read and as a reference in tests.

A causal separator differs in three ways: convolutions over time (``conv``, ``deconv`` and ``ffn``
in ``frame_path``) get an input delayed by the frames that they look ahead, attention over time sees
a window, and the embedding's norm is computed over the frames so far.

It is not optimised for speed or memory. Tensors have the published code's layout. ``separator``
computes the same numbers (tests/network/test_reference.py). Axis letters: b batch, j speaker,
h feature channel, t frame, f frequency bin, r row (one sequence of a path), n position.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet2_tisdiss.network.config import TISDiSSConfig


class PlainTISDiSS:
    """The separator with the published front end, as functions of its options and weights.

    TISDiSS, section 2.2; the paths are TF-Locoformer's (section 2.2, figure 1 of that paper).

    Args:
        config: options.
        weights: the separator's state dict.
    """

    def __init__(self, config: TISDiSSConfig, weights: dict[str, Tensor]):
        self.config, self.weights = config, weights

    def __call__(self, spectrum: Tensor, n_re: int) -> list[Tensor]:
        """Return spectra (b, j, t, f) after the splitter and after each reconstructor layer.

        Args:
            spectrum: of the mixture, complex (b, t, f).
            n_re: repetitions of the reconstructor layers.
        """
        c = self.config
        mixture = self.embed(torch.stack((spectrum.real, spectrum.imag), 1), "conv")
        x = mixture  # (b, h, t, f)
        layers = [f"encoder_blocks.{i}" for i in range(c.encoder_n_layers)]
        for step, block in enumerate(layers * c.encoder_repeat_times):
            if step and c.repeat_residual_module:
                x = self.residual(x, mixture, "concat_block")
            x = self.tf_paths(x, block)
        x = self.split(x).flatten(0, 1)  # (b * j, h, t, f)
        depths = [x]
        residual = "concat_block"
        if "compress_conv.0.weight" in self.weights:
            mixture, residual = self.embed(mixture, "compress_conv"), "reconstructor_concat_block"
        mixture = mixture.repeat_interleave(c.num_spk, 0)
        layers = [f"reconstructor_blocks.{i}" for i in range(c.reconstructor_n_layers)]
        for block in layers * n_re:
            if c.reconstructor_residual:
                x = self.residual(x, mixture, residual)
            x = self.speaker_path(self.tf_paths(x, block), block)
            depths.append(x)
        return [self.project(x, spectrum) for x in depths]

    def delayed(self, x: Tensor, frames: int) -> Tensor:
        """Insert zero frames before those of (b, h, t, f) if the separator is causal."""
        return F.pad(x, (0, 0, frames, 0)) if self.config.causal else x

    def conv(self, x: Tensor, name: str, **options: int) -> Tensor:
        """Apply the 2-D convolution ``name`` to (b, h, t, f)."""
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **options)

    def deconv(self, x: Tensor, name: str) -> Tensor:
        """Apply the 3x3 transposed convolution ``name`` to (b, h, t, f)."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.conv_transpose2d(x, weight, bias, padding=1)

    def embed(self, x: Tensor, name: str) -> Tensor:
        """Convolve (b, h, t, f) and normalise over all axes except the batch."""
        n_frames = x.shape[2]
        x = self.conv(self.delayed(x, 1), f"{name}.0", padding=1)
        weight, bias = self.weights[f"{name}.1.weight"], self.weights[f"{name}.1.bias"]
        if not self.config.causal:
            return F.group_norm(x, 1, weight, bias, self.config.eps)
        so_far = (x[:, :, : t + 1] for t in range(n_frames))
        normed = (F.group_norm(part, 1, weight, bias, self.config.eps) for part in so_far)
        return torch.cat([part[:, :, -1:] for part in normed], 2)

    def residual(self, x: Tensor, mixture: Tensor, name: str) -> Tensor:
        """Add the embedded mixture before a repetition: PReLU(depthwise conv(sum))."""
        x = self.conv(x + mixture, f"{name}.0", groups=x.shape[1])
        return F.prelu(x, self.weights[f"{name}.1.weight"])

    def split(self, x: Tensor) -> Tensor:
        """Split (b, h, t, f) into the speakers' streams (b, j, h, t, f)."""
        n_frames, is_gated = x.shape[2], self.config.spk_spliter_type == "swiglu_conv_deconv2d"
        x = self.conv(self.delayed(x, 1 + is_gated), "spk_spliter.conv2d", padding=1)
        if is_gated:
            x, gate = x.chunk(2, 1)
            x = self.deconv(x * F.silu(gate), "spk_spliter.deconv2d")
        return x[:, :, :n_frames].unflatten(1, (self.config.num_spk, -1))

    def project(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """Return the spectra (b, j, t, f) of streams (b * j, h, t, f)."""
        x = self.deconv(self.delayed(x, 1), "reconstructor_deconv")[:, :, : spectrum.shape[1]]
        real, imag = x.unbind(1)
        estimate = torch.complex(real, imag).unflatten(0, (-1, self.config.num_spk))
        return estimate * spectrum.unsqueeze(1) if self.config.mask else estimate

    def tf_paths(self, x: Tensor, block: str) -> Tensor:
        """Apply the paths over frequency and time to (b, h, t, f)."""
        b, _, t, f = x.shape
        for axis in self.config.tf_order:
            if axis == "f":
                rows = x.permute(0, 2, 3, 1).flatten(0, 1)  # (b * t, f, h)
                rows = self.path(rows, f"{block}.freq_path")
                x = rows.unflatten(0, (b, t)).permute(0, 3, 1, 2)
            else:
                rows = x.permute(0, 3, 2, 1).flatten(0, 1)  # (b * f, t, h)
                rows = self.path(rows, f"{block}.frame_path")
                x = rows.unflatten(0, (b, f)).permute(0, 3, 2, 1)
        return x

    def speaker_path(self, x: Tensor, block: str) -> Tensor:
        """Apply the path over the speakers to (b * j, h, t, f)."""
        x = x.unflatten(0, (-1, self.config.num_spk)).permute(0, 3, 4, 1, 2)
        rows = self.path(x.flatten(0, 2), f"{block}.spk_path")
        return rows.view(x.shape).permute(0, 3, 4, 1, 2).flatten(0, 1)

    def path(self, x: Tensor, name: str) -> Tensor:
        """Apply FFN, attention and FFN to rows (r, n, h); the first FFN only if it exists."""
        causal = self.config.causal and name.endswith(".frame_path")
        if f"{name}.ffn.1.conv1d.weight" in self.weights:
            x = x + self.ffn(self.norm(x, f"{name}.ffn_norm.1"), f"{name}.ffn.1", causal)
        x = x + self.attention(self.norm(x, f"{name}.attn_norm"), f"{name}.attn", causal)
        return x + self.ffn(self.norm(x, f"{name}.ffn_norm.0"), f"{name}.ffn.0", causal)

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Normalise the channels of rows (r, n, h): y = gamma * x / (rms(group) + eps)."""
        if self.config.norm_type == "layernorm":
            weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
            return F.layer_norm(x, x.shape[-1:], weight, bias, self.config.eps)
        groups = x.unflatten(-1, (self.config.num_groups, -1))
        rms = groups.square().mean(-1, keepdim=True).sqrt()
        return (groups / (rms + self.config.eps)).flatten(-2) * self.weights[f"{name}.gamma"]

    def ffn(self, x: Tensor, name: str, causal: bool) -> Tensor:
        """Convolve rows (r, n, h), apply the gate, and convolve back."""
        if causal:
            delayed = F.pad(x, (0, 0, self.config.conv1d_kernel - 1, 0))
            return self.ffn(delayed, name, causal=False)[:, : x.shape[1]]
        length, kernel, shift = x.shape[1], self.config.conv1d_kernel, self.config.conv1d_shift
        overlap = kernel - shift
        steps = -(-(length + 2 * overlap - kernel) // shift)
        x = F.pad(x.mT, (overlap, kernel + shift * steps - length - overlap))
        conv, deconv = f"{name}.conv1d", f"{name}.deconv1d"
        x = F.conv1d(x, self.weights[f"{conv}.weight"], self.weights[f"{conv}.bias"], shift)
        if "swiglu_conv1d" in self.config.ffn_type:
            x, gate = x.chunk(2, 1)
            x = x * F.silu(gate)
        else:
            x = F.silu(x)
        x = F.conv_transpose1d(
            x, self.weights[f"{deconv}.weight"], self.weights[f"{deconv}.bias"], shift
        )
        return x[..., overlap : overlap + length].mT

    def attention(self, x: Tensor, name: str, causal: bool) -> Tensor:
        """Attend among the positions of rows (r, n, h): softmax(q k' / sqrt(dim)) v."""
        qkv = F.linear(x, self.weights[f"{name}.qkv.weight"])
        q, k, v = qkv.unflatten(-1, (3, self.config.n_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(q), rotate(k)  # (r, head, n, dim)
        score = q @ k.mT / q.shape[-1] ** 0.5
        if causal:  # query n sees keys n - window + 1 to n
            is_seen = torch.ones_like(score).tril().triu(1 - self.config.attention_window)
            score = score.masked_fill(is_seen == 0, float("-inf"))
        y = (score.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return F.linear(y, self.weights[f"{name}.aggregate_heads.0.weight"])


def rotate(x: Tensor) -> Tensor:
    """Rotate the pair (2i, 2i + 1) of x (..., n, dim) at position n by n * 10000^(-2i / dim)."""
    length, dim = x.shape[-2:]
    rate = 10000.0 ** -(torch.arange(0, dim, 2, dtype=x.dtype) / dim)
    angle = torch.arange(length, dtype=x.dtype)[:, None] * rate
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos())
    return torch.stack(turned, -1).flatten(-2)
