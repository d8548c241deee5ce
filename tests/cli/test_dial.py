"""The depth options of ``tisdiss separate``."""

import pytest

from espnet2_tisdiss.cli.dial import work_factor
from espnet2_tisdiss.separate.chunking import Chunking

RATE = 8000


def test_jobs_may_take_longer_each():
    chunking = Chunking.in_seconds(RATE, 8.0, 2.0)
    assert work_factor([[1.0], [], [8.0, 1.0]], chunking, RATE, 1) == 1
    assert work_factor([[20.0]], chunking, RATE, 2) == pytest.approx(24 / 20)
    assert work_factor([[4.0]] * 5, chunking, RATE, 2) == pytest.approx(12 / 20)
    assert work_factor([[20.0]] * 3, chunking, RATE, 2) == pytest.approx(48 / 60)
    assert work_factor([[6.0], [2.0]], chunking, RATE, 2) == pytest.approx(6 / 8)
    assert work_factor([[]], chunking, RATE, 2) == 1
