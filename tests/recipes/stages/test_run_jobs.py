"""Jobs share the keys, report failures with their logs, and are not repeated once done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.stages.run_jobs import split

# Writes its keys and number of threads; fails on the key named in the file "bad", if any.
WORKER = """
import os, pathlib, sys
keys, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
bad = pathlib.Path("bad")
for key in keys.read_text().split():
    print("working on", key, flush=True)
    if bad.exists() and key == bad.read_text():
        sys.exit("cannot work on " + key)
out.mkdir()
(out / "keys").write_text(keys.read_text())
(out / "threads").write_text(os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Three jobs over seven keys."""
    (tmp_path / "worker.py").write_text(WORKER)
    write_scp(tmp_path / "wav.scp", {f"utt{index}": "x.wav" for index in range(7)})
    options = "--keys wav.scp --nj 3 --work work --logs logs/job --label trial --count working --"
    return [*options.split(), sys.executable, "worker.py", "{keys}", "{out}"]


def outputs(tmp_path: Path) -> list[str]:
    return [(tmp_path / "work" / str(n) / "out" / "keys").read_text() for n in (1, 2, 3)]


def test_parts_cover_the_keys_in_order() -> None:
    assert split(list("abcdefg"), 3) == [["a", "b"], ["c", "d"], ["e", "f", "g"]]
    assert split(["a"], 1) == [["a"]]


def test_every_key_goes_to_one_job(arguments, run_tool, tmp_path: Path) -> None:
    done = run_tool("run_jobs", *arguments)
    assert done.returncode == 0, done.stderr
    assert "".join(outputs(tmp_path)).split() == [f"utt{index}" for index in range(7)]
    assert "trial: 7/7 utt" in done.stderr


def test_threads_are_shared_unless_the_user_chose(arguments, run_tool, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_tool("run_jobs", *arguments)
    threads = (tmp_path / "work" / "1" / "out" / "threads").read_text()
    assert threads == str(max(1, (os.cpu_count() or 1) // 3))
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    run_tool("run_jobs", *arguments[:3], "2", *arguments[4:])
    assert (tmp_path / "work" / "1" / "out" / "threads").read_text() == "5"


def test_a_failed_job_is_told_and_only_it_is_repeated(arguments, run_tool, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("utt3")
    failed = run_tool("run_jobs", *arguments)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-4:] == [
        "run_jobs: trial: job 2 of 3 failed (exit code 1); its log is logs/job.2.log and ends in:",
        "run_jobs:     working on utt2",
        "run_jobs:     working on utt3",
        "run_jobs:     cannot work on utt3",
    ]
    kept = tmp_path / "work" / "3" / "out" / "keys"
    before = kept.stat().st_mtime_ns
    (tmp_path / "bad").unlink()
    assert run_tool("run_jobs", *arguments).returncode == 0
    assert kept.stat().st_mtime_ns == before
    assert outputs(tmp_path)[1].split() == ["utt2", "utt3"]


def test_other_keys_start_afresh(arguments, run_tool, tmp_path: Path) -> None:
    run_tool("run_jobs", *arguments)
    write_scp(tmp_path / "silent", {"utt0": "spk1.scp"})
    assert run_tool("run_jobs", "--skip", "silent", *arguments).returncode == 0
    assert "".join(outputs(tmp_path)).split() == [f"utt{index}" for index in range(1, 7)]


def test_more_jobs_than_keys_are_not_started(arguments, run_tool, tmp_path: Path) -> None:
    write_scp(tmp_path / "wav.scp", {"utt0": "x.wav"})
    assert run_tool("run_jobs", *arguments).returncode == 0
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["1", "plan"]


def test_an_interrupt_stops_all_jobs(arguments, tmp_path: Path) -> None:
    sleeper = "import os, time; print('working', os.getpid(), flush=True); time.sleep(600)"
    (tmp_path / "worker.py").write_text(sleeper)
    program = [sys.executable, "-m", "espnet2_tisdiss.recipes.stages.run_jobs", *arguments]
    process = subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE)
    logs = [tmp_path / "logs" / f"job.{number}.log" for number in (1, 2, 3)]
    while not all(log.is_file() and log.read_text().endswith("\n") for log in logs):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 130
    for log in logs:
        with pytest.raises(ProcessLookupError):
            os.kill(int(log.read_text().split()[1]), 0)
    assert not list((tmp_path / "work").glob("*/done"))
