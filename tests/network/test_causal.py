"""A causal separator: later input never changes earlier output, in every structure."""

import itertools

import pytest
import torch
from models import TINY

from espnet2_tisdiss import TISDiSSConfig, TISDiSSSeparator
from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.network.blocks.attention import MultiHeadSelfAttention
from espnet2_tisdiss.network.blocks.band_layout import BandLayout
from espnet2_tisdiss.network.blocks.bands import BandEmbed
from espnet2_tisdiss.network.blocks.feedforward import ConvFeedForward
from espnet2_tisdiss.network.blocks.global_norm import GlobalNorm, build_global_norm
from espnet2_tisdiss.network.blocks.splitter import Splitter
from espnet2_tisdiss.network.kernels import cache

F_BINS, FRAMES, KNOWN = 9, 14, 8
RESIDUAL = {"reconstructor_repeat_residual_module": True}
STRUCTURES = {
    "published": {},
    "time first": {"tf_order": "tf"},
    "masks": {"mask": True, "norm_type": "layernorm"},
    "bands": {"mask": True, "band_split": [2, 3, 4]},
    "mel bands": {"mask": True, "band_split": "mel", "num_bands": 4},
    "plain splitter": {"spk_spliter_type": "conv2d", "num_spk": 3},
    "plain networks": {"ffn_type": "conv1d", "ffn_hidden_dim": 6, "conv1d_kernel": 1},
    "strides": {"conv1d_kernel": 5, "conv1d_shift": 2},
    "residual": RESIDUAL,
    "compressed residual": {**RESIDUAL, "split_compress": True},
    "no residual": {"repeat_residual_module": False, "speaker_path": False},
    "layers": {"encoder_n_layers": 2, "reconstructor_n_layers": 2, "encoder_decoder": True},
}


def build(**options) -> TISDiSSSeparator:
    """A small causal separator whose residual scales and biases are away from their start."""
    options = {"causal": True, "attention_window": 4, **options}
    separator = TISDiSSSeparator(F_BINS, **{**TINY, **options})
    for parameter in separator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return separator.double()


def estimates(separator: TISDiSSSeparator, x: torch.Tensor, n_re: int) -> torch.Tensor:
    """Estimates (b, t, f) of every speaker and, in training, depth, in a row."""
    separator.reconstructor_repeat_times = n_re
    with torch.no_grad():
        return torch.stack(separator(x, None)[0])


def futures() -> tuple[torch.Tensor, torch.Tensor]:
    """Two mixtures that are the same up to a frame, and very different after it."""
    x = torch.randn(2, FRAMES, F_BINS, dtype=torch.complex128)
    y = x.clone()
    y[:, KNOWN:] = 30 * torch.randn(2, FRAMES - KNOWN, F_BINS, dtype=torch.complex128)
    return x, y


@pytest.mark.parametrize("structure", STRUCTURES)
def test_later_frames_change_nothing_before(structure):
    separator = build(**STRUCTURES[structure])
    x, y = futures()
    for is_training, n_re in itertools.product([True, False], [1, 2, 3]):
        separator.train(is_training)
        found, other = estimates(separator, x, n_re), estimates(separator, y, n_re)
        torch.testing.assert_close(found[:, :, :KNOWN], other[:, :, :KNOWN], rtol=0, atol=0)
        assert (found[:, :, KNOWN] != other[:, :, KNOWN]).any()
        # nor does it matter whether there are any
        before = estimates(separator, x[:, :KNOWN], n_re)
        torch.testing.assert_close(found[:, :, :KNOWN], before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_other_separators_look_ahead(structure):
    separator = build(**STRUCTURES[structure], causal=False).eval()
    found, other = (estimates(separator, z, 1)[:, :, :KNOWN] for z in futures())
    assert (found - other).abs().max() > 0.01 * found.abs().max()


def test_attention_sees_its_window():
    attention = MultiHeadSelfAttention(6, 8, 2, 0.0, flash_attention=False, window=3)
    x = torch.randn(1, 1, 9, 6, requires_grad=True)
    for position, row in enumerate(attention(x)[0, 0]):
        (grad,) = torch.autograd.grad(row.sum(), x, retain_graph=True)
        seen = grad.abs().sum(-1)[0, 0] > 0
        assert seen.nonzero().flatten().tolist() == list(range(max(0, position - 2), position + 1))


@pytest.mark.parametrize(("kernel", "shift"), [(4, 1), (4, 2), (5, 2), (3, 3), (1, 1)])
def test_feed_forward_networks_see_up_to_two_kernels_behind(kernel, shift):
    ffn = ConvFeedForward(3, 5, "swiglu_conv1d", kernel, shift, dropout=0.0, causal=True)
    x = torch.randn(1, 1, 32, 3, requires_grad=True)
    y, reaches = ffn(x)[0, 0], []
    for position in range(2 * kernel, 32):
        (grad,) = torch.autograd.grad(y[position].sum(), x, retain_graph=True)
        (seen,) = grad.abs().sum(-1)[0, 0].nonzero(as_tuple=True)
        reaches.append(position - seen)
    # windows end every `shift` frames
    assert {int(reach.min()) for reach in reaches} == set(range(shift))
    assert max(int(reach.max()) for reach in reaches) == 2 * (kernel - 1)


@pytest.mark.parametrize("frames_in_part", [1, 3, 8])
def test_a_split_in_parts_looks_back_only(frames_in_part, monkeypatch):
    splitter = Splitter("swiglu_conv_deconv2d", 4, 2, 1, dropout=0.0, causal=True)
    x = torch.randn(1, 16, 5, 4)
    in_one_part = splitter(x)  # with gradients: never in parts
    monkeypatch.setattr(cache, "CACHED_NUMBERS", frames_in_part * 5 * 4)
    with torch.no_grad():
        torch.testing.assert_close(splitter(x), in_one_part)


def so_far(function, x: torch.Tensor) -> torch.Tensor:
    """The last frame of a function of the frames up to each."""
    return torch.stack([function(x[:, : frame + 1])[:, -1] for frame in range(x.shape[1])], 1)


def test_a_norm_is_that_of_the_recording_so_far():
    causal, other = (build_global_norm(4, 1e-5, causal).double() for causal in (True, False))
    x = 3 + torch.randn(2, 12, 5, 4, dtype=torch.float64)
    x[:, :5] *= 1e-3  # a quiet start
    torch.testing.assert_close(causal(x), so_far(other, x), rtol=1e-9, atol=1e-9)


def test_the_power_of_a_band_is_that_of_the_recording_so_far(monkeypatch):
    monkeypatch.setattr(GlobalNorm, "forward", lambda self, x, frames: x)
    layout = BandLayout([[0, 1], [2, 3, 4], [5, 6, 7, 8]])
    causal, other = (BandEmbed(6, 1e-5, layout, causal).double() for causal in (True, False))
    other.load_state_dict(causal.state_dict())
    spectrum = torch.randn(2, 12, 9, 2, dtype=torch.float64)
    spectrum[:, :5] *= 1e-3
    spectrum[1, :3] = 0
    expected = so_far(lambda x: other(x)[0], spectrum)
    torch.testing.assert_close(causal(spectrum)[0], expected, rtol=1e-9, atol=1e-9)


def test_rounding_in_the_first_frame_changes_nothing():
    # a transform that mirrors the start has only real parts there, except for rounding
    embed = BandEmbed(6, 1e-5, BandLayout([[0, 1], [2, 3, 4]]), causal=True)
    exact = torch.randn(1, 6, 5, 2)
    exact[:, 0, :, 1] = 0
    rounded = exact.clone()
    rounded[:, 0, :, 1] = 1e-8
    torch.testing.assert_close(embed(rounded)[0], embed(exact)[0])


def test_long_recordings_keep_their_precision():
    embed = BandEmbed(6, 1e-5, BandLayout([[0, 1], [2]]), causal=True)
    spectrum = torch.randn(1, 20_000, 3, 2)
    spectrum[:, 5000:] *= 100
    exact, _ = embed.double()(spectrum.double())
    found, _ = embed.float()(spectrum)
    assert (found - exact).abs().max() < 1e-3 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_and_long_recordings_look_back_only(dtype):
    # longer than the kernels for short rows take
    separator = build(encoder_repeat_times=1).float().eval()
    x = torch.randn(1, 200, F_BINS, dtype=torch.complex64)
    y = x.clone()
    y[:, 150:] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found, other = estimates(separator, x, 1), estimates(separator, y, 1)
    torch.testing.assert_close(found[:, :, :150], other[:, :, :150], rtol=0, atol=0)


def test_blocks_can_be_compiled():
    path = build().encoder_blocks[0].frame_path
    x = torch.randn(1, 2, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        compiled = torch.compile(path, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), path(x))


def test_an_item_does_not_depend_on_its_batch():
    separator, (x, _) = build().eval(), futures()
    with torch.no_grad():
        together = torch.stack(separator(x, torch.tensor([FRAMES, KNOWN]))[0])
        alone = torch.stack(separator(x[1:, :KNOWN], None)[0])
    torch.testing.assert_close(together[:, 1:, :KNOWN], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_size": 20}, "segment_size must be null with causal"),
        ({"flash_attention": True}, "flash_attention must be false with causal"),
        ({"attention_window": 0}, "attention_window must be an integer from 1"),
        ({"attention_window": None}, "attention_window must be an integer from 1"),
    ],
)
def test_what_cannot_be_causal_is_refused(options, message):
    with pytest.raises(OptionError, match=message) as refusal:
        TISDiSSConfig(causal=True, **options)
    assert "\n" not in str(refusal.value)
