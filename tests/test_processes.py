"""Interruptions: none is lost, and the handlers from before come back."""

import os
import signal

import pytest

from espnet2_tisdiss.processes import Interruption


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
