"""The simulation of work on many workers: runs whose time is known."""

import math

import pytest
from scaling_out import GRADIENT_BYTES, Workers, adding_up_s, simulate


def test_equal_files_take_their_share() -> None:
    made = simulate([1.0] * 100, 10, 1, Workers())
    assert (made.seconds, made.efficiency, made.lost_s) == (pytest.approx(10), 1, 0)
    assert simulate([1.0] * 101, 10, 1, Workers()).seconds == pytest.approx(11)
    # shares of 8 are 13 for 10 workers: three work twice as long as the others
    assert simulate([1.0] * 100, 10, 8, Workers()).seconds == pytest.approx(16)


def test_starting_and_the_driver_take_time() -> None:
    assert simulate([1.0] * 4, 4, 1, Workers(start_s=5)).seconds == pytest.approx(6)
    # the driver gives out one share at a time: the last of a hundred after 10 s
    made = simulate([1.0] * 100, 100, 1, Workers(dispatch_s=0.1))
    assert made.seconds == pytest.approx(11)


def test_a_slow_worker_takes_less() -> None:
    made = simulate([1.0] * 30, 2, 1, Workers(slow_share=0.5, slowness=2))
    assert made.seconds == pytest.approx(20)
    assert made.efficiency == pytest.approx(30 / 40)


def test_what_dies_is_done_again() -> None:
    durations = [36.0] * 1000
    made = simulate(durations, 10, 1, Workers(start_s=10, failures_per_h=10))
    assert made.lost_s > 0
    # a share of t hours at a rate r lasts (e^(rt) - 1) / r on average, and each loss costs a start
    rate, share = 10 / 3600, 36.0
    losses = math.exp(rate * share) - 1
    expected = 1000 * (losses / rate + losses * 10) / 10
    assert made.seconds == pytest.approx(expected, rel=0.05)


def test_gradients_are_added_up_in_a_ring() -> None:
    assert adding_up_s(1, 1e9, 1e-4) == 0
    assert adding_up_s(2, 1e9, 0) == pytest.approx(GRADIENT_BYTES / 1e9)
    assert adding_up_s(1000, 1e9, 0) == pytest.approx(2 * GRADIENT_BYTES / 1e9, rel=0.01)
