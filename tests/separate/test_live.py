"""Separation while the sound arrives: the result, its latency, and the depth under load."""

import numpy as np
import pytest
from models import TINY
from scipy.signal import butter, sosfilt

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.separate.interface import Estimate
from espnet2_tisdiss.separate.live import LiveSeparator

RATE = 8000
LATENCY = 0.1
KERNEL = np.hanning(41) / np.hanning(41).sum()


class Splitter:
    """A model that knows the answer: the lower and the upper frequencies of its window.

    As with a separator, the order of the two changes from window to window, and they are too loud.
    Each repetition takes ``seconds`` of a planted clock.
    """

    sample_rate, num_spk, hop, look_ahead = RATE, 2, 64, None

    def __init__(self, seconds=0.0):
        self.now, self.seconds = 0.0, seconds
        self.rng = np.random.default_rng(0)
        self.windows = []

    def clock(self):
        return self.now

    def resolve_depth(self, n_re=None):
        return n_re or 4

    def anytime(self, mixtures, n_re=None, scale="mixture"):
        assert scale == "estimate"
        (window,) = mixtures
        self.windows.append(len(window))
        order = self.rng.permutation(2)
        for depth in range(1, n_re + 1):
            self.now += self.seconds
            yield Estimate(np.array([depth]), [2.5 * split(window)[order]])

    def depths(self, mixtures, n_re, scale="mixture"):
        return {depth: one.waves for depth in n_re for one in self.anytime(mixtures, depth, scale)}


def split(signal):
    low = np.convolve(signal, KERNEL)[len(KERNEL) // 2 :][: len(signal)]
    return np.stack([low, signal - low]).astype(np.float32)


@pytest.fixture
def mixture():
    """A low and a high tone that come and go, 3 s, without anything below 20 Hz."""
    n = np.arange(3 * RATE)
    low = np.sin(2 * np.pi * 200 * n / RATE) * (1 + np.sin(2 * np.pi * 1.3 * n / RATE))
    high = np.sin(2 * np.pi * 2500 * n / RATE) * (1 + np.cos(2 * np.pi * 0.7 * n / RATE))
    return (0.2 * low + 0.1 * high).astype(np.float32)


def separated(live, mixture, sizes=(100,)):
    """Push in blocks of the sizes, over and over; return the result."""
    parts, at, turn, sent, waits = [], 0, 0, 0, [0]
    while at < len(mixture):
        block = mixture[at : at + sizes[turn % len(sizes)]]
        parts.append(live.push(block))
        at, turn, sent = at + len(block), turn + 1, sent + parts[-1].shape[1]
        waits.append(at - sent)
    assert live.longest_wait == max(waits) / live.rate
    return np.concatenate([*parts, live.finish()], axis=1)


def test_the_speakers_come_out_in_order_and_at_their_level(mixture):
    live = LiveSeparator(Splitter(), RATE, LATENCY, window=0.5)
    found = separated(live, mixture)
    assert found.shape == (2, len(mixture))
    assert live.longest_wait <= LATENCY
    # the filter against rumble, which has no delay, shifts the phase at 200 Hz by some degrees
    sections = butter(2, 20, "highpass", fs=RATE, output="sos")
    inner, expected = found[:, RATE:], split(sosfilt(sections, mixture))[:, RATE:]
    error = np.square(inner - expected).sum(1) / np.square(expected).sum(1)
    assert (10 * np.log10(error) < -30).all(), error


def test_the_result_does_not_depend_on_the_blocks(mixture):
    runs = [
        separated(LiveSeparator(Splitter(), RATE, LATENCY, window=0.4), mixture, sizes)
        for sizes in [(100,), (1, 777, 4000), (len(mixture),)]
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


@pytest.mark.parametrize("length", [0, 1, 150, 400, 401, 850])
def test_streams_of_any_length_come_out_whole(mixture, length):
    live = LiveSeparator(Splitter(), RATE, LATENCY, window=0.4)
    found = separated(live, mixture[:length])
    assert found.shape == (2, length) and np.isfinite(found).all()


def test_windows_have_their_length_and_come_every_hop(mixture):
    model = Splitter()
    live = LiveSeparator(model, RATE, LATENCY, window=0.4)
    separated(live, mixture)
    hop = round(LATENCY / 2 * RATE)
    assert model.windows[:10] == [hop * number for number in range(1, 9)] + [3200, 3200]
    assert live.windows == len(model.windows) == len(mixture) // hop


def test_a_causal_model_hears_no_more_than_it_looks_ahead(mixture):
    model = Splitter()
    model.look_ahead = 128
    live = LiveSeparator(model, RATE, LATENCY, window=0.4)
    found = separated(live, mixture)
    assert found.shape == (2, len(mixture))
    assert model.windows[:2] == [RATE * LATENCY - 128, 2 * (RATE * LATENCY - 128)]
    assert live.longest_wait <= LATENCY
    with pytest.raises(OptionError, match=r"latency must be a number in \[0\.024"):
        LiveSeparator(model, RATE, 0.02)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_another_rate_is_resampled(mixture, rate):
    n = np.arange(2 * rate)
    tone = 0.2 * np.sin(2 * np.pi * 2000 * n / rate)
    live = LiveSeparator(Splitter(), rate, LATENCY, window=0.4)
    found = separated(live, tone, (rate // 50,))
    assert found.shape == (2, len(tone))
    assert live.longest_wait <= LATENCY + 0.25
    quiet, loud = sorted(np.square(found[:, rate:]).mean(1))
    assert loud == pytest.approx(0.02, rel=0.01) and quiet < 1e-4


def test_an_offset_is_removed_from_the_start(mixture):
    live = LiveSeparator(Splitter(), RATE, LATENCY, window=0.4)
    found = separated(live, mixture + np.float32(0.5))
    still = separated(LiveSeparator(Splitter(), RATE, LATENCY, window=0.4), mixture)
    np.testing.assert_allclose(found, still, atol=1e-4)


# --- under load -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "depth"),
    # of the 50 ms of a hop, 40 may be used
    [(0.001, 4), (0.012, 3), (0.019, 2), (0.03, 1)],
)
def test_the_depth_fits_the_time_of_a_hop(mixture, seconds, depth):
    model = Splitter(seconds)
    live = LiveSeparator(model, RATE, LATENCY, window=0.4, keep_up=True, clock=model.clock)
    separated(live, mixture, (400,))
    assert live.n_re == depth and live.late == 0


def test_the_depth_comes_back_when_the_load_goes(mixture):
    model = Splitter(0.03)
    live = LiveSeparator(model, RATE, LATENCY, window=0.4, keep_up=True, clock=model.clock)
    for block in np.split(mixture[:8000], 20):
        live.push(block)
    assert live.n_re == 1
    model.seconds = 0.001
    live.push(mixture[8000:8400])
    assert live.n_re == 4


def test_a_machine_that_falls_behind_shares_windows(mixture):
    model = Splitter(0.2)  # four hops for one repetition
    live = LiveSeparator(model, RATE, LATENCY, window=0.5, keep_up=True, clock=model.clock)
    waiting, parts, at = 0, [], 0
    while at < len(mixture):
        # samples that have arrived in the sound card's buffer
        due = min(len(mixture), max(at + 1, round(model.now * RATE)))
        parts.append(live.push(mixture[at:due]))
        waiting = max(waiting, due - at)
        at = due
    parts.append(live.finish())
    assert sum(part.shape[1] for part in parts) == len(mixture)
    assert 0 < live.late <= live.windows < len(mixture) / (LATENCY / 2 * RATE) / 3
    assert waiting <= 0.25 * RATE  # it does not fall behind permanently


# --- a real model ---------------------------------------------------------------------------------


@pytest.fixture
def tiny(espnet_model):
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


def test_a_loaded_model_separates_live(tiny):
    model = tiny
    rng = np.random.default_rng(0)
    live = model.live(model.sample_rate, latency=0.3, window=0.6, n_re=2)
    mixture = rng.standard_normal(model.sample_rate).astype(np.float32)
    found = separated(live, mixture, (500,))
    assert found.shape == (model.num_spk, len(mixture)) and found.any()
    assert live.longest_wait <= 0.3


@pytest.mark.parametrize(
    "options",
    [{"latency": 0.001}, {"latency": 1.0, "window": 0.5}, {"n_re": 0}, {"window": 1e9}],
)
def test_options_out_of_range_are_refused(tiny, options):
    with pytest.raises(OptionError):
        tiny.live(RATE, **options)


@pytest.mark.parametrize("block", [np.zeros((2, 100)), np.array([0.0, np.nan])])
def test_a_block_of_another_kind_is_refused(block):
    with pytest.raises(TisdissError):
        LiveSeparator(Splitter(), RATE, LATENCY).push(block)


def tiny_model(espnet_model, is_causal: bool) -> SeparateSpeech:
    conf = {**TINY, "mask": True, "causal": is_causal}
    _, config, weights = espnet_model(separator_conf=conf, model_conf={})
    return SeparateSpeech(config, weights)


def futures(known: int) -> tuple[np.ndarray, np.ndarray]:
    """Two mixtures that are the same up to a sample."""
    mixtures = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    mixtures[1, :known] = mixtures[0, :known]
    return mixtures[0], mixtures[1]


@pytest.mark.parametrize("is_causal", [True, False])
def test_only_a_causal_model_leaves_the_past_as_it_is(espnet_model, is_causal):
    model, known = tiny_model(espnet_model, is_causal), 5000
    assert model.look_ahead == (128 if is_causal else None)
    found, other = (model.depths([wave], [2], "estimate")[2][0] for wave in futures(known))
    settled = known - 128
    error = np.abs(found - other).max(0) / np.abs(found).max()
    assert (error[:settled].max() < 1e-6) == is_causal
    assert error[known:].max() > 0.1


@pytest.mark.parametrize("is_causal", [True, False])
def test_a_causal_model_s_past_is_as_it_is_in_live_windows_too(espnet_model, is_causal):
    model, known, latency = tiny_model(espnet_model, is_causal), 5000, 0.4
    lives = [model.live(RATE, latency=latency, window=1.0) for _ in range(2)]
    found, other = (separated(*each) for each in zip(lives, futures(known), strict=True))
    # samples that were output before the changed sample arrived
    gone = known - round(latency * RATE)
    np.testing.assert_array_equal(found[:, :gone], other[:, :gone])
    # later output has another level, which depends on the window, but the same shape
    settled = slice(3300, 4800)  # output of one hop, whose window ended before `known`
    pairs = zip(found[:, settled], other[:, settled], strict=True)
    likeness = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    assert np.isfinite(likeness).all() and (min(likeness) > 1 - 1e-6) == is_causal
