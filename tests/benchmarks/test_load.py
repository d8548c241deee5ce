"""The evaluation of benchmarks/load.py, from planted samples of a process."""

import os
import subprocess
import sys

import psutil
from load import Usage


def test_speeds_are_those_between_files_without_the_start():
    usage = Usage(done=[(0.0, 0), (30.0, 1), (32.0, 5), (40.0, 45), (41.0, 50)])
    assert usage.speed(0, 0.1) == 2.0
    assert usage.speed(0.9, 1) == 5.0


def test_a_process_that_has_ended_is_not_looked_at():
    usage = Usage()
    usage.look(psutil.Process(), 1)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        usage.look(psutil.Process(process.pid), 2)
    assert [done for _, done in usage.done] == [1]
    assert len(usage.memory) == 1 and usage.memory[0] > 0
