"""Active speech level: signals whose level is known, and the standard's procedure step by step."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq

from espnet2_tisdiss.recipes.corpora.active_level import active_level, high_pass


def tone(rate: int, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * 500 / rate * np.arange(round(seconds * rate)))


def in_db(power: float) -> float:
    return 10 * math.log10(power)


def speech_like(rate: int, seed: int) -> np.ndarray:
    """Noise in bursts of different lengths and levels, with pauses between them."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(12):
        burst = rng.normal(0, 10 ** rng.uniform(-2.5, -1), round(rate * rng.uniform(0.05, 0.6)))
        parts += [burst * np.hanning(len(burst)), np.zeros(round(rate * rng.uniform(0, 0.5)))]
    return np.concatenate(parts) + rng.normal(0, 1e-5, sum(map(len, parts)))


def by_the_standard(samples: np.ndarray, rate: int, step_db: float) -> float:
    """Active level in dB, sample by sample as in P.56, with thresholds step_db apart."""
    keep = math.exp(-1 / (rate * 0.03))
    hangover = round(0.2 * rate)
    thresholds_db = np.arange(0, -100, -step_db)
    thresholds = 10 ** (thresholds_db / 20)
    counts = np.zeros(len(thresholds))
    since = np.full(len(thresholds), hangover)
    first = second = 0.0
    for sample in samples:
        first = keep * first + (1 - keep) * abs(sample)
        second = keep * second + (1 - keep) * first
        reached = second >= thresholds
        held = ~reached & (since < hangover)
        counts += reached | held
        since = np.where(reached, 0, since + held)
    energy = float(np.square(samples).sum())
    found = [
        (in_db(energy / count), in_db(energy / count) - threshold)
        for count, threshold in zip(counts, thresholds_db, strict=True)
        if count
    ]
    for (level, margin), (next_level, next_margin) in pairwise(found):
        if margin < 15.9 <= next_margin:
            return level + (15.9 - margin) / (next_margin - margin) * (next_level - level)
    raise AssertionError("no threshold has the margin")


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_steady_tone_is_active_all_the_time(rate):
    level = active_level(0.3 * tone(rate, 5), rate)
    assert in_db(level.power) == pytest.approx(in_db(0.3**2 / 2), abs=0.03)
    assert level.activity == pytest.approx(1, abs=0.01)  # the envelope takes a moment to rise


@pytest.mark.parametrize("on_s, off_s", [(10, 10), (2, 6)])
def test_a_tone_that_comes_and_goes(on_s, off_s):
    rate = 8000
    period = np.concatenate([tone(rate, on_s), np.zeros(off_s * rate)])
    measured = active_level(np.tile(period, 4), rate)

    # After the tone the envelope is (2 / pi) (1 + t/T) exp(-t/T); active until it falls below the
    # threshold, 15.9 dB under the level that this very time gives, and for 0.2 s of hangover.
    def too_low(tail_s):
        level_db = in_db(0.5 * on_s / (on_s + tail_s + 0.2))
        envelope = 2 / math.pi * (1 + tail_s / 0.03) * math.exp(-tail_s / 0.03)
        return level_db - 15.9 - 20 * math.log10(envelope)

    active_s = on_s + brentq(too_low, 0.01, 0.5) + 0.2
    assert measured.activity == pytest.approx(active_s / (on_s + off_s), rel=0.01)
    assert in_db(measured.power) == pytest.approx(in_db(0.5 * on_s / active_s), abs=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_agrees_with_the_standard_step_by_step(seed):
    samples = speech_like(8000, seed)
    level = in_db(active_level(samples, 8000).power)
    filtered = high_pass(samples, 8000)
    assert level == pytest.approx(by_the_standard(filtered, 8000, 0.5), abs=0.02)
    # the standard's own thresholds are 6 dB apart; it requires an accuracy of 0.5 dB
    assert level == pytest.approx(by_the_standard(filtered, 8000, 20 * math.log10(2)), abs=0.5)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize(
    ("hertz", "lowest_db", "highest_db"),
    [(60, -80, -50), (200, -0.251, -0.249), (400, -0.001, 0), (3000, -1e-6, 1e-6)],
)
def test_rumble_and_hum_do_not_count(rate, hertz, lowest_db, highest_db):
    impulse = np.zeros(2 * rate)
    impulse[0] = 1
    wave = np.exp(-2j * np.pi * hertz / rate * np.arange(len(impulse)))
    response_db = 20 * math.log10(abs(np.vdot(wave, high_pass(impulse, rate))))
    assert lowest_db <= response_db <= highest_db
    quiet = 0.01 * tone(rate, 3)
    hum = 0.1 * np.sin(2 * np.pi * 60 / rate * np.arange(len(quiet)))
    difference = active_level(quiet + hum, rate).power / active_level(quiet, rate).power
    assert in_db(difference) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("gain_db", [-60, -20, -3, 20])
def test_a_gain_shifts_the_level_and_nothing_else(gain_db):
    samples = speech_like(8000, 3)
    level, shifted = (active_level(gain * samples, 8000) for gain in (1, 10 ** (gain_db / 20)))
    assert in_db(shifted.power) - in_db(level.power) == pytest.approx(gain_db, abs=1e-6)
    assert shifted.activity == pytest.approx(level.activity, rel=1e-6)


def test_silence_around_does_not_count():
    samples = speech_like(8000, 4)
    alone = np.concatenate([samples, np.zeros(4000)])  # room for the last hangover
    padded = np.concatenate([np.zeros(8000), alone, np.zeros(40000)])
    level, same = active_level(alone, 8000), active_level(padded, 8000)
    assert same.power == pytest.approx(level.power, rel=1e-9)
    assert same.activity * len(padded) == pytest.approx(level.activity * len(alone), rel=1e-9)


def test_clicks_and_integers_are_measured_and_silence_is_refused():
    click = np.zeros(8000)
    click[4000] = 1
    assert 0 < active_level(click, 8000).activity <= 1
    integers = np.round(1000 * tone(8000, 2)).astype(np.int16)
    assert active_level(integers, 8000).power == pytest.approx(1000**2 / 2, rel=0.02)
    with pytest.raises(ValueError, match="silent"):
        active_level(np.zeros(8000), 8000)
