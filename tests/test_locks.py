"""Locks of folders, between real processes."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from lock_holder import held

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import HELD, holding, waiting

TAKE = (
    "import sys; from espnet2_tisdiss.locks import holding\n"
    "with holding(sys.argv[1]): print('taken')"
)


@pytest.mark.promise("one-run-a-folder")
def test_the_second_is_refused_in_one_line_that_names_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    with held(folder) as first, pytest.raises(TisdissError) as refused, holding(folder):
        pass
    text = str(refused.value)
    assert text.startswith(f"{folder}: in use by process {first.pid} on {platform.node()} since 2")
    assert f"({sys.executable} -c " in text and "import os, sys" in text and "\n" not in text
    assert text.endswith("wait until it has ended, or give another folder")
    with holding(tmp_path / "." / "exp"):  # it has ended
        pass


@pytest.mark.promise("one-run-a-folder")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    half = folder / ".aside-1" / "checkpoint.pth"
    with held(folder, "with a worker") as first:
        half.parent.mkdir(parents=True)
        half.write_bytes(b"half")
        (worker,) = psutil.Process(first.pid).children()
        first.kill()
        first.wait()
        try:
            with holding(folder):
                assert worker.is_running()
                assert list(folder.iterdir()) == []
        finally:
            worker.kill()


def test_a_process_and_those_that_it_starts_may_take_it_again(tmp_path: Path) -> None:
    before = os.environ.get(HELD)
    with holding(tmp_path / "exp"), holding(tmp_path / "exp"):
        own = subprocess.run([sys.executable, "-c", TAKE, tmp_path / "exp"], capture_output=True)
        others = {name: value for name, value in os.environ.items() if name != HELD}
        other = subprocess.run(
            [sys.executable, "-c", TAKE, tmp_path / "exp"], env=others, capture_output=True
        )
    assert own.stdout == b"taken\n"
    assert other.stdout == b"" and b"in use by process" in other.stderr
    assert os.environ.get(HELD, "") == (before or "")


def test_a_lock_file_that_says_nothing_is_still_a_lock(tmp_path: Path) -> None:
    refused = pytest.raises(TisdissError, match=r"in use by another process \(lock file .*lock\)")
    with held(tmp_path / "exp"):
        (tmp_path / ".exp.lock").write_text("{half")
        with refused, holding(tmp_path / "exp"):
            pass


def test_what_cannot_be_written_needs_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with holding("/proc/none/exp"), holding("/proc/exp"):
        pass


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def missing(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with holding(tmp_path / "exp"):
        pass
    assert "exp: its file system has no locks; make sure that no other run" in caplog.text


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with waiting(tmp_path / "model"):
            order.append("second")

    thread = threading.Thread(target=second)
    with waiting(tmp_path / "model"):
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_an_interrupted_holder_leaves_no_lock(tmp_path: Path) -> None:
    with held(tmp_path / "exp") as first:
        first.send_signal(signal.SIGINT)
        first.wait()
    with holding(tmp_path / "exp"):
        pass
