"""Output scales, against planted gains and the sum that they must keep."""

import numpy as np
import pytest

from espnet2_tisdiss.choices import SCALES
from espnet2_tisdiss.separate.loudness import (
    FULL_SCALE,
    ScaleStatistics,
    Scaling,
    headroom_gain,
    rescale,
)


def sources(num_spk=2, n=8000):
    return np.random.standard_normal((num_spk, n)).astype(np.float32) * 0.1


def test_estimate_is_untouched():
    estimates = sources() * 80
    np.testing.assert_array_equal(rescale("estimate", estimates.sum(0), estimates), estimates)


def test_peak_keeps_the_balance_of_the_speakers():
    estimates = sources() * np.array([[80.0], [20.0]], np.float32)
    scaled = rescale("peak", estimates.sum(0), estimates)
    assert np.abs(scaled).max() == pytest.approx(0.9)
    np.testing.assert_allclose(scaled, estimates * (0.9 / np.abs(estimates).max()), rtol=1e-6)


@pytest.mark.parametrize("num_spk", [1, 2, 3])
@pytest.mark.parametrize("gains", [[1, 1, 1], [80, 75, 90], [300, 0.02, 1], [-80, -75, -90]])
@pytest.mark.parametrize("scale", ["level", "mixture"])
def test_the_scale_of_each_speaker_is_found(num_spk, gains, scale):
    truth = sources(num_spk)
    estimates = truth * np.array(gains[:num_spk], np.float32)[:, None]
    scaled = rescale(scale, truth.sum(0), estimates)
    np.testing.assert_allclose(scaled, truth, atol=1e-5)


def test_noise_that_was_removed_stays_away_at_level_and_comes_back_in_the_mixture():
    one, two, noise = sources(3)
    noise -= np.stack([one, two]).T @ np.linalg.lstsq(np.stack([one, two]).T, noise, rcond=None)[0]
    truth = np.stack([one, two])
    estimates = truth * np.array([[80.0], [20.0]], np.float32)
    np.testing.assert_allclose(rescale("level", one + two + noise, estimates), truth, atol=1e-4)
    shared = rescale("mixture", one + two + noise, estimates)
    np.testing.assert_allclose(shared, truth + noise / 2, atol=1e-4)


def hard_cases():
    """Name, mixture (n,) and estimates (j, n) that plain least squares fails on."""
    one, two = sources()
    silence = np.zeros_like(one)
    leaky = np.stack([80 * one + 8 * two, 50 * two - 4 * one])
    return {
        "leaky": (one + two, leaky),
        "identical": (one + two, np.stack([80 * one, 80 * one])),
        "one silent": (one, np.stack([80 * one, silence])),
        "all silent": (one, np.stack([silence, silence])),
        "silent mixture": (silence, leaky),
        "everything silent": (silence, np.stack([silence, silence])),
        "cancelling": (one, np.stack([one, -one])),
        "inverted": (one + two, np.stack([-one, -two])),
        "inaudible": (one, np.stack([one, 1e-30 * two])),
        "three equal": (one, np.stack([one, one, one])),
    }


@pytest.mark.parametrize("case", hard_cases())
def test_mixture_sums_to_the_mixture(case):
    mixture, estimates = hard_cases()[case]
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        scaled = rescale("mixture", mixture, estimates)
    assert scaled.dtype == np.float32 and scaled.shape == estimates.shape
    np.testing.assert_allclose(scaled.sum(0), mixture, rtol=0, atol=2e-7)
    # no gain explodes, and no polarity changes, except if all estimates are inverted
    statistics = ScaleStatistics(len(estimates)).update(mixture, estimates)
    polarity = -1 if case == "inverted" else 1
    assert (polarity * Scaling.of("mixture", [statistics])[0].gains >= 0).all()
    assert np.abs(scaled).max() < 2 * np.abs(mixture).max() + 1e-6


def test_mixture_keeps_the_balance_where_the_mixture_leaves_it_open():
    one = sources()[0]
    for balance in [(1, 1), (1, 0.001), (3, 1)]:
        estimates = np.stack([80 * balance[0] * one, 80 * balance[1] * one])
        expected = np.outer(balance, one) / sum(balance)
        np.testing.assert_allclose(rescale("mixture", one, estimates), expected, atol=1e-5)


def test_mixture_with_silence_shares_what_is_left():
    one = sources()[0]
    scaled = rescale("mixture", one, np.zeros((2, len(one)), np.float32))
    np.testing.assert_allclose(scaled, np.stack([one, one]) / 2)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("block", [1, 999, 8000])
def test_blocks_give_what_the_whole_gives(scale, block):
    estimates = sources(3) * 80
    mixture = sources(3).sum(0)
    starts = range(0, len(mixture), block)
    statistics = ScaleStatistics(3)
    for i in starts:
        statistics.update(mixture[i : i + block], estimates[:, i : i + block])
    (scaling,) = Scaling.of(scale, [statistics])
    parts = [scaling(mixture[i : i + block], estimates[:, i : i + block]) for i in starts]
    np.testing.assert_allclose(
        np.concatenate(parts, axis=1), rescale(scale, mixture, estimates), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("scale", SCALES)
def test_silence_stays_silent(scale):
    silence = np.zeros((2, 100), np.float32)
    np.testing.assert_array_equal(rescale(scale, silence[0], silence), silence)


def test_unknown_scale():
    with pytest.raises(ValueError, match="scale must be one of estimate, peak, level, mixture"):
        rescale("loud", np.zeros(9), np.zeros((2, 9)))


def test_headroom():
    assert headroom_gain(0.3) == headroom_gain(1.0) == 1
    for peak in [1.0000001, 80.0, 1e30]:
        turned_down = np.float32(peak) * np.float32(headroom_gain(peak))
        assert turned_down == pytest.approx(FULL_SCALE)
        assert np.round(turned_down * 2**15) <= 2**15 - 1
