import pytest
import torch
from models import GOLDEN, TINY
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from torch_complex.tensor import ComplexTensor

from espnet2_tisdiss import TISDiSSSeparator
from espnet2_tisdiss.network.precision import half_precision

F_BINS = 9


def spectrum(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64)


def tiny(**options) -> TISDiSSSeparator:
    """A small separator whose residual scales and biases are away from their initial values."""
    separator = TISDiSSSeparator(F_BINS, **{**TINY, **options})
    for parameter in separator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return separator


def estimate(separator: TISDiSSSeparator, x: torch.Tensor, ilens=None) -> torch.Tensor:
    """Separate in eval mode; returns (b, j, t, f)."""
    with torch.no_grad():
        return torch.stack(separator.eval()(x, ilens)[0], dim=1)


def all_depths(separator: TISDiSSSeparator, x: torch.Tensor) -> torch.Tensor:
    """Run in training mode; returns (depth, b, j, t, f)."""
    with torch.no_grad():
        flat = separator.train()(x, None)[0]
    return torch.stack(flat).unflatten(0, (-1, separator.num_spk)).transpose(1, 2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_agrees_with_published_code_at_every_depth(golden, dtype, tolerance):
    separator = TISDiSSSeparator(golden.input_dim, **golden.config)
    separator.load_state_dict(golden.state_dict)  # strict: published names and shapes
    separator.to(dtype)
    x = golden["input"].to(dtype.to_complex())
    assert golden.repeat_times == [1, 3, 5]
    for n_re in golden.repeat_times:
        separator.reconstructor_repeat_times = n_re
        expected, auxiliary = golden[f"out_re{n_re}"], golden[f"aux_re{n_re}"]
        scale = expected.abs().max()
        assert (estimate(separator, x) - expected).abs().max() < tolerance * scale
        depths = all_depths(separator, x)
        assert (depths[-1] - expected).abs().max() < tolerance * scale
        assert depths[:-1].shape == auxiliary.shape
        assert (depths[:-1] - auxiliary).abs().max() < tolerance * auxiliary.abs().max()


def test_state_dict_has_published_names_and_shapes():
    lines = (GOLDEN / "published_state_dict.tsv").read_text().splitlines()[1:]
    published = dict(line.split("\t") for line in lines)
    ours = TISDiSSSeparator(65).state_dict()
    assert {
        f"separator.{name}": str(tuple(value.shape)) for name, value in ours.items()
    } == published


@pytest.mark.parametrize(("n_layers", "expected"), [(1, 8_011_779), (2, 11_163_011)])
def test_published_parameter_count_at_every_depth(n_layers, expected):
    with torch.device("meta"):
        separator = TISDiSSSeparator(65, reconstructor_n_layers=n_layers)
    for n_re in (0, 1, 6, 16):
        separator.reconstructor_repeat_times = n_re
        assert sum(p.numel() for p in separator.parameters() if p.requires_grad) == expected


def test_depth_k_equals_kth_auxiliary_output():
    separator, x = tiny(reconstructor_repeat_times=4), spectrum(2, 7, F_BINS)
    depths = all_depths(separator, x)
    assert len(depths) == 5  # splitter, then four repetitions
    for n_re in range(5):
        separator.reconstructor_repeat_times = n_re
        torch.testing.assert_close(estimate(separator, x), depths[n_re])
    assert (depths[1:] - depths[:-1]).abs().amax((1, 2, 3, 4)).min() > 1e-3  # depth does matter


@pytest.mark.parametrize(
    "options",
    [{}, {"reconstructor_n_layers": 2}, {"reconstructor_multi_decoder": False}, {"num_spk": 3}],
)
def test_anytime_equals_one_run_at_each_depth(options):
    separator, x = tiny(reconstructor_repeat_times=4, **options).eval(), spectrum(2, 7, F_BINS)
    with torch.no_grad():
        anytime = [torch.stack(speakers, dim=1) for speakers in separator.anytime(x)]
    assert len(anytime) == 5
    for n_re, output in enumerate(anytime):
        separator.reconstructor_repeat_times = n_re
        assert torch.equal(estimate(separator, x), output)


def test_anytime_computes_no_more_than_is_taken():
    separator, x = tiny(reconstructor_repeat_times=8).eval(), spectrum(1, 7, F_BINS)
    runs = []
    separator.reconstructor_blocks[0].register_forward_hook(lambda *_: runs.append(1))
    for n_re, _ in enumerate(separator.anytime(x)):
        assert len(runs) == n_re
        if n_re == 3:
            break
    assert len(runs) == 3


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, None])
def test_depth_must_be_a_whole_number(value):
    separator = tiny()
    with pytest.raises(ValueError, match="reconstructor_repeat_times must be an integer from 0"):
        separator.reconstructor_repeat_times = value
    assert separator.reconstructor_repeat_times == 2


def truncated(separator: TISDiSSSeparator, x, encoder_steps=6, reconstructor_steps=0):
    """The output after some layer applications, of a separator run step by step; (b, j, t, f)."""
    with torch.no_grad():
        mixture, _ = separator.conv(torch.view_as_real(x))
        stream = mixture
        for step in range(encoder_steps):
            if step:
                stream = separator.concat_block(stream, mixture)
            stream = separator.encoder_blocks[step % 2](stream)
        streams = separator.spk_spliter(stream)
        for step in range(reconstructor_steps):
            streams = separator.reconstructor_blocks[step % 2](streams)
        flat = separator.reconstructor_deconv(streams.flatten(0, 1), None, x.shape[1])
        return torch.view_as_complex(flat.contiguous())[None]


def expected_depths(config) -> list[tuple[int, int]]:
    """(separator steps, reconstructor steps) of each supervised depth, by the description."""
    depths = []
    if config.encoder_decoder:
        for repeat in (1, 2, 3):
            if config.encoder_multi_decoder or repeat == 3:
                if config.encoder_n_layers_multi_decoder:
                    depths.append((2 * repeat - 1, 0))
                depths.append((2 * repeat, 0))
    elif config.spliter_loss:
        depths.append((6, 0))
    for repeat in (1, 2):
        if config.reconstructor_multi_decoder or repeat == 2:
            if config.reconstructor_n_layers_multi_decoder:
                depths.append((6, 2 * repeat - 1))
            depths.append((6, 2 * repeat))
    return depths


@pytest.mark.parametrize(
    ("switches", "n_depths"),
    [
        ({}, 5),  # splitter + 2 repetitions x 2 layers
        ({"spliter_loss": False}, 4),
        ({"reconstructor_n_layers_multi_decoder": False}, 3),
        ({"reconstructor_multi_decoder": False}, 3),  # splitter + the last repetition's 2 layers
        (
            {
                "reconstructor_multi_decoder": False,
                "reconstructor_n_layers_multi_decoder": False,
                "spliter_loss": False,
            },
            1,
        ),
        # with a separator decoder the splitter's loss is one of the separator depths
        ({"encoder_decoder": True}, 5),
        ({"encoder_decoder": True, "encoder_multi_decoder": True}, 7),
        ({"encoder_decoder": True, "encoder_n_layers_multi_decoder": True}, 6),
        (
            {
                "encoder_decoder": True,
                "encoder_multi_decoder": True,
                "encoder_n_layers_multi_decoder": True,
            },
            10,
        ),
        # without the master switch the other two do nothing
        ({"encoder_multi_decoder": True, "encoder_n_layers_multi_decoder": True}, 5),
    ],
)
def test_supervision_switches(switches, n_depths):
    separator = tiny(
        encoder_repeat_times=3,
        encoder_n_layers=2,
        reconstructor_repeat_times=2,
        reconstructor_n_layers=2,
        **switches,
    )
    x = spectrum(1, 5, F_BINS)
    depths = all_depths(separator, x)
    assert len(depths) == n_depths
    torch.testing.assert_close(estimate(separator, x), depths[-1])
    # which depths, in which order: all that there are, from truncated models of the same weights
    every = {(step, 0): truncated(separator, x, encoder_steps=step) for step in range(1, 7)} | {
        (6, step): truncated(separator, x, reconstructor_steps=step) for step in range(1, 5)
    }
    found = [
        next(key for key, value in every.items() if torch.allclose(value, depth, atol=1e-4))
        for depth in depths
    ]
    assert found == expected_depths(separator.config)


def test_without_reconstructor_the_last_split_is_the_output():
    separator, x = tiny(reconstructor_n_layers=0, spliter_loss=False), spectrum(1, 5, F_BINS)
    assert len(all_depths(separator, x)) == 1
    torch.testing.assert_close(estimate(separator, x), all_depths(separator, x)[-1])


@pytest.mark.parametrize("n_frames", [1, 2, 3, 13, 64])
def test_any_length_keeps_its_shape(n_frames):
    output = estimate(tiny(), spectrum(2, n_frames, F_BINS))
    assert output.shape == (2, 2, n_frames, F_BINS)
    assert output.isfinite().all()


@pytest.mark.parametrize("num_spk", [1, 2, 3])
def test_number_of_speakers(num_spk):
    assert estimate(tiny(num_spk=num_spk), spectrum(1, 4, F_BINS)).shape[1] == num_spk


def test_singleton_channel_and_complex_tensor_give_the_same():
    separator, x = tiny(), spectrum(2, 6, F_BINS)
    expected = estimate(separator, x)
    torch.testing.assert_close(estimate(separator, x.unsqueeze(2)), expected)
    torch.testing.assert_close(estimate(separator, ComplexTensor(x.real, x.imag)), expected)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 5, F_BINS), torch.float32, "needs a complex spectrum"),
        ((1, 5, 2, F_BINS), torch.complex64, "needs single-channel features"),
        ((1, 5, F_BINS + 1), torch.complex64, r"\(batch, frames, 9\).*got \(1, 5, 10\)"),
    ],
)
def test_wrong_input_is_named(shape, dtype, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tiny()(torch.zeros(shape, dtype=dtype), None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm_type": "layernorm"},
        {"conv1d_shift": 2},
        {"conv1d_kernel": 3, "conv1d_shift": 3},
        {"reconstructor_repeat_residual_module": True, "split_compress": True},
        {"band_split": [1, 2, 2, 4], "mask": True},
        {"band_split": "mel", "num_bands": 4, "mask": True},
        {"mask": True},
    ],
)
def test_padding_has_no_influence(options):
    separator = tiny(**options)
    short, other = spectrum(1, 5, F_BINS), spectrum(1, 11, F_BINS)
    padded = torch.cat([short, 100 * spectrum(1, 6, F_BINS)], dim=1)  # anything but silence
    batch = estimate(separator, torch.cat([padded, other]), torch.tensor([5, 11]))
    torch.testing.assert_close(batch[:1, :, :5], estimate(separator, short), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batch[1:], estimate(separator, other), rtol=1e-4, atol=1e-4)


def test_items_of_a_batch_do_not_mix():
    separator, x = tiny().double(), spectrum(3, 8, F_BINS).to(torch.complex128)
    torch.testing.assert_close(
        estimate(separator, x), torch.cat([estimate(separator, item[None]) for item in x])
    )


def test_normalised_silence_gives_finite_output_but_nan_is_not_hidden():
    x = spectrum(3, 6, F_BINS)
    x[0] = float("nan")  # result of ESPnet's normalize_variance for digital silence
    x[1, 2] = float("nan")  # a broken recording
    output = estimate(tiny(), x)
    assert output[0].isfinite().all()
    assert output[1].isnan().any()
    assert output[2].isfinite().all()


def test_silent_item_of_a_padded_batch():
    x = torch.randn(2, 30, F_BINS)
    x[1] = float("nan")  # a learned encoder does not change padding
    separator = tiny(segment_size=6, mask=True)
    output = estimate(separator, x, torch.tensor([30, 20]))
    assert output.isfinite().all()
    torch.testing.assert_close(output[:1], estimate(separator, x[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_spk", [2, 3])
@pytest.mark.parametrize(
    "front_end",
    [{"band_split": [2, 3, 4]}, {"band_split": "mel", "num_bands": 3}, {"segment_size": 4}],
)
def test_masks_start_as_an_even_share_of_the_mixture(front_end, num_spk):
    separator = TISDiSSSeparator(F_BINS, **TINY, mask=True, num_spk=num_spk, **front_end)
    project = separator.reconstructor_deconv
    torch.nn.init.zeros_(getattr(project, "linear", project).weight)
    x = torch.randn(2, 7, F_BINS) if "segment_size" in front_end else spectrum(2, 7, F_BINS)
    depths = all_depths(separator, x)
    torch.testing.assert_close(depths, (x / num_spk)[None, :, None].expand_as(depths))


def test_spectra_start_at_zero():
    separator = TISDiSSSeparator(F_BINS, **TINY, segment_size=4)
    torch.nn.init.zeros_(separator.reconstructor_deconv.linear.weight)
    assert (estimate(separator, torch.randn(2, 7, F_BINS)) == 0).all()


def test_mask_multiplies_the_mixture():
    separator, x = tiny(mask=True), spectrum(1, 5, F_BINS)
    x[0, 3] = 0
    output = estimate(separator, x)
    assert (output[:, :, 3] == 0).all()
    assert (output[:, :, 2] != 0).all()


@pytest.mark.parametrize("sample_rate", [8000, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize(
    "bands",
    [{"band_split": "fixed"}, {"band_split": "fixed", "band_scale": 2.5}, {"band_split": "mel"}],
)
def test_mask_of_one_returns_the_mixture_through_bands(sample_rate, bands):
    n_bins = sample_rate // 62 // 2 + 1  # windows of about 16 ms
    options = {**TINY, **bands, "num_bands": 20, "sample_rate": sample_rate}
    separator = TISDiSSSeparator(n_bins, mask=True, **options)
    project = separator.reconstructor_deconv
    torch.nn.init.zeros_(project.weight)
    project.bias.data = torch.tensor([1.0, 0.0]).repeat(len(project.bias) // 2)
    x = spectrum(2, 5, n_bins)
    torch.testing.assert_close(estimate(separator, x), x[:, None].expand(-1, 2, -1, -1))


@pytest.mark.parametrize(
    "bands", [{"band_split": "fixed", "band_scale": 2}, {"band_split": "mel", "num_bands": 25}]
)
def test_bands_cut_the_cost_in_proportion(bands):
    def cost(**options) -> int:
        separator = TISDiSSSeparator(257, **{**TINY, "emb_dim": 32, **options})
        with FlopCounterMode(display=False) as counter:
            estimate(separator, spectrum(1, 20, 257))
        return counter.get_total_flops()

    n_bands = TISDiSSSeparator(257, **TINY, **bands, mask=True).conv.layout.n_bands
    # attention is quadratic in the number of positions, the rest linear
    assert cost(**bands, mask=True) / cost() < 1.15 * n_bands / 257


def test_mask_of_one_returns_the_features_of_a_learned_encoder():
    separator = tiny(mask=True, segment_size=6)
    torch.nn.init.zeros_(separator.reconstructor_deconv.linear.weight)
    torch.nn.init.ones_(separator.reconstructor_deconv.linear.bias)
    x = torch.randn(2, 23, F_BINS)
    torch.testing.assert_close(estimate(separator, x), x[:, None].expand(-1, 2, -1, -1))


@pytest.mark.parametrize("n_frames", [1, 5, 6, 7, 23])
def test_padding_has_no_influence_on_segments(n_frames):
    separator = tiny(segment_size=6)
    short, other = torch.randn(1, n_frames, F_BINS), torch.randn(1, 40, F_BINS)
    padded = torch.cat([short, 100 * torch.randn(1, 40 - n_frames, F_BINS)], dim=1)
    batch = estimate(separator, torch.cat([padded, other]), torch.tensor([n_frames, 40]))
    torch.testing.assert_close(
        batch[:1, :, :n_frames], estimate(separator, short), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(batch[1:], estimate(separator, other), rtol=1e-4, atol=1e-4)


def test_streams_are_permuted_with_the_splitter():
    # speakers are distinguished only by the splitter and the positions of the speaker path
    separator, x = tiny(speaker_path=False), spectrum(1, 5, F_BINS)
    before = estimate(separator, x)
    last = separator.spk_spliter.deconv2d
    last.weight.data = last.weight.data.roll(separator.config.emb_dim, dims=1)
    last.bias.data = last.bias.data.roll(separator.config.emb_dim, dims=0)
    torch.testing.assert_close(estimate(separator, x), before.flip(1))


def test_every_parameter_is_trained():
    separator = tiny(
        split_compress=True, reconstructor_repeat_residual_module=True, encoder_n_layers=2
    )
    sum(y.abs().mean() for y in separator.train()(spectrum(1, 6, F_BINS), None)[0]).backward()
    for name, parameter in separator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


NO_REPETITION = {"reconstructor_repeat_times": 0}
RESIDUAL = {"reconstructor_repeat_residual_module": True}


@pytest.mark.promise("no-idle-gradients")
@pytest.mark.parametrize(
    "options",
    [
        {"encoder_repeat_times": 1},
        {"encoder_repeat_times": 1, **RESIDUAL},
        {"encoder_repeat_times": 1, **RESIDUAL, "split_compress": True},
        {"encoder_repeat_times": 1, **RESIDUAL, **NO_REPETITION},
        {**RESIDUAL, **NO_REPETITION, "split_compress": True},
        {"reconstructor_n_layers": 0},
    ],
    ids=str,
)
def test_what_never_runs_has_no_gradient(options):
    separator = tiny(**options)
    sum(y.abs().mean() for y in separator.train()(spectrum(1, 6, F_BINS), None)[0]).backward()
    for name, parameter in separator.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    if options.get("encoder_repeat_times") == 1:
        assert any(name.startswith("concat_block.") for name in separator.state_dict())


def test_a_depth_of_0_that_is_raised_is_trained():
    separator = tiny(**NO_REPETITION, **RESIDUAL, encoder_repeat_times=1)
    separator.reconstructor_repeat_times = 1
    assert all(parameter.requires_grad for parameter in separator.parameters())


@pytest.mark.promise("no-idle-gradients")
def test_distributed_training_does_not_wait_for_what_never_runs(tmp_path):
    method = f"file://{tmp_path}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(tiny(encoder_repeat_times=1))
        for _ in range(2):  # the second step finds what the first has not reduced
            estimates, _, _ = wrapped.train()(spectrum(1, 6, F_BINS), None)
            sum(y.abs().mean() for y in estimates).backward()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "options",
    [
        {"norm_type": "layernorm"},
        {"num_groups": 4},
        {"tf_order": "tf"},
        {"n_heads": 4},
        {"attention_dim": 16},
        {"ffn_type": ["swiglu_conv1d", "conv1d"]},
        {"ffn_type": "conv1d", "ffn_hidden_dim": 6},
        {"ffn_type": ["swiglu_conv1d"], "ffn_hidden_dim": [6]},
        {"ffn_hidden_dim": [10, 6]},
        {"conv1d_kernel": 5},
        {"conv1d_shift": 2},
        {"eps": 0.1},
        {"encoder_repeat_times": 3},
        {"encoder_n_layers": 2},
        {"reconstructor_repeat_times": 3},
        {"reconstructor_n_layers": 2},
        {"repeat_residual_module": False},
        {"reconstructor_repeat_residual_module": True},
        {"speaker_path": False},
        {"spk_spliter_type": "conv2d"},
        {"split_compress": True},
        {"split_compress": True, "reconstructor_repeat_residual_module": True},
        {"split_compress": True, "spk_spliter_type": "conv2d"},
        {"mask": True},
        {"num_spk": 3},
        {"band_split": "fixed", "band_scale": 10, "mask": True},
        {"band_split": "mel", "num_bands": 3, "mask": True},
        {"dropout": 0.3},
    ],
    ids=str,
)
def test_every_option_changes_something_and_trains(options):
    torch.manual_seed(1)
    base = tiny()
    torch.manual_seed(1)
    separator = tiny(**options)
    ours = separator.state_dict()
    for name, value in base.state_dict().items():  # the same weights, where there are the same
        if name in ours and ours[name].shape == value.shape:
            ours[name].copy_(value)
    x = spectrum(2, 6, F_BINS)
    expected, output = all_depths(base, x), all_depths(separator, x)
    assert output.shape != expected.shape or (output - expected).abs().max() > 1e-3
    optimizer = torch.optim.SGD(separator.parameters(), 1e-4)
    before = [parameter.clone() for parameter in separator.parameters()]
    sum(y.abs().square().mean() for y in separator.train()(x, None)[0]).backward()
    optimizer.step()
    for (name, now), then in zip(separator.named_parameters(), before, strict=True):
        assert now.isfinite().all() and not torch.equal(now, then), name


def test_no_mixture_and_no_frames_are_refused():
    for shape in ((0, 7, F_BINS), (1, 0, F_BINS)):
        with pytest.raises(ValueError, match=r"needs single-channel features .* got \([01], "):
            tiny()(spectrum(*shape), None)


FRONT_ENDS = {
    "published": {},
    "bands": {"mask": True, "band_split": [2, 3, 4]},
    "learned encoder": {"segment_size": 4},
}


@pytest.mark.parametrize("options", FRONT_ENDS.values(), ids=FRONT_ENDS)
def test_weights_in_half_precision(options):
    separator = tiny(**options)
    x = torch.randn(1, 7, F_BINS) if "segment_size" in options else spectrum(1, 7, F_BINS)
    expected = estimate(separator, x)
    found = estimate(
        separator.bfloat16(), x
    )  # bfloat16 has 8 bits; untrained models amplify rounding
    assert found.dtype == x.dtype
    assert 0 < (found - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("half_weights", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"num_spk": 3}, {"segment_size": 4}, {"norm_type": "layernorm"}], ids=str
)
def test_types_of_a_gpu_in_half_precision_fit(options, half_weights, dtype):
    # tensors without data tell which types meet on a GPU; its autocast differs from the CPU's
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        separator = TISDiSSSeparator(F_BINS, **{**TINY, **options}).eval()
        if half_weights:
            for module in separator.modules():
                for name, weight in module.named_parameters(recurse=False):
                    setattr(module, name, torch.nn.Parameter(weight.detach().to(dtype)))
        is_real = "segment_size" in options
        x = torch.randn(2, 60, F_BINS, dtype=torch.float32 if is_real else torch.complex64)
        separator.half_dtype = dtype
        assert {estimate.dtype for estimate in separator(x, None)[0]} == {x.dtype}


def gradient(separator: TISDiSSSeparator, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates of a training step, one after the other, and the gradient of all weights."""
    estimates = torch.stack(separator.train()(x, None)[0])
    separator.zero_grad()
    (estimates - x).abs().square().mean().backward()
    grads = [weight.grad for weight in separator.parameters()]
    assert all(grad.dtype == torch.float32 for grad in grads)
    return estimates.detach(), torch.cat([grad.flatten() for grad in grads])


@pytest.mark.promise("numerics")
@pytest.mark.skipif(
    half_precision("bfloat16", "cpu") is None, reason="the CPU does not compute in bfloat16"
)
def test_training_in_bfloat16_is_close_to_float32_and_evaluation_is_float32():
    single = TISDiSSSeparator(F_BINS, **TINY)
    mixed = TISDiSSSeparator(F_BINS, **TINY, training_dtype="bfloat16")
    mixed.load_state_dict(single.state_dict())
    x = spectrum(2, 30, F_BINS)
    (expected, expected_grad), (found, found_grad) = gradient(single, x), gradient(mixed, x)
    assert not torch.equal(found, expected) and found.dtype == torch.complex64
    assert (found - expected).norm() < 0.03 * expected.norm()
    assert (found_grad - expected_grad).norm() < 0.05 * expected_grad.norm()
    assert torch.equal(estimate(mixed, x), estimate(single, x))


def test_what_inference_computes_in_is_trained_in_too():
    mixed = TISDiSSSeparator(F_BINS, **TINY)
    x = spectrum(1, 30, F_BINS)
    single = all_depths(mixed, x)
    mixed.half_dtype = torch.bfloat16
    assert not torch.equal(all_depths(mixed, x), single)


@pytest.mark.parametrize("value", ["float16", "float64", "half", None, 16])
def test_another_training_dtype_is_refused(value):
    told = f"^training_dtype must be one of float32, bfloat16; got {value!r}$"
    with pytest.raises(ValueError, match=told):
        TISDiSSSeparator(F_BINS, **TINY, training_dtype=value)


def test_other_parts_of_a_larger_module_may_be_missing_and_left_over():
    larger = torch.nn.ModuleDict(
        {"sep": TISDiSSSeparator(17, **TINY), "head": torch.nn.Linear(2, 2)}
    )
    weights = larger.state_dict()
    planted = {name: torch.full_like(value, 0.5) for name, value in weights.items()}
    part = {name: value for name, value in planted.items() if name.startswith("sep.")}
    larger.load_state_dict(part | {"old.weight": torch.zeros(1)}, strict=False)
    assert all((value == 0.5).all() for value in larger["sep"].state_dict().values())
    # ESPnet loads like this: weights of another separator would leave random ones
    with pytest.raises(RuntimeError, match="missing: sep.*; left over: none"):
        larger.load_state_dict({"head.weight": planted["head.weight"]}, strict=False)
    name = next(iter(part))
    del part[name]
    with pytest.raises(RuntimeError, match=f"missing: {name}; left over: sep.other"):
        larger.load_state_dict(part | {"sep.other": torch.zeros(1)}, strict=False)


@pytest.mark.parametrize(
    ("options", "depths"),
    [
        ({}, 3),
        ({"spliter_loss": False}, 2),
        ({"reconstructor_multi_decoder": False, "spliter_loss": False}, 1),
        ({"reconstructor_repeat_times": 0, "spliter_loss": False}, 1),
        ({"reconstructor_n_layers": 2}, 5),
        ({"encoder_decoder": True, "encoder_multi_decoder": True, "encoder_repeat_times": 2}, 4),
    ],
)
def test_the_number_of_supervised_depths(options, depths):
    separator = TISDiSSSeparator(9, **{**TINY, **options}).train()
    assert separator.supervised_depths == depths
    estimates, _, _ = separator(torch.randn(1, 5, 9, dtype=torch.complex64), None)
    assert len(estimates) == 2 * depths
