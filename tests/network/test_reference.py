"""The plain implementation equals the published code, and the separator the plain one."""

import itertools
from typing import get_args

import pytest
import torch
from models import TINY

from espnet2_tisdiss import TISDiSSConfig, TISDiSSSeparator
from espnet2_tisdiss.network.blocks.locoformer import Checkpoint
from espnet2_tisdiss.network.kernels import cache
from espnet2_tisdiss.network.reference import PlainTISDiSS


def test_the_oracle_agrees_with_the_published_code(golden):
    config = TISDiSSConfig.from_options(golden.config)
    weights = {name: value.double() for name, value in golden.state_dict.items()}
    plain = PlainTISDiSS(config, weights)
    for n_re in golden.repeat_times:
        expected = golden[f"out_re{n_re}"]
        found = plain(golden["input"].to(torch.complex128), n_re)[-1]
        assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"conv1d_shift": 2, "conv1d_kernel": 5},
        {"conv1d_shift": 3, "conv1d_kernel": 3, "ffn_type": ["conv1d"], "ffn_hidden_dim": [6]},
        {"norm_type": "layernorm", "tf_order": "tf", "mask": True},
        {"num_spk": 3, "spk_spliter_type": "conv2d", "reconstructor_n_layers": 2},
        {"num_spk": 5, "reconstructor_repeat_residual_module": True, "encoder_n_layers": 2},
        {"split_compress": True, "emb_dim": 16, "attention_dim": 16, "num_groups": 4},
        {"causal": True, "attention_window": 3, "conv1d_kernel": 5, "conv1d_shift": 2},
        {"causal": True, "mask": True, "tf_order": "tf", "spk_spliter_type": "conv2d"},
        {
            **{"causal": True, "attention_window": 5, "split_compress": True},
            "reconstructor_repeat_residual_module": True,
        },
    ],
)
@pytest.mark.parametrize("shape", [(2, 7, 9), (1, 150, 5), (1, 1, 140)])
@pytest.mark.parametrize("cached", [1, 100, 2**40])
def test_the_separator_equals_the_oracle(options, shape, cached, monkeypatch):
    monkeypatch.setattr(cache, "CACHED_NUMBERS", cached)
    options = {**TINY, **options}
    separator = TISDiSSSeparator(shape[2], **options).double().eval()
    for parameter in separator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    spectrum = torch.randn(shape, dtype=torch.complex128)
    with torch.no_grad():
        plain = PlainTISDiSS(separator.config, separator.state_dict())(spectrum, 2)[-1]
        found = torch.stack(separator(spectrum, None)[0], 1)
    assert (found - plain).abs().max() < 1e-9 * plain.abs().max()


@pytest.mark.parametrize(
    ("cached", "options"),
    [
        *itertools.product(
            [1, 300, 2**40], [{"checkpoint": name} for name in get_args(Checkpoint)]
        ),
        (2**40, {"causal": True, "attention_window": 4}),
        (1, {"causal": True, "attention_window": 4, "checkpoint": "block"}),
    ],
)
def test_the_gradients_equal_the_oracles(cached, options, monkeypatch):
    monkeypatch.setattr(cache, "CACHED_NUMBERS", cached)
    options = {**TINY, "conv1d_kernel": 4, **options}
    separator = TISDiSSSeparator(9, **options).double().train()
    for parameter in separator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    spectrum = torch.randn(2, 11, 9, dtype=torch.complex128)
    flat, _, _ = separator(spectrum, None)
    target = torch.randn_like(torch.stack(flat))
    (torch.stack(flat) - target).abs().square().sum().backward()
    found = {name: p.grad.clone() for name, p in separator.named_parameters()}

    weights = dict(separator.named_parameters(), **dict(separator.named_buffers()))
    separator.zero_grad()
    depths = PlainTISDiSS(separator.config, weights)(spectrum, 2)
    plain = torch.cat([depth.unbind(1)[j][None] for depth in depths for j in range(2)])
    (plain - target).abs().square().sum().backward()
    for name, parameter in separator.named_parameters():
        scale = parameter.grad.abs().max()
        assert (found[name] - parameter.grad).abs().max() < 1e-9 * scale, name


def kept_for_backward(checkpoint: str) -> int:
    """Numbers that training keeps until the backward pass, weights left out."""
    torch.manual_seed(0)
    separator = TISDiSSSeparator(9, **{**TINY, "checkpoint": checkpoint}).train()
    weights = {p.data_ptr() for p in separator.parameters()}
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        estimates = separator(torch.randn(2, 40, 9, dtype=torch.complex64), None)[0]
    assert estimates[0].requires_grad
    return sum(kept.values())


def test_checkpoints_keep_less():
    none, repetition, block = map(kept_for_backward, ("none", "repetition", "block"))
    assert repetition < block < none / 4
