"""The other separators have their published sizes, and all of their work is counted."""

import pytest
import torch
from separators import RIVALS, build, count_macs, lstm_flops
from torch.utils.flop_counter import FlopCounterMode

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.evaluate.cost import parameters


@pytest.mark.parametrize("name", RIVALS)
def test_the_published_parameters(name):
    rival = RIVALS[name]
    assert round(parameters(build(rival).enh_model) / 1e6, 1) == pytest.approx(
        rival.millions, abs=0.11
    )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_multiply_adds_of_an_lstm_counted_by_hand(bidirectional):
    lstm = torch.nn.LSTM(5, 7, batch_first=True, bidirectional=bidirectional)
    counting = {torch.ops.aten.mkldnn_rnn_layer: lstm_flops}
    with (
        torch.inference_mode(),
        FlopCounterMode(display=False, custom_mapping=counting) as counter,
    ):
        lstm(torch.randn(3, 11, 5))
    each = 3 * 11 * 4 * 7 * (5 + 7)  # items x positions x gates x hidden x (input + hidden)
    assert counter.get_total_flops() / 2 == each * (1 + bidirectional)


def test_multiply_adds_of_conv_tasnet_counted_by_hand():
    frames, n, b, h, skip, kernel, window = 999, 512, 128, 512, 128, 3, 16
    block = b * h + kernel * h + h * b + h * skip
    coders = 3 * n * window  # one encoder, and the decoder for each of two speakers
    each = coders + n * b + 24 * block + b * 2 * n
    mixture = speech_shaped_noise(1.0, 8000)[None]
    counted = count_macs(build(RIVALS["Conv-TasNet"]), mixture)
    assert counted == pytest.approx(frames * each, rel=0.01)
