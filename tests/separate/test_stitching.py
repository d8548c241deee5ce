from itertools import pairwise
from math import inf, nan

import numpy as np
import pytest
from scipy.signal import lfilter

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.chunking import Chunk, Chunker, Chunking
from espnet2_tisdiss.separate.stitching import Stitcher

RATE = 8000
# of the voices' resonances, in Hz
FORMANTS = [(700, 1200), (300, 2300), (450, 3200)]


def cut(samples: np.ndarray, chunking: Chunking, sizes=(1000,)) -> list[Chunk]:
    """Push in blocks of the sizes, over and over."""
    chunker, chunks, at, turn = Chunker(chunking), [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        chunks += chunker.push(samples[at : at + size])
        at, turn = at + size, turn + 1
    return chunks + chunker.finish()


def voices(rng: np.random.Generator, num_spk: int, seconds: float) -> np.ndarray:
    """Return noise (j, n) with different resonances for each speaker, in syllables, at level 1."""
    n = round(seconds * RATE)
    result = []
    for formants in FORMANTS[:num_spk]:
        voice = rng.standard_normal(n)
        for formant in formants:
            radius = np.exp(-np.pi * 150 / RATE)
            pole = 2 * radius * np.cos(2 * np.pi * formant / RATE)
            voice = lfilter([1.0], [1.0, -pole, radius**2], voice)
        syllables = np.interp(
            np.arange(n) / 1000, np.arange(n // 1000 + 2), rng.random(n // 1000 + 2)
        )
        voice = voice * syllables
        result.append(voice / voice.std())
    return np.array(result, np.float32)


def silence(sources: np.ndarray, speaker: int | slice, start: float, end: float) -> None:
    sources[speaker, round(start * RATE) : round(end * RATE)] = 0


def stitch(sources, rng, chunking, leak=0.0, gain_db=0.0, scale=1.0, noise=1e-4):
    """Stitch perfect estimates, or spoilt ones, in planted orders; return stitcher and result."""
    num_spk = len(sources)
    mixing = np.eye(num_spk) + leak * (1 - np.eye(num_spk))
    stitcher, parts, planted = Stitcher(RATE), [], []
    for chunk in cut(np.arange(sources.shape[1]), chunking):
        estimate = mixing @ sources[:, chunk.samples]
        estimate += noise * rng.standard_normal(estimate.shape)
        estimate *= scale * 10 ** (rng.uniform(-gain_db, gain_db, (num_spk, 1)) / 20)
        order = rng.permutation(num_spk)
        parts.append(stitcher.push(chunk.start, estimate[order].astype(np.float32)))
        planted.append(np.argsort(order))  # where each speaker is in the chunk
    result = np.concatenate([*parts, stitcher.finish()], axis=1)
    # the recording's order is the first chunk's
    expected = [tuple(where[np.argsort(planted[0])].tolist()) for where in planted]
    return stitcher, result[planted[0]], expected


@pytest.mark.parametrize("length, overlap", [(0, 0), (10, 10), (10, 11), (10, -1), (10.5, 2)])
def test_chunking_out_of_range_is_refused(length, overlap):
    with pytest.raises(ValueError, match="length|overlap"):
        Chunking(length, overlap)


def test_cross_fade_is_a_raised_cosine():
    stitcher = Stitcher(RATE)
    parts = [
        stitcher.push(0, np.zeros((1, 10))),
        stitcher.push(6, np.ones((1, 10))),
        stitcher.finish(),
    ]
    # sin^2 at the centres of the four samples: pi/16, 3 pi/16, ...
    fade = [0.0380602337, 0.3086582838, 0.6913417162, 0.9619397663]
    assert np.allclose(np.concatenate(parts, 1)[0], [0] * 6 + fade + [1] * 6, rtol=0, atol=1e-9)


def test_chunking_in_seconds():
    assert Chunking.in_seconds(16000, 4, 0.5) == Chunking(64000, 8000)
    assert Chunking.in_seconds(16000, 4) == Chunking(64000, 16000)
    for length, overlap in [(1, 1), (1, -0.5), (0, 0), (1e-6, None), (inf, None), (8, nan)]:
        with pytest.raises(TisdissError, match="longer chunk or a shorter overlap"):
            Chunking.in_seconds(16000, length, overlap)


@pytest.mark.parametrize("length", [1, 49, 50, 51, 300])
@pytest.mark.parametrize("overlap", [0, 20, 49])
def test_what_chunks_come_to(length, overlap):
    chunking = Chunking(50, overlap)
    chunks = cut(np.zeros(length), chunking)
    assert chunking.separated(length) == sum(len(chunk.samples) for chunk in chunks)


@pytest.mark.parametrize("length, overlap", [(1, 0), (7, 0), (7, 3), (50, 49), (64, 32), (97, 1)])
def test_chunks_of_any_recording_in_any_blocks(length, overlap):
    chunking = Chunking(length, overlap)
    for n in (1, 2, length, length + 1, 2 * length - overlap, 3 * length, 500):
        samples = np.random.randn(n).astype(np.float32)
        whole = cut(samples, chunking, [n])
        for sizes in ([1], [3, 0, 11], [1000]):
            chunks = cut(samples, chunking, sizes)
            assert [chunk.start for chunk in chunks] == [chunk.start for chunk in whole]
            for chunk in chunks:
                assert len(chunk.samples) == min(length, n)
                end = chunk.start + len(chunk.samples)
                np.testing.assert_array_equal(chunk.samples, samples[chunk.start : end])
        steps = [after.start - before.start for before, after in pairwise(chunks)]
        assert all(step == length - overlap for step in steps[:-1])
        assert all(0 < step <= length - overlap for step in steps)
        assert chunks[0].start == 0 and end == n


@pytest.mark.parametrize("length, overlap", [(1, 0), (200, 0), (200, 3), (200, 150), (900, 300)])
def test_chunked_identity_is_exact(length, overlap):
    for n in (1, 199, 200, 201, 350, 1999):
        source = np.random.randn(1, n).astype(np.float32)
        stitcher, parts = Stitcher(RATE), []
        for chunk in cut(source[0], Chunking(length, overlap)):
            parts.append(stitcher.push(chunk.start, chunk.samples[None]))
        result = np.concatenate([*parts, stitcher.finish()], axis=1)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, source)


@pytest.mark.parametrize("rate, num_spk", [(8000, 2), (16000, 3), (48000, 2)])
def test_identity_is_exact_whatever_the_order_of_the_speakers(rate, num_spk):
    rng = np.random.default_rng(rate)
    for length, overlap in [(900, 400), (2000, 500), (2000, 1990)]:
        sources = rng.standard_normal((num_spk, 6007)).astype(np.float32)
        stitcher, parts, first = Stitcher(rate), [], None
        for chunk in cut(np.arange(6007), Chunking(length, overlap)):
            order = rng.permutation(num_spk)
            first = order if first is None else first
            parts.append(stitcher.push(chunk.start, sources[order][:, chunk.samples]))
        result = np.concatenate([*parts, stitcher.finish()], axis=1)
        np.testing.assert_array_equal(result, sources[first])


SPOILT = {
    "clean": {},
    "leaky": {"leak": 0.1},
    "gains": {"gain_db": 3.0},
    "all": {"leak": 0.1, "gain_db": 3.0, "scale": 80.0, "noise": 1e-2},
    "faint": {"leak": 0.1, "gain_db": 3.0, "scale": 1e-4, "noise": 1e-2},
}


@pytest.fixture(params=SPOILT)
def spoilt(request) -> dict[str, float]:
    return SPOILT[request.param]


def assert_in_order(sources, chunking, rng, spoilt, margin=1.0):
    for _ in range(3):
        stitcher, result, expected = stitch(sources, rng, chunking, **spoilt)
        assert stitcher.orders == expected
        assert len(stitcher.margins) == len(expected)
        assert min(stitcher.margins) > margin
        assert result.shape == sources.shape
        for wave, source in zip(result, sources, strict=True):
            assert np.corrcoef(wave, source)[0, 1] > 0.9


@pytest.mark.parametrize("num_spk", [2, 3])
def test_order_where_all_talk(spoilt, num_spk):
    rng = np.random.default_rng(0)
    sources = voices(rng, num_spk, 20.0)
    assert_in_order(sources, Chunking.in_seconds(RATE, 4, 1), rng, spoilt)


def test_order_where_one_is_silent_in_the_overlap(spoilt):
    rng = np.random.default_rng(1)
    sources = voices(rng, 2, 22.0)
    for number, overlap_start in enumerate(range(3, 22, 3)):
        silence(sources, number % 2, overlap_start, overlap_start + 1)
    assert_in_order(sources, Chunking.in_seconds(RATE, 4, 1), rng, spoilt)


@pytest.mark.parametrize("num_spk", [2, 3])
def test_order_where_all_are_silent_in_the_overlap(spoilt, num_spk):
    rng = np.random.default_rng(2)
    sources = voices(rng, num_spk, 22.0)
    for overlap_start in range(3, 22, 3):
        silence(sources, slice(None), overlap_start, overlap_start + 1)
    assert_in_order(sources, Chunking.in_seconds(RATE, 4, 1), rng, spoilt)


def test_order_without_overlap(spoilt):
    rng = np.random.default_rng(3)
    sources = voices(rng, 2, 16.0)
    assert_in_order(sources, Chunking.in_seconds(RATE, 4, 0), rng, spoilt)


def test_order_of_three_of_whom_two_are_silent_in_the_overlap(spoilt):
    rng = np.random.default_rng(4)
    sources = voices(rng, 3, 22.0)
    for number, overlap_start in enumerate(range(3, 22, 3)):
        for quiet in {0, 1, 2} - {number % 3}:
            silence(sources, quiet, overlap_start, overlap_start + 1)
    assert_in_order(sources, Chunking.in_seconds(RATE, 4, 1), rng, spoilt)


def test_order_after_one_was_silent_for_several_chunks(spoilt):
    rng = np.random.default_rng(5)
    sources = voices(rng, 2, 31.0)
    silence(sources, 1, 5.0, 17.5)  # three complete chunks
    silence(sources, 0, 19.0, 25.5)  # and one of the other one's
    assert_in_order(sources, Chunking.in_seconds(RATE, 4, 1), rng, spoilt)


def test_order_where_another_goes_on_after_a_break(spoilt):
    rng = np.random.default_rng(6)
    sources = voices(rng, 2, 31.0)
    silence(sources, 1, 3.0, 12.0)
    silence(sources, 0, 9.0, 31.0)  # from 12 s on, only the second speaker speaks
    for _ in range(3):
        _, result, _ = stitch(sources, rng, Chunking.in_seconds(RATE, 4, 1), **spoilt)
        loud = np.square(result[:, 13 * RATE :]).sum(1)
        assert loud[1] > 10 * loud[0]


def test_a_second_speaker_who_begins_late_is_not_taken_for_the_first(spoilt):
    rng = np.random.default_rng(7)
    sources = voices(rng, 2, 31.0)
    silence(sources, 1, 0.0, 12.0)
    silence(sources, 0, 8.0, 31.0)
    _, result, _ = stitch(sources, rng, Chunking.in_seconds(RATE, 4, 1), **spoilt)
    energy = np.square(result.reshape(2, 31, RATE)).sum(2)  # by speaker and second
    assert (energy[0, :8] > 10 * energy[1, :8]).all() or (energy[1, :8] > 10 * energy[0, :8]).all()
    first = energy[:, :8].sum(1).argmax()
    assert (energy[1 - first, 13:] > 10 * energy[first, 13:]).all()


def test_what_leaks_for_a_minute_is_not_taken_for_a_voice():
    rng = np.random.default_rng(8)
    sources = voices(rng, 2, 75.0)
    silence(sources, 1, 0.0, 64.0)
    silence(sources, 0, 60.0, 75.0)
    for _ in range(6):
        _, result, _ = stitch(sources, rng, Chunking.in_seconds(RATE, 4, 1), leak=0.2)
        before, after = np.square(result[:, : 60 * RATE]), np.square(result[:, 65 * RATE :])
        assert before.sum(1).argmax() != after.sum(1).argmax()


def test_silence_says_nothing():
    stitcher = Stitcher(RATE)
    for start in range(0, 40000, 6000):
        stitcher.push(start, np.zeros((2, 8000), np.float32))
    assert stitcher.margins[1:] == [0.0] * 6
    assert not stitcher.finish().any()


def test_noise_far_below_the_speech_says_little():
    rng = np.random.default_rng(9)
    sources = np.concatenate([voices(rng, 2, 4.0), 0.003 * rng.standard_normal((2, 64000))], axis=1)
    stitcher, _, _ = stitch(sources, rng, Chunking.in_seconds(RATE, 3, 2.5), noise=0.0)
    assert min(stitcher.margins[:3]) > 5  # overlaps with speech
    assert max(stitcher.margins[-5:]) < 0.1  # equal in the overlap, but not speech


def test_leakage_of_either_sign_does_not_undo_what_the_loud_stream_says():
    speech = np.random.randn(1200).astype(np.float32)
    stitcher = Stitcher(RATE)
    stitcher.push(0, np.stack([1.1 * speech, -0.1 * speech]))
    # equally short, without a voice
    stitcher.push(100, np.stack([0.1 * speech, 0.9 * speech])[:, 100:])
    stitcher.push(100, np.stack([0.1 * speech, 0.9 * speech])[:, 100:])
    assert stitcher.orders == [(0, 1), (1, 0), (1, 0)]
    assert stitcher.margins[1] > 2


def test_a_recording_of_ten_minutes_is_held_in_little_memory():
    chunking = Chunking.in_seconds(RATE, 4, 1)
    chunker, stitcher = Chunker(chunking), Stitcher(RATE)
    held, done = 0, 0
    for _ in range(60):
        block = np.random.randn(10 * RATE).astype(np.float32)
        for chunk in chunker.push(block):
            done += stitcher.push(chunk.start, chunk.samples[None]).shape[1]
            held = max(held, *map(buffered, (chunker, stitcher)))
    for chunk in chunker.finish():
        done += stitcher.push(chunk.start, chunk.samples[None]).shape[1]
    assert done + stitcher.finish().shape[1] == 600 * RATE
    assert 0 < held <= 2 * chunking.length * 4


def buffered(holder: object) -> int:
    """Return the bytes of all arrays of an object, including those of which they are views."""
    arrays = [value for value in vars(holder).values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes if array.base is None else array.base.nbytes for array in arrays)


def test_what_is_returned_is_the_callers_own():
    block = np.arange(10, dtype=np.float32)
    chunker, stitcher = Chunker(Chunking(4, 2)), Stitcher(RATE)
    chunks = chunker.push(block)
    estimates = [chunk.samples[None].copy() for chunk in chunks]
    parts = []
    for chunk, estimate in zip(chunks, estimates, strict=True):
        parts.append(stitcher.push(chunk.start, estimate).copy())
        chunk.samples[:] = estimate[:] = np.nan  # a later chunk must not see it
    parts.append(stitcher.finish())
    np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], block)


def test_a_chunk_of_any_length_takes_no_more_room_than_the_recording():
    chunker = Chunker(Chunking.in_seconds(RATE, 1e30))
    block = np.arange(50, dtype=np.float32)
    for _ in range(20):
        assert chunker.push(block) == []
    assert buffered(chunker) <= 2 * 20 * block.nbytes
    (chunk,) = chunker.finish()
    np.testing.assert_array_equal(chunk.samples, np.tile(block, 20))


def test_what_cannot_be_joined_is_refused():
    stitcher = Stitcher(RATE)
    stitcher.push(100, np.ones((2, 1000), np.float32))
    for start, n in [(99, 2000), (1101, 1000), (200, 800)]:
        with pytest.raises(ValueError, match=r"start in \[100, 1100\]"):
            stitcher.push(start, np.ones((2, n), np.float32))
    with pytest.raises(ValueError, match="2 speakers; got 3"):
        stitcher.push(600, np.ones((3, 1000), np.float32))
    with pytest.raises(ValueError, match="sample 600 is not finite"):
        stitcher.push(600, np.full((2, 1000), np.nan, np.float32))
    with pytest.raises(ValueError, match="one channel"):
        Chunker(Chunking(4, 2)).push(np.zeros((4, 2)))
    stitcher.push(600, np.ones((2, 1000), np.float32))  # a refusal changes nothing
    assert stitcher.finish().shape == (2, 1000)
