"""Recordings of any length, rate and channel count, in memory."""

import numpy as np
import pytest
import scipy.signal
import soxr

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.recordings import Depths

RATE = 8000


@pytest.fixture
def separate(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


def noise(length: int, channels: int | None = None) -> np.ndarray:
    shape = length if channels is None else (length, channels)
    return (0.1 * np.random.randn(*np.atleast_1d(shape))).astype(np.float32)


def test_what_is_no_longer_than_a_chunk_is_separated_as_it_is(separate):
    samples = noise(RATE)
    expected = separate.depths([samples], [3])[3][0]
    for chunk_seconds in (1.0, 2.0):
        options = {"chunk_seconds": chunk_seconds, "overlap_seconds": 0.25}
        found = separate.recording(samples, RATE, n_re=3, **options)
        np.testing.assert_array_equal(found, expected)


def test_chunks_are_those_of_the_recording(separate):
    # the part of a chunk that no other one touches is as the chunk alone gives it
    samples = noise(3 * RATE)
    found = separate.recording(samples, RATE, chunk_seconds=1.0, overlap_seconds=0.25)
    first = separate.depths([samples[:RATE]], [2])[2][0]
    np.testing.assert_array_equal(found[:, :6000], first[:, :6000])
    assert found.shape == (2, 3 * RATE)
    batched = separate.recording(
        samples, RATE, chunk_seconds=1.0, overlap_seconds=0.25, batch_size=3
    )
    np.testing.assert_allclose(batched, found, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("length", [1, 777, 30011])
def test_length_and_rate_come_back(separate, rate, length, caplog):
    samples = noise(length)
    found = separate.recording(samples, rate, n_re=1, chunk_seconds=1.0, overlap_seconds=0.5)
    assert found.shape == (2, length) and np.isfinite(found).all()
    told = f"resampling from {rate} Hz to the model's 8000"
    assert (told in caplog.text) == (rate != 8000)


def test_another_rate_is_the_models_and_back(separate):
    # nothing is compared near 4 kHz, where the resampling filters cut
    lowpass = scipy.signal.butter(10, 3000, fs=RATE, output="sos")
    there = noise(2 * RATE) * scipy.signal.windows.tukey(2 * RATE, 0.2)
    there = scipy.signal.sosfiltfilt(lowpass, there).astype(np.float32)
    samples = soxr.resample(there, RATE, 16000)
    expected = separate.depths([there], [2])[2][0]
    found = separate.recording(samples, 16000)
    back = soxr.resample(np.ascontiguousarray(found.T), 16000, RATE).T
    error = scipy.signal.sosfiltfilt(lowpass, back - expected)
    error = np.square(error).sum() / np.square(expected).sum()
    assert error < 2e-3


def test_channels(separate):
    stereo = noise(RATE, 2)
    mono = {name: separate.recording(stereo, RATE, channel=name) for name in ("left", "right")}
    np.testing.assert_array_equal(mono["left"], separate.recording(stereo[:, 0], RATE))
    np.testing.assert_array_equal(mono["right"], separate.recording(stereo[:, 1], RATE))
    each = separate.recording(stereo, RATE, channel="each")
    np.testing.assert_array_equal(each, [mono["left"], mono["right"]])
    mean = separate.recording(stereo, RATE)
    np.testing.assert_allclose(mean, separate.recording(stereo.mean(1), RATE), atol=1e-6)


def test_scales(separate):
    samples = noise(3 * RATE)
    chunked = {"chunk_seconds": 1.0, "overlap_seconds": 0.25}
    estimate = separate.recording(samples, RATE, **chunked)
    peak = separate.recording(samples, RATE, scale="peak", **chunked)
    np.testing.assert_allclose(peak, estimate * 0.9 / np.abs(estimate).max(), rtol=1e-5)
    mixture = separate.recording(samples, RATE, scale="mixture", **chunked)
    np.testing.assert_allclose(mixture.sum(0), samples, atol=1e-6)


def test_stops_by_itself_chunk_by_chunk(separate):
    samples = noise(2 * RATE)
    chunked = {"chunk_seconds": 1.0, "overlap_seconds": 0.0}
    # any change is small against +200 dB: two repetitions
    found = separate.recording(samples, RATE, n_re=6, stop_db=200.0, **chunked)
    np.testing.assert_array_equal(found, separate.recording(samples, RATE, n_re=2, **chunked))


def test_what_is_no_recording_is_refused(separate):
    for samples in (noise(0), np.ones((2, 3, 4)), np.array([1.0, np.nan])):
        with pytest.raises(TisdissError, match="finite samples"):
            separate.recording(samples, RATE)
    for options in ({"n_re": 0}, {"channel": "up"}, {"scale": "loud"}, {"overlap_seconds": 9.0}):
        with pytest.raises(ValueError, match=next(iter(options)).split("_")[0]):
            separate.recording(noise(100), RATE, **options)


def test_depths_in_words():
    assert Depths((3, 1, 3)).n_re == (1, 3)
    for arguments in (((),), ((1, 2), -30.0), ((0,),)):
        with pytest.raises(ValueError, match="n_re must be"):
            Depths(*arguments)
