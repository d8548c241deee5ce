"""The depth under a time limit: planted times, and the load of processes."""

import numpy as np
import pytest

from espnet2_tisdiss.separate.budget import TimeBudget, busiest_seconds
from espnet2_tisdiss.separate.chunking import Chunking
from espnet2_tisdiss.separate.interface import Estimate
from espnet2_tisdiss.separate.options import RecordingOptions
from espnet2_tisdiss.separate.recordings import separate_chunks

RATE = 8000


class PlantedModel:
    """A model whose repetitions take a planted time per second of audio, after a constant part."""

    sample_rate, hop, calibration = RATE, 64, None

    def __init__(self, base_rtf, repetition_rtf):
        self.now, self.base_rtf, self.repetition_rtf = 100.0, base_rtf, repetition_rtf

    def clock(self):
        return self.now

    def anytime(self, waves, n_re=8, scale="estimate"):
        assert scale == "estimate"
        audio = sum(map(len, waves)) / RATE
        self.now += self.base_rtf * audio
        for depth in range(1, n_re + 1):
            self.now += self.repetition_rtf * audio
            yield Estimate(np.full(len(waves), depth), [np.zeros((2, len(w))) for w in waves])


def chunks(*seconds):
    return [np.zeros(round(one * RATE), np.float32) for one in seconds]


def separate(model, seconds, batches, n_re=8):
    """Separate batches of chunks in a time; return the depth of each, and the time taken."""
    audio = sum(map(sum, batches))
    budget, began = TimeBudget(seconds, audio, model.clock), model.now
    for batch in batches:
        found = budget.deepest(model.anytime(chunks(*batch), n_re), sum(batch))
        assert set(found.n_re) == {budget.n_re[-1]}
    return budget.n_re, model.now - began


@pytest.mark.parametrize(
    ("rtf", "depths"),
    [(0.31, {1}), (0.41, {1, 2, 3}), (0.75, {5, 6}), (0.95, {7, 8}), (50, {8})],
)
def test_a_time_is_used_and_kept(rtf, depths):
    # N_re repetitions take 0.2 + 0.1 * N_re for a second of audio; what is left goes to the last
    n_re, seconds = separate(PlantedModel(0.2, 0.1), rtf * 10, [[1.0]] * 10)
    assert set(n_re) == depths and n_re == sorted(n_re)
    assert seconds <= rtf * 10 + 1e-9
    if rtf < 1:
        assert seconds > rtf * 10 - 0.15  # one repetition more would not fit


@pytest.mark.parametrize("rtf", [0.01, 0])
def test_one_repetition_is_always_run(rtf):
    assert separate(PlantedModel(0.2, 0.1), rtf * 3, [[1.0]] * 3) == ([1] * 3, pytest.approx(0.9))


def test_no_more_than_wanted():
    assert separate(PlantedModel(0.2, 0.1), 1e6, [[1.0]] * 3, n_re=4)[0] == [4, 4, 4]


def test_a_slow_start_is_made_up_for():
    model = PlantedModel(0.2, 0.1)
    budget = TimeBudget(10.0, 20.0, model.clock)  # 0.5 for each second: N_re 3
    model.base_rtf = 2.0  # as caches and clocks warm up
    budget.deepest(model.anytime(chunks(1.0)), 1.0)
    model.base_rtf = 0.2
    for _ in range(19):
        budget.deepest(model.anytime(chunks(1.0)), 1.0)
    assert 9.85 < model.now - 100.0 <= 10.0
    assert set(budget.n_re) == {1, 2, 3}


def test_a_machine_that_becomes_busy_gets_less_deep():
    model = PlantedModel(0.2, 0.1)
    budget = TimeBudget(20.0, 20.0, model.clock)
    for _ in range(10):
        budget.deepest(model.anytime(chunks(1.0)), 1.0)
    model.base_rtf, model.repetition_rtf = 0.4, 0.2  # half as fast: N_re 3 for real time
    for _ in range(10):
        budget.deepest(model.anytime(chunks(1.0)), 1.0)
    assert budget.n_re[2:10] == [8] * 8 and set(budget.n_re[11:]) <= {2, 3, 4}
    assert model.now - 100.0 <= 20.0


def test_time_between_batches_counts():
    model = PlantedModel(0.2, 0.1)
    budget = TimeBudget(6.0, 10.0, model.clock)
    for _ in range(10):
        budget.deepest(model.anytime(chunks(1.0)), 1.0)
        model.now += 0.1  # reading and joining
    assert model.now - 100.0 <= 6.0 + 0.1


def test_shifts_share_the_time():
    # twice the audio: 0.4 + 0.2 * N_re for a second
    model = PlantedModel(0.2, 0.1)
    options = RecordingOptions(n_re=(8,), rtf=0.85, shifts=2)
    budget = options.budget([[5.0], [5.0]], RATE)
    budget._clock = budget._depth.clock = model.clock
    done = [separate_chunks(model, chunks(1.0), options, budget) for _ in range(10)]
    # with the time of one copy, the first chunks would be deeper and take that of the last
    assert {chunk.n_re for (chunk,) in done} == {1, 2, 3}
    assert 7.8 < model.now - 100.0 <= 8.5


def test_a_batch_has_the_time_of_all_its_chunks():
    model = PlantedModel(0.2, 0.1)
    for batches in ([[1.0] * 4] * 3, [[4.0]] * 3):
        assert separate(model, 0.55 * 12, batches)[0] == [3, 3, 4]


def test_the_time_is_logged(caplog):
    model = PlantedModel(0.2, 0.1)
    budget = TimeBudget(0.1, 1.0, model.clock)
    budget.log()
    assert not caplog.text
    budget.deepest(model.anytime(chunks(1.0)), 1.0)
    budget.log()
    assert "0.3 s of work, of 0.1 s allowed; N_re 1" in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_jobs_may_take_longer_each():
    chunking = Chunking.in_seconds(RATE, 8.0, 2.0)
    for durations, jobs, seconds in (
        ([[1.0], [], [8.0, 1.0]], 1, 10),
        ([[20.0]], 2, 24),
        ([[4.0]] * 5, 2, 12),
        ([[20.0]] * 3, 2, 48),
        ([[6.0], [2.0]], 2, 6),
        ([[]], 2, 0),
    ):
        assert busiest_seconds(durations, chunking, RATE, jobs) == pytest.approx(seconds)
