"""Recordings of any length, rate and channel count, in memory."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soxr
import torch
from models import TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.options import RecordingOptions
from espnet2_tisdiss.separate.recordings import _mean_of_shifts

RATE = 8000


@pytest.fixture
def separate(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


def noise(length: int, channels: int | None = None) -> np.ndarray:
    shape = length if channels is None else (length, channels)
    return (0.1 * np.random.randn(*np.atleast_1d(shape))).astype(np.float32)


def whole(separate: SeparateSpeech, samples: np.ndarray, n_re: int) -> np.ndarray:
    """The model's estimates for an entire recording."""
    return separate.depths([samples], [n_re], "estimate")[n_re][0]


def test_what_is_no_longer_than_a_chunk_is_separated_as_it_is(separate):
    samples = noise(RATE)
    expected = whole(separate, without_rumble(samples, RATE), 3)
    for chunk_seconds in (1.0, 2.0):
        options = {"chunk_seconds": chunk_seconds, "overlap_seconds": 0.25, "scale": "estimate"}
        found = separate.recording(samples, RATE, n_re=3, **options)
        np.testing.assert_array_equal(found, expected)


def test_chunks_are_those_of_the_recording(separate):
    # the part of a chunk outside of overlaps equals the chunk's estimate
    samples = noise(3 * RATE)
    chunked = {"chunk_seconds": 1.0, "overlap_seconds": 0.25, "scale": "estimate"}
    found = separate.recording(samples, RATE, **chunked)
    first = whole(separate, without_rumble(samples, RATE)[:RATE], 2)
    np.testing.assert_array_equal(found[:, :6000], first[:, :6000])
    assert found.shape == (2, 3 * RATE)
    batched = separate.recording(samples, RATE, batch_size=3, **chunked)
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
    expected = whole(separate, there, 2)
    found = separate.recording(samples, 16000, scale="estimate", keep_rumble=True)
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
    estimate = separate.recording(samples, RATE, scale="estimate", **chunked)
    level = separate.recording(samples, RATE, **chunked)
    gains = (level / estimate)[:, :1]
    np.testing.assert_allclose(level, estimate * gains, atol=1e-6)
    assert np.square(samples - level.sum(0)).sum() < np.square(samples - estimate.sum(0)).sum()
    peak = separate.recording(samples, RATE, scale="peak", **chunked)
    np.testing.assert_allclose(peak, estimate * 0.9 / np.abs(estimate).max(), rtol=1e-5)
    mixture = separate.recording(samples, RATE, scale="mixture", **chunked)
    np.testing.assert_allclose(mixture.sum(0), without_rumble(samples, RATE), atol=1e-6)
    # one gain for both channels, so that their balance stays
    stereo = np.stack((samples, samples[::-1] / 10), axis=1)
    raw, peak = (
        separate.recording(stereo, RATE, channel="each", scale=scale, **chunked)
        for scale in ("estimate", "peak")
    )
    np.testing.assert_allclose(peak, raw * (0.9 / np.abs(raw).max()), rtol=1e-5, atol=1e-7)


def test_as_deep_as_a_time_allows(separate, monkeypatch, caplog):
    chunked = {"chunk_seconds": 1.0, "overlap_seconds": 0.25}
    samples = noise(2 * RATE + RATE // 2, 2)  # 2.5 s, in three chunks
    for options, n_re in (
        ({"rtf": 1e6}, 3),  # a third beyond the training's 2
        ({"rtf": 1e6, "n_re": 4}, 4),
        ({"seconds": 1e6, "channel": "each"}, 3),
        ({"rtf": 0}, 1),
    ):
        found = separate.recording(samples, RATE, **options, **chunked)
        alike = {"n_re": n_re, "channel": options.get("channel", "mean"), **chunked}
        np.testing.assert_array_equal(found, separate.recording(samples, RATE, **alike))
    assert "of 0 s allowed; N_re 1" in caplog.text  # only exceeded times are reported
    assert caplog.text.count("allowed") == 1


def test_a_time_is_for_all_channels_and_their_overlaps():
    budgets = []
    for options in ({"rtf": 0.5}, {"seconds": 2.5}):
        chosen = RecordingOptions(chunk_seconds=1.0, overlap_seconds=0.25, **options)
        budgets.append(chosen.budget([[2.5, 2.5]], RATE))
    budgets = [
        vars(budget) | {"_depth": vars(budget._depth)}
        for budget in (*budgets, TimeBudget(2.5, 6.0))
    ]
    assert budgets[0] == budgets[1] == budgets[2]
    assert RecordingOptions().budget([[2.5]], RATE) is None


def test_stops_by_itself_chunk_by_chunk(separate):
    samples = noise(2 * RATE)
    chunked = {"chunk_seconds": 1.0, "overlap_seconds": 0.0}
    # any change is small against +200 dB: two repetitions
    found = separate.recording(samples, RATE, n_re=6, stop_db=200.0, **chunked)
    np.testing.assert_array_equal(found, separate.recording(samples, RATE, n_re=2, **chunked))


def test_shifts_average_shifted_copies(separate):
    samples = noise(RATE)
    options = {"scale": "estimate", "keep_rumble": True}
    copies = [whole(separate, np.pad(samples, (shift, 0)), 2)[:, shift:] for shift in (0, 21, 42)]
    # hop 64; the model may give the speakers of a copy in another order
    pairs = [copies[0] @ copy.T for copy in copies]
    expected = np.mean(
        [
            copy if np.trace(pair) >= np.trace(pair[::-1]) else copy[::-1]
            for copy, pair in zip(copies, pairs, strict=True)
        ],
        axis=0,
    )
    found = separate.recording(samples, RATE, n_re=2, shifts=3, **options)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(found - copies[0]).max() > 1e-3 * np.abs(expected).max()


def test_shifts_keep_the_order_of_the_speakers():
    first = np.random.randn(3, 500)
    swapped = np.pad(first[[2, 0, 1]] + 1, ((0, 0), (7, 0)))
    np.testing.assert_allclose(_mean_of_shifts([0, 7], [first, swapped]), first + 0.5)


def test_depths_far_beyond_the_training_are_warned_of(separate, caplog):
    for n_re in (1, 2, 4):  # trained at 2
        separate.recording(noise(100), RATE, n_re=n_re)
    assert "far beyond" not in caplog.text
    separate.recording(noise(100), RATE, n_re=5)
    assert "N_re 5 is far beyond the 2 of the training: deeper than 3 is slower" in caplog.text


@pytest.mark.parametrize("path", ["talk.wav", Path("talk.wav")])
def test_a_path_is_answered_with_the_right_call(separate, path):
    for call in (
        separate,
        separate.recording,
        lambda path: separate.recording(path, RATE),
        lambda path: separate.depths(path, [1]),
        lambda path: separate.batch([path]),
    ):
        with pytest.raises(TisdissError, match=r"^talk.wav: is a path.*model\.file\(path\)"):
            call(path)
    with pytest.raises(TisdissError, match="needs the sample rate"):
        separate.recording(noise(100))


def test_what_is_no_recording_is_refused(separate):
    for samples in (noise(0), np.ones((2, 3, 4))):
        with pytest.raises(TisdissError, match=r"must be samples \(n,\) or"):
            separate.recording(samples, RATE)
    with pytest.raises(TisdissError, match="the recording: sample 1 is nan, not a finite number"):
        separate.recording(np.array([1.0, np.nan]), RATE)
    for options in ({"n_re": 0}, {"channel": "up"}, {"scale": "loud"}, {"overlap_seconds": 9.0}):
        with pytest.raises(ValueError, match=next(iter(options)).split("_")[0]):
            separate.recording(noise(100), RATE, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_re": [1, 0]}, "n_re must be an integer from 1 to 1000; got 0"),
        ({"channel": "up"}, "channel must be one of mean, left"),
        ({"scale": "loud"}, "scale must be one of estimate, peak"),
        ({"batch_size": 0}, "batch_size must be an integer from 1 to 1024"),
        ({"rtf": -1.0}, "rtf must be a number in"),
        ({"rtf": 1.0, "seconds": 1.0}, "rtf and seconds exclude each other"),
        ({"stop_db": -10, "all_depths": True}, "stop_db and all_depths exclude each other"),
        ({"n_re": [1, 2], "stop_db": -30.0}, "several n_re cannot be combined with stop_db"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        RecordingOptions(**options)


def test_depths_are_sorted():
    assert RecordingOptions((3, 1, 3)).depths == (1, 3)
    assert (RecordingOptions(2).depths, RecordingOptions().depths) == ((2,), ())


@pytest.fixture
def low_and_high(espnet_model) -> SeparateSpeech:
    """A complete TISDiSS with weights that split voices at 2 kHz."""
    options = {"band_split": [33, 32], "mask": True, "spk_spliter_type": "conv2d"}
    _, config, weights = espnet_model(separator_conf={**TINY, **options})
    separate = SeparateSpeech(config, weights)
    separator = separate.separator
    with torch.no_grad():
        for part in (separator.encoder_blocks, separator.reconstructor_blocks):
            for parameter in part.parameters():
                parameter.zero_()  # only the residual connection is left
        separator.spk_spliter.conv2d.weight.zero_()
        # stream j is 1 in channel j, and channel j opens band j
        separator.spk_spliter.conv2d.bias.copy_(torch.eye(2, TINY["emb_dim"]).flatten())
        masks = separator.reconstructor_deconv  # (band, h, real and imaginary parts)
        masks.bias.zero_()
        masks.weight.zero_()
        masks.weight[0, 0, ::2] = masks.weight[1, 1, ::2] = 1
    return separate


def talk(band: tuple[int, int], turns: list[tuple[float, float]], seconds: float) -> np.ndarray:
    """A voice in a frequency band in Hz, from one time to another in seconds."""
    sos = scipy.signal.butter(6, band, "bandpass", fs=RATE, output="sos")
    time = np.arange(round(seconds * RATE)) / RATE
    heard = sum(np.clip(20 * np.minimum(time - a, b - time), 0, 1) for a, b in turns)
    return (scipy.signal.sosfilt(sos, noise(len(time))) * heard).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_chunks_in_any_order_are_the_whole_on_voices_with_pauses(low_and_high, rate, monkeypatch):
    # chunks of 4 s every 3 s: the overlaps hold both voices, one of them, and (9 to 10 s) none
    low = talk((200, 1200), [(0, 2), (3, 5.5), (8, 8.9), (11, 15), (18.5, 21)], 22)
    high = talk((2400, 3400), [(1, 4), (6, 7.5), (8.2, 8.8), (10.2, 12), (15, 20)], 22)
    mixture = low + high
    expected = whole(low_and_high, mixture, 2)
    assert np.square(expected[0] - low).sum() < 1e-2 * np.square(low).sum()  # the plant works
    if rate != RATE:
        mixture = soxr.resample(mixture, RATE, rate)
        expected = soxr.resample(expected.T, RATE, rate).T
    right_order, calls = low_and_high.depths, []

    def in_any_order(waves, n_re, scale):
        calls.append(1)
        turned = len(calls) % 3 == 2
        return {
            n: [w[::-1] if turned else w for w in v]
            for n, v in right_order(waves, n_re, scale).items()
        }

    monkeypatch.setattr(low_and_high, "depths", in_any_order)
    found = low_and_high.recording(mixture, rate, chunk_seconds=4.0, overlap_seconds=1.0)
    assert len(calls) == 7
    error = np.square(found - expected).sum(1) / np.square(expected).sum(1)
    assert (10 * np.log10(error) < -80).all()


@pytest.mark.parametrize("rate", [8000, 16000])
def test_an_offset_and_rumble_change_nothing(low_and_high, rate):
    # the first second begins loud: an offset has to be gone from the first sample on
    speech = talk((200, 1200), [(-1, 2)], 3) + talk((2400, 3400), [(-1, 1), (2, 4)], 3)
    speech = np.repeat(speech, rate // RATE) if rate != RATE else speech
    time = np.arange(len(speech)) / rate
    options = {"n_re": 1, "chunk_seconds": 1.0, "overlap_seconds": 0.25}
    clean = low_and_high.recording(speech, rate, **options)
    for offset in (0.01, 0.03, 0.1, -1.0):
        found = low_and_high.recording(speech + np.float32(offset), rate, **options)
        np.testing.assert_allclose(found, clean, atol=1e-5)
    rumble = 0.1 * np.cos(2 * np.pi * 8 * time).astype(np.float32)
    found = low_and_high.recording(speech + rumble, rate, **options)
    edge = rate // 20  # where mirroring bends the rumble
    np.testing.assert_allclose(found[:, edge:-edge], clean[:, edge:-edge], atol=5e-4)
    np.testing.assert_allclose(found, clean, atol=0.02)
    kept = low_and_high.recording(speech + np.float32(0.1), rate, keep_rumble=True, **options)
    assert np.abs(kept.mean(1)).max() > 0.05


@pytest.mark.parametrize("length", [64 * 100 + 62, 64 * 100 + 1, 64 * 100])
def test_the_end_of_a_recording_is_no_click(separate, length):
    # even where the last samples are at the edge of a single frame's window
    found = separate.recording(noise(length), RATE)
    assert np.abs(found[:, -64:]).max() < 2 * np.abs(found[:, :-64]).max()
