import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from espnet2.enh.encoder.conv_encoder import ConvEncoder
from espnet2.enh.encoder.stft_encoder import STFTEncoder
from models import LEARNED_ENCODER, TINY
from torch import nn

from espnet2_tisdiss import SeparateSpeech, TISDiSSConfig, TISDiSSSeparator
from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.evaluate.cost import (
    CostCounter,
    PeakMemory,
    measure,
    memory_in_use,
    parameters,
)

ENCODER = STFTEncoder(n_fft=128, hop_length=64)
PLANTED = 200_000_000


class OneConvolution(nn.Module):
    """A separator whose repetitions are one 3 x 3 convolution each, from 2 channels to 2."""

    def __init__(self, input_dim, **options):
        super().__init__()
        self.input_dim = input_dim
        self.config = TISDiSSConfig(**options)
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.reconstructor_repeat_times = 1

    def forward(self, spectrum, ilens):
        x = torch.view_as_real(spectrum).movedim(-1, 1)
        for _ in range(self.reconstructor_repeat_times):
            x = self.conv(x)
        return x


@pytest.mark.parametrize("n_re", [1, 5])
def test_multiply_adds_of_a_convolution_counted_by_hand(n_re):
    counter = CostCounter(ENCODER, OneConvolution(65), sample_rate=8000, seconds=4)
    each = 2 * 2 * 3 * 3 * (8000 // 64) * 65  # in x out x kernel x positions of a second
    assert counter.macs_per_s(n_re) == n_re * each


def test_multiply_adds_grow_evenly_with_the_depth():
    counter = CostCounter(ENCODER, TISDiSSSeparator(65, **TINY), 8000, 2)
    macs = [counter.macs_per_s(n_re) for n_re in (0, 1, 2, 8)]
    step = macs[1] - macs[0]
    assert step > 0
    assert macs == pytest.approx([macs[0] + n_re * step for n_re in (0, 1, 2, 8)])


@pytest.mark.parametrize(
    ("encoder", "options", "positions"),
    [
        (ENCODER, {}, 125 * 65),
        (ENCODER, {"mask": True, "band_split": [5] * 13}, 125 * 13),
        # 500 frames a second, in segments of 20 that overlap by half
        (ConvEncoder(12, 32, 16), {"segment_size": 20}, None),
    ],
)
def test_every_front_end_is_counted(encoder, options, positions):
    separator = TISDiSSSeparator(encoder.output_dim, **TINY, **options)
    counter = CostCounter(encoder, separator, sample_rate=8000, seconds=2)
    assert counter.macs_per_s(1) > 0
    if positions is None:
        assert 2 * 500 <= counter.positions_per_s() <= 2 * 500 * 1.1
    else:
        assert counter.positions_per_s() == positions


def test_counting_leaves_the_model_and_the_random_numbers_alone():
    separator = TISDiSSSeparator(65, **TINY)
    weights = {name: value.clone() for name, value in separator.state_dict().items()}
    calls = []
    separator.register_forward_hook(lambda *_: calls.append(1))
    separator.forward = lambda *_: pytest.fail("the model itself was run")
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    CostCounter(ENCODER, separator, 8000, 1).macs_per_s(7)
    assert torch.equal(torch.rand(3), expected)
    assert separator.training and not calls
    assert separator.reconstructor_repeat_times == TINY["reconstructor_repeat_times"]
    for name, value in separator.state_dict().items():
        assert value.device.type == "cpu" and torch.equal(value, weights[name])


def test_flash_attention_costs_the_same_anywhere():
    plain, flash = (
        CostCounter(ENCODER, TISDiSSSeparator(65, **TINY, flash_attention=flash), 8000, 1)
        for flash in (False, True)
    )
    assert flash.macs_per_s(2) == plain.macs_per_s(2)


def test_input_shorter_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="at least one frame, 0.008; got 0.001"):
        CostCounter(ENCODER, TISDiSSSeparator(65, **TINY), 8000, 0.001)


def test_parameters_counts_shared_ones_once():
    linear = nn.Linear(3, 4)
    assert parameters(nn.Sequential(linear, linear, nn.Linear(4, 1, bias=False))) == 3 * 4 + 4 + 4


def test_peak_memory_sees_what_was_freed_before_the_end():
    with PeakMemory() as memory:
        planted = torch.ones(PLANTED // 4)
        time.sleep(0.3)  # a hundred samples, of which one is enough
        del planted
    assert memory.peak == pytest.approx(PLANTED, rel=0.1)


def test_peak_memory_counts_from_the_level():
    level = memory_in_use("cpu")
    before = torch.ones(PLANTED // 4)
    with PeakMemory("cpu") as above_entry:
        inside = torch.ones(PLANTED // 4)
    with PeakMemory("cpu", level) as above_level:
        pass
    assert above_entry.peak == pytest.approx(PLANTED, rel=0.1)
    assert above_level.peak == pytest.approx(2 * PLANTED, rel=0.1)
    del before, inside


def test_peak_memory_ends_its_thread_when_the_block_fails():
    with pytest.raises(KeyError), PeakMemory() as memory:
        raise KeyError
    assert not memory._sampler.is_alive()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_peak_memory_on_a_gpu():
    with PeakMemory("cuda") as memory:
        planted = torch.ones(PLANTED // 4, device="cuda")
        del planted
    assert memory.peak == pytest.approx(PLANTED, rel=0.01)


@pytest.mark.parametrize("overrides", [{}, LEARNED_ENCODER])
def test_measure_gives_a_row_a_depth(espnet_model, overrides):
    _, config, weights = espnet_model(**overrides)
    model = SeparateSpeech(config, weights)
    runs, steps = [], []
    model.separator.reconstructor_blocks[0].register_forward_hook(lambda *_: runs.append(1))
    rows = measure(model, 0.5, [4, 1], repeats=2, on_step=lambda: steps.append(1))
    assert [row.n_re for row in rows] == [4, 1]
    assert len(steps) == (1 + 2) * 2
    assert len(runs) == (1 + 2) * (4 + 1)  # single runs, and none by the counting
    counter = CostCounter(model.enh_model.encoder, model.separator, 8000, 0.5)
    assert [row.macs_per_s for row in rows] == [counter.macs_per_s(4), counter.macs_per_s(1)]
    assert all(row.rtf > 0 and row.peak_bytes >= 0 for row in rows)
    assert model.separator.reconstructor_repeat_times == TINY["reconstructor_repeat_times"]


def test_measure_refuses_no_repeats():
    with pytest.raises(ValueError, match="repeats must be an integer >= 1; got 0"):
        measure(SimpleNamespace(), 1.0, [1], repeats=0)


def test_counts_of_a_loaded_model_equal_those_of_its_configuration(espnet_model):
    _, config, weights = espnet_model()
    model = SeparateSpeech(config, weights)
    options = yaml.safe_load(config.read_text())
    encoder = STFTEncoder(**options["encoder_conf"])
    separator = TISDiSSSeparator(encoder.output_dim, **options["separator_conf"])
    loaded = CostCounter(model.enh_model.encoder, model.separator, 8000, 1)
    assert loaded.macs_per_s(3) == CostCounter(encoder, separator, 8000, 1).macs_per_s(3)


def test_noise_is_shaped_like_speech():
    noise = speech_shaped_noise(4.0, 8000)
    assert noise.shape == (32000,) and noise.dtype == np.float32
    assert np.abs(noise).max() == pytest.approx(0.5)
    np.testing.assert_array_equal(noise, speech_shaped_noise(4.0, 8000))
    assert np.abs(noise - speech_shaped_noise(4.0, 8000, seed=1)).max() > 0.1
    power = np.square(np.abs(np.fft.rfft(noise)))
    per_band = [power[4 * low : 4 * high].mean() for low, high in [(100, 400), (2000, 4000)]]
    # 6 dB an octave above 500 Hz: the mean of (500 / f)^2 from 2 to 4 kHz is 1 / 32
    assert 10 * np.log10(per_band[0] / per_band[1]) == pytest.approx(10 * np.log10(32), abs=1)
    # four syllables a second, each loudest in its middle
    loud = np.cos(2 * np.pi * 4 * np.arange(32000) / 8000) < -(2**-0.5)
    assert np.square(noise[loud]).mean() > 3 * np.square(noise[~loud]).mean()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e-5])
def test_noise_of_no_length_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be a number"):
        speech_shaped_noise(seconds, 8000)
