"""Rendering scenes with known waveforms: levels, silence, noise, speed, rooms and pauses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from small_bank import RATE, everybody, said, tone, training_split, write_small_bank

from espnet2_tisdiss.mixing.rendering import PauseError, render
from espnet2_tisdiss.mixing.scenes import Scene, Voice, changed_length

LENGTH = RATE  # a second


@pytest.fixture
def bank(tmp_path):
    return training_split(write_small_bank(tmp_path))


def voice(bank, speaker: int, **changes) -> Voice:
    """All speech of a speaker of the bank, from its start, for one second."""
    who = bank.speakers[speaker]
    return replace(Voice(who.name, who.utterances, 1.0, 0, 0, LENGTH, 0.0), **changes)


def scene(bank, first=None, second=None, **changes) -> Scene:
    """A scene of the first two speakers, with changes of each voice and of the scene."""
    voices = (voice(bank, 0, **(first or {})), voice(bank, 1, **(second or {})))
    return replace(Scene(voices, LENGTH), **changes)


def decibel(signal: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(signal, dtype=np.float64)))


def pitch(signal: np.ndarray) -> float:
    """The frequency of a tone in Hz, to a tenth."""
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 10 * RATE))
    return float(spectrum.argmax() / 10)


def test_signals_are_finite_float32_with_a_peak_of_0_9(bank):
    signals = render(bank, scene(bank, noise=bank.noises[0], room=0))
    assert list(signals) == ["mix", "s1", "s2"]
    for signal in signals.values():
        assert signal.dtype == np.float32 and signal.shape == (LENGTH,)
        assert np.isfinite(signal).all()
    assert max(np.abs(signal).max() for signal in signals.values()) == pytest.approx(0.9)


@pytest.mark.parametrize("gain_db", [0.0, 2.5, -1.7])
def test_levels_are_as_drawn_however_loud_the_recordings(bank, gain_db):
    # the recordings of the second speaker are three times as loud
    signals = render(bank, scene(bank, {"gain_db": gain_db}, {"gain_db": -gain_db}))
    difference = decibel(signals["s1"]) - decibel(signals["s2"])
    assert difference == pytest.approx(2 * gain_db, abs=0.01)


def test_without_noise_the_mixture_is_the_sum(bank):
    signals = render(bank, scene(bank, {"gain_db": 1.3}, {"start": 3000}, room=1))
    np.testing.assert_allclose(signals["mix"], signals["s1"] + signals["s2"], atol=2e-7)


@pytest.mark.parametrize("span", [(0, 5000), (3001, LENGTH)])
def test_a_speaker_is_silent_outside_of_its_span(bank, span):
    start, stop = span
    signals = render(bank, scene(bank, None, {"start": start, "stop": stop}))
    second = signals["s2"]
    assert not second[:start].any() and not second[stop:].any()
    assert second[start : start + 3].any() and second[stop - 3 : stop].any()
    # as loud as the other while it speaks
    heard = decibel(second[start:stop]) - decibel(signals["s1"])
    assert heard == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("snr_db", [5.0, 20.0])
def test_noise_is_so_much_softer_than_the_louder_speaker(bank, snr_db):
    loud, soft = {"gain_db": 2.0}, {"gain_db": -2.0}
    noisy = scene(bank, soft, loud, noise=bank.noises[0], noise_snr_db=snr_db)
    signals = render(bank, noisy)
    noise = signals["mix"] - signals["s1"] - signals["s2"]
    assert decibel(signals["s2"]) - decibel(noise) == pytest.approx(snr_db, abs=0.01)


def test_a_noise_begins_at_its_offset_and_anew_at_its_end(bank):
    noise = bank.noises[0]
    assert noise.length == round(0.7 * 4 * RATE)  # the training's share
    offset = noise.length - 3000
    signals = render(bank, scene(bank, noise=noise, noise_offset=offset, noise_snr_db=0.0))
    found = signals["mix"] - signals["s1"] - signals["s2"]
    recorded = bank.noise(noise)
    expected = np.concatenate([recorded[offset:], recorded[: LENGTH - 3000]])
    scale = np.dot(found, expected) / np.dot(expected, expected)
    np.testing.assert_allclose(found, scale * expected, atol=1e-6)


def test_a_noise_shorter_than_the_mixture_is_repeated(bank):
    short = replace(bank.noises[0], length=1700)
    signals = render(bank, scene(bank, noise=short, noise_offset=700, noise_snr_db=0.0))
    noise = signals["mix"] - signals["s1"] - signals["s2"]
    np.testing.assert_allclose(noise[1700:], noise[:-1700], atol=1e-6)


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.1])
def test_speed_changes_pitch_and_duration(bank, speed):
    first, second = bank.speakers[0].utterances  # 400 Hz, then 450 Hz, two seconds each
    length = changed_length(first.length, speed) + changed_length(second.length, speed)
    voices = (voice(bank, 0, speed=speed, stop=length), voice(bank, 1, stop=2 * RATE))
    signal = render(bank, Scene(voices, length))["s1"]
    boundary = changed_length(first.length, speed)
    assert abs(boundary - 2 * RATE / speed) <= 0.5
    assert pitch(signal[:boundary]) == pytest.approx(400 * speed, abs=0.1)
    assert pitch(signal[boundary:]) == pytest.approx(450 * speed, abs=0.1)
    # neither too short nor cut: both tones are as loud at their ends as within
    for end in (boundary, length):
        last = signal[end - 160 : end]
        assert decibel(last) == pytest.approx(decibel(signal), abs=0.5)


def test_a_voice_leaves_out_what_comes_before_its_offset(bank):
    utterance = bank.speakers[0].utterances[0]
    signal = render(bank, scene(bank, {"offset": 1000}))["s1"]
    recorded = bank.speech(utterance)[1000 : 1000 + LENGTH]
    np.testing.assert_allclose(signal / signal.max(), recorded / recorded.max(), atol=1e-5)


def test_a_room_adds_its_echoes_and_keeps_the_level(bank):
    gains = ({"gain_db": 2.0, "place": 1}, {"gain_db": -2.0, "place": 0})
    dry, wet = (render(bank, scene(bank, *gains, room=room)) for room in (-1, 2))
    for name, place in (("s1", 1), ("s2", 0)):
        expected = lfilter(bank.rooms[2, place], 1, dry[name])
        scale = np.dot(wet[name], expected) / np.dot(expected, expected)
        np.testing.assert_allclose(wet[name], scale * expected, atol=1e-5)
    difference = decibel(wet["s1"]) - decibel(wet["s2"])
    assert difference == pytest.approx(4.0, abs=0.01)


def test_a_room_in_which_nothing_is_heard_is_no_scene(tmp_path):
    silent = np.zeros((4, 2, 100), np.float32)
    bank = training_split(write_small_bank(tmp_path, rooms=silent))
    with pytest.raises(PauseError, match="^anna: is silent in room 1$"):
        render(bank, scene(bank, {"place": 0}, {"place": 1}, room=1))


def test_a_pause_is_no_scene(tmp_path):
    pausing = np.concatenate([tone(400, 1.0), np.zeros(2 * RATE, np.int16)])
    speech = [(said("adam", sex="M"), pausing), *everybody()]
    bank = training_split(write_small_bank(tmp_path, speech))
    render(bank, scene(bank, {"offset": RATE - 200}))  # a fortieth of it is enough
    with pytest.raises(PauseError, match="^adam: is nearly silent in this scene$"):
        render(bank, scene(bank, {"offset": RATE + 100}))
