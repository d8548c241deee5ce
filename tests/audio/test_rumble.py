"""Removing an offset and rumble from a stream."""

import numpy as np
import pytest

from espnet2_tisdiss.audio.rumble import RumbleFilter, without_rumble

RATE = 16000


@pytest.mark.parametrize("length", [1, 2, 600, 1450, 1451, 16384, 20000])
def test_an_offset_is_gone_from_the_first_sample_to_the_last(length):
    assert np.abs(without_rumble(np.full(length, 0.1), RATE)).max() < 1e-8


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_what_is_heard_stays_and_what_lies_below_goes(rate):
    time = np.arange(3 * rate) / rate
    inner = slice(rate, 2 * rate)
    for hz, least, most in ((8, -200, -50), (10, -200, -50), (31, -0.05, 0.05), (300, -0.01, 0.01)):
        before = np.sin(2 * np.pi * hz * time).astype(np.float32)
        after = without_rumble(before, rate)
        gain = 10 * np.log10(np.square(after[inner]).sum() / np.square(before[inner]).sum())
        assert least <= gain <= most, hz
    # without delay
    np.testing.assert_allclose(after[inner], before[inner], atol=1e-3)


def test_blocks_do_not_matter():
    generator = np.random.default_rng(0)
    samples = generator.standard_normal(50_000).astype(np.float32) + np.float32(3)
    expected = without_rumble(samples, RATE)
    assert expected.shape == samples.shape
    for most in (1, 700, 30_000):
        ends = np.cumsum(generator.integers(0, most, 50_000, endpoint=True))
        stream = RumbleFilter(RATE)
        blocks = [stream.push(block) for block in np.split(samples, ends[ends < len(samples)])]
        np.testing.assert_array_equal(np.concatenate([*blocks, stream.finish()]), expected)


def test_nothing_comes_of_nothing():
    assert without_rumble(np.empty(0), RATE).shape == (0,)
    np.testing.assert_array_equal(without_rumble(np.zeros(40_000), RATE), np.zeros(40_000))
