"""Jobs share the keys, report failures with their logs, and are not repeated once done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.run_jobs import Plan, fill, prepare, run_jobs, split

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
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Three jobs over seven keys, in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("worker.py").write_text(WORKER)
    return Plan(
        work=Path("work"),
        logs=Path("logs/job"),
        key_lists=[[f"utt{index}" for index in range(7)]],
        nj=3,
        command=[sys.executable, "worker.py", "{keys}", "{out}"],
        label="trial",
        count="working",
    )


def outputs() -> list[str]:
    return [Path("work", str(n), "out", "keys").read_text() for n in (1, 2, 3)]


def test_parts_cover_the_keys_in_order() -> None:
    assert split(list("abcdef"), 3, {}) == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert split(["a"], 1, {}) == [["a"]]


def test_parts_last_equally_long() -> None:
    durations = {"a": 6.0, "b": 1.0, "c": 1.0, "d": 1.0, "e": 1.0, "f": 1.0, "g": 1.0}
    assert split(list("abcdefg"), 2, durations) == [["a"], list("bcdefg")]
    assert split(list("gfedcba"), 2, durations) == [list("gfedcb"), ["a"]]
    # no part is empty, however long one utterance is, and one of unknown duration counts too
    assert split(list("abc"), 3, {"a": 1.0, "b": 1.0, "c": 1000.0}) == [["a"], ["b"], ["c"]]
    assert split(list("abc"), 3, {"a": 1000.0, "b": 1.0}) == [["a"], ["b"], ["c"]]
    keys = [f"{number:04}" for number in range(1000)]
    lengths = {key: 1.0 + int(key) % 17 for key in keys}
    parts = split(keys, 7, lengths)
    assert sum(parts, []) == keys
    totals = [sum(lengths[key] for key in part) for part in parts]
    assert max(totals) - min(totals) <= 17


def test_values_take_their_places_in_a_command() -> None:
    places = {"out": Path("a b"), "n_re": ["1", "2"], "none": []}
    words = ["--x", "{out}/{out}", "{n_re}", "{none}", "{other}"]
    assert fill(words, places) == ["--x", "a b/a b", "1", "2", "{other}"]


def test_every_key_goes_to_one_job(plan: Plan, capfd) -> None:
    run_jobs(plan)
    assert "".join(outputs()).split() == plan.key_lists[0]
    assert "trial: 7/7 utt" in capfd.readouterr().err


def test_threads_are_shared_unless_the_user_chose(plan: Plan, monkeypatch) -> None:
    threads = Path("work/1/out/threads")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_jobs(plan)
    assert threads.read_text() == str(max(1, (os.cpu_count() or 1) // 3))
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    run_jobs(replace(plan, nj=2))
    assert threads.read_text() == "5"


def test_a_failed_job_is_told_and_only_it_is_repeated(plan: Plan) -> None:
    Path("bad").write_text("utt3")
    with pytest.raises(TisdissError) as error:
        run_jobs(plan)
    assert str(error.value).splitlines() == [
        "trial: job 2 of 3 failed (exit code 1); its log is logs/job.2.log and ends in:",
        "    working on utt2",
        "    working on utt3",
        "    cannot work on utt3",
    ]
    kept = Path("work/3/out/keys")
    before = kept.stat().st_mtime_ns
    Path("bad").unlink()
    run_jobs(plan)
    assert kept.stat().st_mtime_ns == before
    assert outputs()[1].split() == ["utt2", "utt3", "utt4"]


@pytest.mark.parametrize(
    "other",
    [
        {"key_lists": [["utt0", "utt1", "utt2"]]},
        {"key_lists": [["a", "b", "c"], ["d", "e", "f"]]},
        {"nj": 2},
        {"command": [sys.executable, "worker.py", "{keys}", "{out}", "--more"]},
        {"basis": {"--fs": "8000"}},
    ],
    ids=lambda other: ",".join(other),
)
def test_another_plan_starts_afresh(plan: Plan, other: dict) -> None:
    for job in prepare(plan):
        (job.folder / "done").touch()
    assert all(job.done for job in prepare(plan))
    assert not any(job.done for job in prepare(replace(plan, **other)))


def test_two_lists_are_split_alike(plan: Plan) -> None:
    first, second = prepare(replace(plan, key_lists=[["a", "b", "c"], ["d", "e"]]))
    assert [Path(first.folder, name).read_text() for name in ("keys1", "keys2")] == ["a\n", "d\n"]
    assert (second.folder / "keys1").read_text() == "b\nc\n"
    assert (first.num_keys, second.num_keys) == (2, 3)


def test_more_jobs_than_keys_are_not_started(plan: Plan) -> None:
    run_jobs(replace(plan, key_lists=[["utt0"]]))
    assert sorted(path.name for path in plan.work.iterdir()) == ["1", "plan"]
    with pytest.raises(TisdissError, match="^work: no utterances to work on$"):
        run_jobs(replace(plan, key_lists=[[]]))


PROGRAM = """
import sys
from pathlib import Path
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.stages.run_jobs import Plan, run_jobs
command = [sys.executable, "worker.py"]
plan = Plan(Path("work"), Path("logs/job"), [list("abc")], 3, command, "trial", "working")
sys.exit(run_main("trial", lambda: run_jobs(plan)))
"""


def test_an_interrupt_stops_all_jobs(plan: Plan, tmp_path: Path) -> None:
    sleeper = "import os, time; print('working', os.getpid(), flush=True); time.sleep(600)"
    (tmp_path / "worker.py").write_text(sleeper)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE)
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
