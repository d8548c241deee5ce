"""Each block against a plain formula: loops over rows and positions, nothing clever."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from espnet2_tisdiss.network.blocks.attention import MultiHeadSelfAttention, RotaryEmbedding
from espnet2_tisdiss.network.blocks.band_layout import BandLayout, fixed_bands, mel_bands
from espnet2_tisdiss.network.blocks.bands import BandProject
from espnet2_tisdiss.network.blocks.block import RepeatResidual
from espnet2_tisdiss.network.blocks.feedforward import ConvFeedForward
from espnet2_tisdiss.network.blocks.global_norm import GlobalNorm
from espnet2_tisdiss.network.blocks.locoformer import LocoformerPath, PathConfig
from espnet2_tisdiss.network.blocks.norm import RMSGroupNorm, build_norm
from espnet2_tisdiss.network.blocks.segments import SegmentEmbed, SegmentProject
from espnet2_tisdiss.network.blocks.splitter import Splitter
from espnet2_tisdiss.network.kernels import cache, channel_linear
from espnet2_tisdiss.network.kernels.attention import (
    FEW_POSITIONS,
    NARROW_LENGTH,
    SHORT_HALF_LENGTH,
    SHORT_LENGTH,
)
from espnet2_tisdiss.network.kernels.channel_linear import ChannelLinear
from espnet2_tisdiss.network.kernels.row_convolution import RowConvolutions
from espnet2_tisdiss.network.kernels.row_products import RowProducts


def along_rows(function, x: torch.Tensor) -> torch.Tensor:
    """Apply ``function`` of one sequence (length, h) to every row of (b, rows, length, h)."""
    return torch.stack([torch.stack([function(row) for row in item]) for item in x])


def randomise(module: torch.nn.Module) -> torch.nn.Module:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.double().eval()


def plain_ffn(ffn: ConvFeedForward, row: torch.Tensor) -> torch.Tensor:
    """The equations of the feed-forward network for one sequence (length, h)."""
    length, kernel, shift = len(row), ffn.kernel, ffn.shift
    overlap = kernel - shift
    padded_length = kernel + shift * math.ceil((length + 2 * overlap - kernel) / shift)
    padded = torch.zeros(padded_length, row.shape[1], dtype=row.dtype)
    padded[overlap : overlap + length] = row
    hidden = F.conv1d(padded.T[None], ffn.conv1d.weight, ffn.conv1d.bias, stride=shift)
    if ffn.gated:
        half = hidden.shape[1] // 2
        hidden = hidden[:, :half] * F.silu(hidden[:, half:])
    else:
        hidden = F.silu(hidden)
    out = F.conv_transpose1d(hidden, ffn.deconv1d.weight, ffn.deconv1d.bias, stride=shift)
    return out[0].T[overlap : overlap + length]


@pytest.mark.parametrize("ffn_type", ["swiglu_conv1d", "conv1d"])
@pytest.mark.parametrize(("kernel", "shift"), [(4, 1), (4, 2), (5, 3), (3, 3), (1, 1)])
@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_feed_forward(ffn_type, kernel, shift, length):
    ffn = randomise(ConvFeedForward(3, 5, ffn_type, kernel, shift, dropout=0.0))
    x = torch.randn(2, 4, length, 3, dtype=torch.float64)
    expected = along_rows(lambda row: plain_ffn(ffn, row), x)
    torch.testing.assert_close(ffn(x), expected)


@pytest.mark.parametrize("by_convolution", [True, False])
@pytest.mark.parametrize("shape", [(2, 8, 5, 6), (1, 67, 1, 6), (3, 7, 6), (0, 4, 6)])
def test_linear_is_torchs(shape, by_convolution, monkeypatch):
    monkeypatch.setattr(channel_linear, "convolution_is_faster", lambda: by_convolution)
    layer = ChannelLinear(6, 4)
    x = torch.randn(shape, requires_grad=True)
    weights = torch.randn(*shape[:-1], 4)
    found = [layer(x), *torch.autograd.grad((layer(x) * weights).sum(), (x, *layer.parameters()))]
    expected = F.linear(x, layer.weight, layer.bias)
    gradients = torch.autograd.grad((expected * weights).sum(), (x, *layer.parameters()))
    torch.testing.assert_close(found, [expected, *gradients])


@pytest.mark.parametrize(("product", "convolution", "faster"), [(2, 1, True), (1, 1, False)])
def test_measurement_chooses_the_product(product, convolution, faster, monkeypatch):
    seconds = {F.linear: product, channel_linear._convolve: convolution}
    disturbances = itertools.cycle([0, 5, 0.1])
    monkeypatch.setattr(
        channel_linear, "_seconds", lambda function, *_: seconds[function] + next(disturbances)
    )
    threads = torch.get_num_threads()
    assert channel_linear.convolution_is_faster.__wrapped__() is faster
    assert torch.get_num_threads() == threads


def test_compiled_linear_is_one_graph():
    layer, x = ChannelLinear(6, 4), torch.randn(32, 6)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), F.linear(x, layer.weight, layer.bias))


def plain_attention(attention: MultiHeadSelfAttention, row: torch.Tensor) -> torch.Tensor:
    """Rotary softmax attention over one sequence (length, h), pair by pair of positions."""
    length, n_heads = len(row), attention.n_heads
    q, k, v = (row @ attention.qkv.weight.T).view(length, 3, n_heads, -1).unbind(1)
    head_dim = q.shape[-1]

    def rotate(x: torch.Tensor, position: int) -> torch.Tensor:
        turned = torch.empty_like(x)
        for pair in range(head_dim // 2):
            angle = position / 10000 ** (2 * pair / head_dim)
            a, b = x[2 * pair], x[2 * pair + 1]
            turned[2 * pair] = a * math.cos(angle) - b * math.sin(angle)
            turned[2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
        return turned

    heads = torch.empty(length, n_heads, head_dim, dtype=row.dtype)
    for head in range(n_heads):
        for i in range(length):
            scores = torch.stack(
                [rotate(q[i, head], i) @ rotate(k[j, head], j) for j in range(length)]
            )
            heads[i, head] = (scores / head_dim**0.5).softmax(0) @ v[:, head]
    return heads.flatten(1) @ attention.aggregate_heads[0].weight.T


@pytest.mark.parametrize("length", [1, 2, FEW_POSITIONS, 6])
def test_attention(length):
    attention = randomise(MultiHeadSelfAttention(6, 8, 2, 0.0, flash_attention=False))
    attention.rope = RotaryEmbedding(4).double()
    x = torch.randn(2, 3, length, 6, dtype=torch.float64)
    expected = along_rows(lambda row: plain_attention(attention, row), x)
    # the frequencies are stored in float32, as the published ones are
    torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-6)


def test_long_attention_equals_short(monkeypatch):
    attention = randomise(MultiHeadSelfAttention(6, 8, 2, 0.0, flash_attention=False))
    x = torch.randn(2, 3, SHORT_LENGTH, 6, dtype=torch.float64)
    valid = torch.arange(SHORT_LENGTH) < torch.tensor([[SHORT_LENGTH], [17]])
    short = attention(x), attention(x, valid)
    monkeypatch.setattr("espnet2_tisdiss.network.kernels.attention.SHORT_LENGTH", 0)
    torch.testing.assert_close(attention(x), short[0])
    torch.testing.assert_close(attention(x, valid), short[1])


@pytest.mark.parametrize("padded", [False, True])
def test_more_rows_than_a_gpu_takes_at_once(padded, monkeypatch):
    monkeypatch.setattr("espnet2_tisdiss.network.kernels.attention.SHORT_LENGTH", 0)
    attention = randomise(MultiHeadSelfAttention(6, 8, 2, 0.0, flash_attention=False))
    x = torch.randn(2, 7, 10, 6, dtype=torch.float64)
    valid = torch.arange(10) < torch.tensor([[10], [4]]) if padded else None
    expected, rows = attention(x, valid), []
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda q, *z: rows.append(len(q)) or fused(q, *z)
    )
    monkeypatch.setattr("espnet2_tisdiss.network.kernels.attention.MOST_ROWS", 5)
    torch.testing.assert_close(attention(x, valid), expected)
    assert rows == [5, 5, 4]


def test_positions_turn_alike_when_compiled():
    rope = RotaryEmbedding(8)
    x = torch.randn(2, 3, 11, 2, 8)
    compiled = torch.compile(rope, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), rope(x))
    torch.testing.assert_close(compiled(x.bfloat16()), rope(x.bfloat16()))


@pytest.mark.parametrize("length", [SHORT_LENGTH, SHORT_LENGTH + 1, 500, SHORT_HALF_LENGTH, 1025])
def test_attention_in_half_precision_equals_a_reference(length):
    attention = randomise(MultiHeadSelfAttention(8, 16, 2, 0.0, flash_attention=False))
    x = torch.randn(1, 2, length, 8, dtype=torch.float64).bfloat16().double().requires_grad_()
    attention.bfloat16()  # the weights are rounded, ...
    half = attention(x.bfloat16())
    attention.double()  # ... and stay so: the reference differs only by its arithmetic
    qkv = attention.qkv(x).unflatten(-1, (3, 2, 8))
    q, k = (attention.rope(z) for z in (qkv[:, :, :, 0], qkv[:, :, :, 1]))
    scores = torch.einsum("brlhd,brmhd->brhlm", q, k) / 8**0.5
    heads = torch.einsum("brhlm,brmhd->brlhd", scores.softmax(-1), qkv[:, :, :, 2])
    exact = attention.aggregate_heads(heads.flatten(-2))
    assert half.dtype == torch.bfloat16
    assert (half - exact).abs().max() < 0.03 * exact.abs().max()
    (expected,) = torch.autograd.grad(exact.square().sum(), x)
    (found,) = torch.autograd.grad(half.double().square().sum(), x)
    assert (found - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("cached", [1, 2**20], ids=["in parts", "at once"])
def test_narrow_attention_equals_the_fused_kernel(cached, monkeypatch):
    monkeypatch.setattr("espnet2_tisdiss.network.kernels.narrow_attention.CACHED_WEIGHTS", cached)
    attention = randomise(MultiHeadSelfAttention(6, 8, 2, 0.0, flash_attention=False))
    x = torch.randn(2, 3, NARROW_LENGTH, 6, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(x.shape, dtype=torch.float64)

    def run() -> list[torch.Tensor]:
        y = attention(x)
        return [y, *torch.autograd.grad(y, (x, *attention.parameters()), grad)]

    narrow = run()
    monkeypatch.setattr("espnet2_tisdiss.network.kernels.attention.NARROW", 0)
    torch.testing.assert_close(narrow, run())


def test_flash_attention_gives_the_same():
    attention = randomise(MultiHeadSelfAttention(6, 8, 2, 0.0, flash_attention=True))
    x = torch.randn(2, 9, 9, 6, dtype=torch.float64)
    valid = torch.arange(9) < torch.tensor([[9], [4]])
    flash = attention(x), attention(x, valid)
    attention.flash_attention = False
    torch.testing.assert_close(flash[0], attention(x))
    torch.testing.assert_close(flash[1], attention(x, valid))


def test_rotary_frequencies_survive_half_precision():
    rope = RotaryEmbedding(32)
    assert torch.equal(rope.bfloat16().freqs, RotaryEmbedding(32).freqs)
    x = torch.randn(1, 1, 400, 32)
    rounded = RotaryEmbedding(32)(x.bfloat16().float())
    assert (rope(x.bfloat16()).float() - rounded).abs().max() < 0.02


def test_rms_group_norm_adds_eps_to_the_rms():
    norm = RMSGroupNorm(6, num_groups=2, eps=0.1).double()
    norm.gamma.data = torch.arange(1.0, 7.0, dtype=torch.float64)
    x = torch.tensor([[1.0, 2.0, 2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    rms = math.sqrt((1 + 4 + 4) / 3)
    expected = [1 / (rms + 0.1), 2 * 2 / (rms + 0.1), 3 * 2 / (rms + 0.1), 0, 0, 0]
    torch.testing.assert_close(norm(x)[0], torch.tensor(expected, dtype=torch.float64))


def test_rms_group_norm_of_large_half_precision_numbers():
    x = torch.full((1, 8), 1000.0, dtype=torch.float16)  # the square would overflow
    assert torch.equal(RMSGroupNorm(8, 2).half()(x), torch.ones(1, 8, dtype=torch.float16))


def test_rms_group_norm_has_a_gradient_at_zero():
    x = torch.zeros(2, 8, requires_grad=True)
    RMSGroupNorm(8, 2)(x).sum().backward()
    assert x.grad.isfinite().all()


def test_layernorm_is_torchs():
    assert isinstance(build_norm("layernorm", 8, 4, 1e-5), torch.nn.LayerNorm)


def test_global_norm_is_torchs_group_norm():
    ours = randomise(GlobalNorm(6, 1e-5))
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    expected = F.group_norm(x.movedim(-1, 1), 1, ours.weight, ours.bias, 1e-5).movedim(1, -1)
    torch.testing.assert_close(ours(x), expected)


def test_residual_is_prelu_of_depthwise_convolution():
    residual = randomise(RepeatResidual(6))
    x, reference = torch.randn(2, 2, 6, 4, 5, dtype=torch.float64).unbind(0)
    expected = torch.nn.Sequential.forward(residual, x + reference)
    ours = residual(x.movedim(1, -1), reference.movedim(1, -1))
    torch.testing.assert_close(ours.movedim(-1, 1), expected)


def test_splitter_gives_consecutive_channels_to_each_speaker():
    splitter = randomise(Splitter("conv2d", 4, num_spk=3, compression=1, dropout=0.0))
    x = torch.randn(2, 5, 7, 4, dtype=torch.float64)
    expected = F.conv2d(x.movedim(-1, 1), splitter.conv2d.weight, splitter.conv2d.bias, padding=1)
    split = splitter(x)
    assert split.shape == (2, 3, 5, 7, 4)
    torch.testing.assert_close(split.movedim(-1, 2).flatten(1, 2), expected)


@pytest.mark.parametrize(("spliter_type", "reach"), [("swiglu_conv_deconv2d", 2), ("conv2d", 1)])
@pytest.mark.parametrize("frames_in_part", [1, 3, 8])
def test_a_frame_of_a_split_in_parts_depends_on_its_neighbours(
    spliter_type, reach, frames_in_part, monkeypatch
):
    splitter = randomise(Splitter(spliter_type, 4, num_spk=2, compression=1, dropout=0.0))
    x = torch.randn(1, 16, 5, 4, dtype=torch.float64)
    in_one_part = splitter(x)  # with gradients: never in parts
    monkeypatch.setattr(cache, "CACHED_NUMBERS", frames_in_part * 5 * 4)
    with torch.no_grad():
        in_parts = splitter(x)
        torch.testing.assert_close(in_parts, in_one_part, rtol=1e-12, atol=1e-12)
        # each output frame depends on `reach` frames to either side, and on no other
        for changed in range(16):
            other = x.clone()
            other[:, changed] += 1
            differs = (splitter(other) != in_parts).any(-1).any(-1).any(1)[0]
            near = (torch.arange(16) - changed).abs() <= reach
            assert torch.equal(differs, near)


def test_macaron_order_and_numbering():
    config = PathConfig(
        emb_dim=4,
        attention_dim=4,
        n_heads=1,
        flash_attention=False,
        ffn_type=["swiglu_conv1d", "conv1d"],
        ffn_hidden_dim=[10, 6],
        conv1d_kernel=3,
        conv1d_shift=1,
        norm_type="rmsgroupnorm",
        num_groups=2,
        dropout=0.0,
        eps=1e-5,
        checkpoint="none",
        causal=False,
        attention_window=1,
    )
    path = randomise(LocoformerPath(config))
    # listed in the order of execution, numbered from the back
    assert path.ffn[1].gated and path.ffn[1].deconv1d.in_channels == 10
    assert not path.ffn[0].gated and path.ffn[0].deconv1d.in_channels == 6
    x = torch.randn(1, 5, 3, 4, dtype=torch.float64)
    y = x + path.ffn[1](path.ffn_norm[1](x))
    y = y + path.attn(path.attn_norm(y))
    y = y + path.ffn[0](path.ffn_norm[0](y))
    torch.testing.assert_close(path(x), y)


def test_band_layout_splits_and_merges():
    layout = BandLayout([[0], [1, 2, 3], [4, 5]])
    x = torch.arange(12.0).view(1, 1, 6, 2)
    split = layout.split(x)
    assert split[0, 0].tolist() == [
        [0, 1, 0, 0, 0, 0],
        [2, 3, 4, 5, 6, 7],
        [8, 9, 10, 11, 0, 0],
    ]
    assert torch.equal(layout.merge(split), x)


def test_overlapping_bands_are_averaged():
    layout = BandLayout([[0, 1], [1, 2]])
    x = torch.arange(6.0).view(1, 1, 3, 2)
    split = layout.split(x)
    assert split[0, 0].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5]]
    assert torch.equal(layout.merge(split), x)
    split[0, 0, 1, :2] += 2  # one of the two estimates of bin 1
    assert (layout.merge(split) - x)[0, 0].tolist() == [[0, 0], [1, 1], [0, 0]]


def test_the_projections_start_at_the_value_asked_for():
    bands = BandProject(4, BandLayout([[0, 1], [1, 2]]), start=0.25)
    segments = SegmentProject(4, 3, start=0.25)
    silent = torch.zeros(1, 5, 2, 4)  # no contribution of the weights
    assert torch.equal(bands(silent, None, 5), torch.tensor([0.25, 0.0]).expand(1, 5, 3, 2))
    assert torch.equal(segments(silent, None, 4), torch.full((1, 4, 3), 0.25))


@pytest.mark.parametrize("sample_rate", [8000, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("window_ms", [16, 32, 64])
@pytest.mark.parametrize("scale", [1, 2, 4.5])
def test_fixed_bands_partition_the_bins_and_widen(sample_rate, window_ms, scale):
    n_bins = sample_rate * window_ms // 2000 + 1
    bands = fixed_bands(n_bins, sample_rate, scale)
    assert [b for band in bands for b in band] == list(range(n_bins))
    widths = [len(band) for band in bands]
    assert widths[0] == max(1, round(25 * scale * window_ms / 1000))
    middle = len(widths) // 2
    assert sum(widths[:middle]) / middle <= sum(widths[middle:]) / (len(widths) - middle)


def test_mel_bands_cover_the_bins_and_widen():
    bands = mel_bands(129, 8000, 24)
    assert len(bands) == 24 and {b for band in bands for b in band} == set(range(129))
    assert len(bands[-1]) > 2 * len(bands[0])
    assert all(band == list(range(band[0], band[-1] + 1)) for band in bands)


def test_segments_hold_every_frame_twice_and_add_up_again():
    embed = SegmentEmbed(3, 3, 1e-5, segment_size=4)
    project = SegmentProject(3, 3, start=0.0)
    for linear in (embed.linear, project.linear):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    x = torch.randn(2, 7, 3)
    segments, _ = embed(x)
    assert segments.shape == (2, 5, 4, 3)
    normed = embed.norm(x)
    torch.testing.assert_close(segments[:, 1], normed[:, 0:4])
    torch.testing.assert_close(segments[:, 2], normed[:, 2:6])
    torch.testing.assert_close(project(segments, None, 7), normed)


def test_dropout_is_active_in_training_only():
    ffn = ConvFeedForward(8, 8, "swiglu_conv1d", 4, 1, dropout=0.5)
    attention = MultiHeadSelfAttention(8, 8, 2, 0.5, flash_attention=False)
    splitter = Splitter("conv2d", 8, 2, 1, dropout=0.5)
    x = torch.randn(1, 6, 6, 8)
    for module in (lambda: ffn(x), lambda: attention(x), lambda: splitter(x)):
        for block in (ffn, attention, splitter):
            block.train()
        assert not torch.equal(module(), module())
        for block in (ffn, attention, splitter):
            block.eval()
        assert torch.equal(module(), module())


@pytest.mark.parametrize(("kernel", "stride"), [(4, 1), (4, 2), (5, 3), (3, 3), (7, 2)])
def test_matrix_products_are_the_convolutions(kernel, stride):
    conv = torch.nn.Conv1d(3, 6, kernel, stride)
    deconv = torch.nn.ConvTranspose1d(6, 3, kernel, stride)
    for length in range(kernel, 3 * kernel + 2):
        x = torch.randn(2, 5, length, 3)
        products, rows = (kind(conv, deconv, length) for kind in (RowProducts, RowConvolutions))
        y = rows.convolve(x)
        torch.testing.assert_close(products.convolve(x), y)
        torch.testing.assert_close(products.deconvolve(y), rows.deconvolve(y))
