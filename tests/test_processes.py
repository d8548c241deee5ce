"""Interruptions: none is lost, and the previous handlers are restored."""

import os
import signal

import pytest

from espnet2_tisdiss.processes import Interruption, terminations
from espnet2_tisdiss.recipes.program import run_main


class Interrupted:
    """Something that a signal interrupts while it is destroyed."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.promise("interrupted")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_interruption_shows_at_the_next_check():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption.caught(signal.SIGINT, signal.SIGTERM) as interruption:
        interruption.check()
        thing = Interrupted()
        del thing
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interruption_comes_at_once():
    with Interruption.caught(signal.SIGTERM), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def handlers():
    """Restore the signal handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.promise("interrupted")
def test_the_end_of_a_terminal_interrupts_except_under_nohup(handlers):
    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have started the tests
    assert run_main("prepare", hang_up) == 130
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run_main("prepare", hang_up) == 0
    assert terminations() == [signal.SIGTERM]
