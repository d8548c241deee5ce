"""Transforms in NumPy, against PyTorch's."""

import numpy as np
import pytest
import torch

from espnet2_tisdiss.audio.spectra import frame_spectra, overlap_add


@pytest.mark.parametrize(("size", "hop"), [(512, 256), (100, 25), (64, 48), (7, 3)])
def test_as_pytorch(size, hop):
    wave = np.random.default_rng(0).standard_normal((2, 20 * hop + size)).astype(np.float32)
    window = torch.hann_window(size + 2, periodic=False)[1:-1] + 0.1  # no gaps
    options = {"n_fft": size, "hop_length": hop, "window": window, "center": False}
    expected = torch.stft(torch.from_numpy(wave), **options, return_complex=True)
    found = frame_spectra(wave, window.numpy(), hop)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, expected.mT.numpy(), rtol=0, atol=1e-5)
    back = overlap_add(found, window.numpy(), hop)
    np.testing.assert_allclose(back, wave, rtol=0, atol=1e-5)
    np.testing.assert_allclose(back, torch.istft(expected, **options).numpy(), rtol=0, atol=1e-5)


def test_nothing_is_divided_by_nothing():
    window = np.hanning(8)  # zero at both ends
    back = overlap_add(frame_spectra(np.ones(8, np.float32), window, 4), window, 4)
    np.testing.assert_allclose(back, [0, *[1] * 6, 0], atol=1e-6)
