"""Shifted copies and batches of short files, with a planted model whose answers are known."""

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.separate.files import separate_files
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.separate.options import FileOptions, RecordingOptions
from espnet2_tisdiss.separate.recordings import separate_chunks

RATE = 8000
LOW, HIGH = [0.5, 0.3, 0.2], [0.5, -0.3, -0.2]  # two "voices", which sum to the mixture


def voices(wave: np.ndarray) -> np.ndarray:
    return np.stack([lfilter(taps, 1, wave) for taps in (LOW, HIGH)])


class Linear:
    """A model of two filters: a shift of the mixture only shifts the estimates.

    Args:
        orders: the order of the speakers of each mixture in turn, as a model has none.
        offsets: what is added to the estimates of each mixture in turn.
    """

    sample_rate, num_spk, hop, fingerprint, calibration = RATE, 2, 64, "linear", None

    def __init__(self, orders=((0, 1),), offsets=(0.0,)):
        self._orders, self._offsets = orders, offsets
        self.batches: list[int] = []

    def depths(self, waves, n_re, scale):
        self.batches.append(len(waves))
        estimates = [
            voices(wave)[list(self._orders[number % len(self._orders)])]
            + self._offsets[number % len(self._offsets)]
            for number, wave in enumerate(waves)
        ]
        return {depth: [depth * estimate for estimate in estimates] for depth in n_re}


def noise(length: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def separated(model, waves, shifts, depths=(1,)):
    chunks = separate_chunks(model, waves, RecordingOptions(depths, shifts=shifts), None)
    assert [chunk.n_re for chunk in chunks] == [depths[-1]] * len(waves)
    return [chunk.estimates for chunk in chunks]


@pytest.mark.parametrize("shifts", [1, 2, 3, 5, 64])
def test_shifts_change_nothing_where_the_model_does_not_care(shifts):
    model, wave = Linear(), noise(700)
    ((found,),) = separated(model, [wave], shifts)
    np.testing.assert_allclose(found, voices(wave), rtol=0, atol=1e-12)
    assert model.batches == [shifts]


def test_speakers_of_shifted_copies_are_brought_into_one_order():
    wave = noise(700)
    model = Linear(orders=[(1, 0), (0, 1), (1, 0), (0, 1), (0, 1)])
    ((found,),) = separated(model, [wave], 5)
    np.testing.assert_allclose(found, voices(wave)[::-1], rtol=0, atol=1e-12)


def test_the_mean_is_over_the_copies_of_each_mixture_at_each_depth():
    waves = [noise(700, 1), noise(900, 2), noise(1, 3)]
    model = Linear(offsets=[0.0, 0.03, 0.06, 1.0, 1.03, 1.06])
    takes = separated(model, waves, 3, depths=(1, 4))
    assert model.batches == [9]
    for number, (wave, estimates) in enumerate(zip(waves, takes, strict=True)):
        for depth, estimate in zip((1, 4), estimates, strict=True):
            expected = depth * (voices(wave) + (number % 2) + 0.03)
            np.testing.assert_allclose(estimate, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_short_files_of_a_batch_are_as_alone(tmp_path, batch_size):
    lengths = [4000, 37, 1, 9000, 640, 20_000]  # the last one has three chunks
    items = []
    for number, length in enumerate(lengths):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, noise(length, number), RATE, "FLOAT")
        items.append(InputFile(path, tmp_path / "out", path.stem))
    items.insert(2, InputFile(tmp_path / "none.wav", tmp_path / "out", "none"))
    model = Linear()
    options = FileOptions((1,), batch_size=batch_size, chunk_seconds=1.0, overlap_seconds=0.25)
    results = list(separate_files(model, items, options))
    assert {result.source.stem: result.status for result in results} == {
        "none": "failed",
        **dict.fromkeys("012345", "done"),
    }
    chunks = sum(len(result.n_re) for result in results)
    assert sum(model.batches) == chunks and max(model.batches) == min(batch_size, chunks)
    for number, length in enumerate(lengths):
        expected = voices(without_rumble(noise(length, number), RATE))
        for speaker, wave in enumerate(expected, start=1):
            found, rate = soundfile.read(tmp_path / "out" / f"{number}_spk{speaker}.wav")
            assert (len(found), rate) == (length, RATE)
            if length <= RATE:  # chunks begin in the middle, where a filter has no past
                np.testing.assert_allclose(found, wave, rtol=0, atol=1e-5)
