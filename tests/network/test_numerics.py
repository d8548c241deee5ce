"""Gradients equal those of the equations, and results depend only on the input."""

from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
import torch
from espnet2.enh.loss.criterions.time_domain import SISNRLoss
from models import TINY

from espnet2_tisdiss import MultiDepthPIT, SeparateSpeech, TISDiSSSeparator
from espnet2_tisdiss.pretrained.bundled import example

F_BINS, FRAMES = 9, 7
STRUCTURES = {
    "published": {},
    "residuals": {"reconstructor_repeat_residual_module": True, "encoder_n_layers": 2},
    "narrow streams": {"split_compress": True, "reconstructor_repeat_residual_module": True},
    "bands": {"band_split": "mel", "num_bands": 3, "mask": True},
    "segments": {"segment_size": 4, "mask": True},
    "strides": {"conv1d_shift": 2, "tf_order": "tf", "norm_type": "layernorm"},
    "recomputed": {"checkpoint": "block"},
}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.promise("numerics")
@pytest.mark.parametrize("name", STRUCTURES)
def test_the_gradient_is_the_slope_of_the_loss(name):
    """In float64, along random directions in all weights and in the input, for the loss trained."""
    separator = TISDiSSSeparator(F_BINS, **TINY, **STRUCTURES[name]).double().train()
    with torch.no_grad():
        for parameter in separator.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    dtype = torch.float64 if "segment_size" in STRUCTURES[name] else torch.complex128
    mixture = torch.randn(2, FRAMES, F_BINS, dtype=dtype, requires_grad=True)
    lengths = torch.tensor([FRAMES, FRAMES - 2])  # padding too
    sources = [torch.randn(2, FRAMES * F_BINS, dtype=torch.float64) for _ in range(2)]
    loss_of = MultiDepthPIT(SISNRLoss())

    def loss() -> torch.Tensor:
        estimates, _, _ = separator(mixture, lengths)
        waves = [(each.real + each.imag if each.is_complex() else each) for each in estimates]
        return loss_of(sources, [wave.flatten(1) for wave in waves])[0].mean()

    leaves = [mixture, *(p for p in separator.parameters() if p.requires_grad)]
    gradients = torch.autograd.grad(loss(), leaves)
    step = 1e-8
    for _ in range(3):
        directions = [torch.randn_like(leaf) for leaf in leaves]
        pairs = zip(gradients, directions, strict=True)
        expected = sum((g.conj() * d).real.sum() for g, d in pairs)
        with torch.no_grad():
            values = []
            for sign in (1, -2):  # there, and back beyond the start
                for leaf, direction in zip(leaves, directions, strict=True):
                    leaf += sign * step * direction
                values.append(loss())
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf += step * direction
        slope = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def mini() -> SeparateSpeech:
    return SeparateSpeech.from_pretrained("mini")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    (file,) = (example("mini") / "mix").glob("*.wav")
    return soundfile.read(file, dtype="float32", frames=3000)[0]


@pytest.mark.promise("numerics")
def test_the_same_bits_twice_and_with_other_threads(mini, speech, threads):
    found = {}
    for count in (1, 2, 1, 2):
        torch.set_num_threads(count)
        found.setdefault(count, []).append(np.stack(mini(speech[None])))
    for first, second in found.values():
        np.testing.assert_array_equal(first, second)
    one, two = found[1][0], found[2][0]
    # sums are split at other places, so the last bits may differ: 100 dB below the estimate
    assert np.square(two - one).mean() <= 1e-10 * np.square(one).mean()


@pytest.mark.promise("numerics")
@pytest.mark.parametrize("level", [1e-6, 1.0, 1e4])
def test_far_too_deep_is_finite(mini, speech, level):
    (deep,) = mini.batch([level * speech], n_re=32)
    assert np.isfinite(deep).all()
    # the speakers at their level in the mixture: no louder than it by more than 20 dB
    assert np.abs(deep).max() <= 10 * level * np.abs(speech).max()
