"""The encoder and the decoder give ESPnet's numbers, bit by bit."""

import pytest
import torch
from espnet2.enh.decoder.stft_decoder import STFTDecoder as EspnetsDecoder
from espnet2.enh.encoder.stft_encoder import STFTEncoder as EspnetsEncoder

from espnet2_tisdiss.network.stft import STFTDecoder, STFTEncoder

OPTIONS = [
    {},
    {"n_fft": 256, "hop_length": 64},
    {"n_fft": 256, "win_length": 200, "hop_length": 64},
    {"n_fft": 255, "hop_length": 100},
    {"n_fft": 128, "hop_length": 32, "window": "hamming"},
    {"n_fft": 128, "hop_length": 32, "window": None},
    {"n_fft": 128, "hop_length": 32, "window": "hamming", "center": False},
    {"n_fft": 128, "hop_length": 64, "normalized": True},
    {"n_fft": 128, "hop_length": 64, "onesided": False},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [512, 4000, 4001, 12345])
@pytest.mark.parametrize("options", OPTIONS)
def test_is_espnets_to_the_last_bit(options, length, dtype):
    encoder, decoder = STFTEncoder(**options), STFTDecoder(**options)
    espnets_encoder, espnets_decoder = EspnetsEncoder(**options), EspnetsDecoder(**options)
    assert encoder.output_dim == espnets_encoder.output_dim
    assert encoder.hop_length == espnets_encoder.hop_length
    assert not encoder.state_dict() and not decoder.state_dict()
    waves, lengths = torch.randn(2, length, dtype=dtype), torch.tensor([length, length - 99])
    found, frames = encoder(waves, lengths)
    expected, espnets_frames = espnets_encoder(waves, lengths)
    assert found.shape[2] == encoder.output_dim
    assert torch.equal(frames, espnets_frames)
    assert torch.equal(found, expected) and found.dtype == expected.dtype
    back, _ = decoder(found, lengths)
    espnets_back, _ = espnets_decoder(expected, lengths)
    assert torch.equal(back, espnets_back) and back.dtype == dtype
    assert back.shape == (2, length)


@pytest.mark.parametrize("options", [{}, {"n_fft": 128, "hop_length": 64, "onesided": False}])
def test_of_a_spectrum_of_no_wave_is_espnets(options):
    spectrum = torch.randn(2, 30, STFTEncoder(**options).output_dim, dtype=torch.complex64)
    lengths = torch.tensor([1500, 1400])
    found, _ = STFTDecoder(**options)(spectrum, lengths)
    assert torch.equal(found, EspnetsDecoder(**options)(spectrum, lengths)[0])


def test_without_lengths_every_frame_is_valid():
    waves = torch.randn(2, 1000)
    found, frames = STFTEncoder(128, hop_length=64)(waves, None)
    assert frames is None
    assert torch.equal(found, EspnetsEncoder(128, hop_length=64)(waves, None)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_fft": "256"}, "n_fft must be an integer from 1 to 16384; got '256'"),
        ({"hop_length": 0}, "hop_length must be an integer from 1 to 512; got 0"),
        ({"win_length": -1}, "win_length must be an integer from 1 to 512; got -1"),
        ({"window": "boxcar"}, "window must be .*; got 'boxcar'"),
        ({"center": "yes"}, "center must be true or false; got 'yes'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        STFTEncoder(**options)
