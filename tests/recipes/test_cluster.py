"""Stages on a cluster: the same results as from one process, also when a worker dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from espnet2_tisdiss import cluster
from espnet2_tisdiss.cluster import CONFIGURATION, configured, started
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.parallel import map_in_processes
from espnet2_tisdiss.recipes.stages.run_jobs import Plan, run_jobs

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

CONFIG = """\
env: local
n_workers: 2
options: {threads_per_worker: 1, dashboard_address: null, memory_limit: 0}
"""
# writes its keys, one at a time, and leaves a trace of each worker that ran it
PROGRAM = """\
import sys, time
from pathlib import Path
keys, out = map(Path, sys.argv[1:])
out.mkdir(parents=True)
for key in keys.read_text().split():
    print("working on", key, flush=True)
    time.sleep(0.02)
    with (out / "keys").open("a") as file:
        file.write(key + "\\n")
    if Path(f"bad_{key}").exists():
        sys.exit(f"cannot work on {key}")
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of two processes for all tests of this file."""
    path = tmp_path_factory.mktemp("cluster") / "parallel.yaml"
    path.write_text(CONFIG)
    os.environ[CONFIGURATION] = str(path)
    configured.cache_clear()
    with started(path) as made:
        cluster.configured.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("espnet2_tisdiss.recipes.parallel.configured", lambda: made)
            patch.setattr("espnet2_tisdiss.recipes.stages.run_jobs.configured", lambda: made)
            yield path
    del os.environ[CONFIGURATION]


def workers() -> list[psutil.Process]:
    """The worker processes of the cluster."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def square(item: tuple[str, int]) -> tuple[int, int, str]:
    """Leave a trace, wait, and return the process and its folder."""
    folder, number = item
    with Path(folder, str(os.getpid())).open("a") as trace:
        trace.write(f"{number}\n")
    time.sleep(0.02)
    return number * number, os.getpid(), os.getcwd()


def test_results_are_in_order_and_of_several_processes(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = [(str(tmp_path), number) for number in range(60)]
    results = list(map_in_processes(square, items, 1, "trial"))
    assert [result[0] for result in results] == [number**2 for number in range(60)]
    assert {result[2] for result in results} == {str(tmp_path)}
    processes = {result[1] for result in results}
    assert len(processes) == 2 and os.getpid() not in processes


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_share_to_another(config, tmp_path):
    items = [(str(tmp_path), number) for number in range(200)]
    killed = []

    def kill_one() -> None:
        while not (traces := [path for path in tmp_path.iterdir() if path.name.isdecimal()]):
            time.sleep(0.05)
        killed.append(int(traces[0].name))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    results = list(map_in_processes(square, items, 1, "trial"))
    killer.join()
    assert [result[0] for result in results] == [number**2 for number in range(200)]
    # results returned by the killed one stay; its current share was repeated
    traced = [line for path in tmp_path.iterdir() for line in path.read_text().split()]
    assert set(traced) == {str(number) for number in range(200)} and killed


def plan_in(folder: Path) -> Plan:
    """Jobs of keys of different durations, in the present folder."""
    (folder / "program.py").write_text(PROGRAM)
    keys = [f"utt{number:02}" for number in range(40)]
    durations = {key: 1.0 + 10.0 * (number < 5) for number, key in enumerate(keys)}
    command = [sys.executable, "program.py", "{keys}", "{out}"]
    return Plan(
        Path("work"), Path("logs/job"), [keys], 4, command, "trial", "working", {}, durations
    )


def outputs(plan: Plan) -> list[str]:
    return [(plan.work / str(n) / "out/keys").read_text() for n in range(1, plan.nj + 1)]


def test_jobs_of_a_cluster_make_what_local_ones_make(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = plan_in(tmp_path)
    run_jobs(plan)
    made = outputs(plan)
    assert [key for text in made for key in text.split()] == plan.key_lists[0]
    assert len(made[0].split()) < len(made[-1].split())  # the long ones are first
    assert "trial: 40/40 utt" in capsys.readouterr().err
    assert not list(plan.work.glob("*/.out-*"))
    run_jobs(plan)  # nothing is left to do
    assert outputs(plan) == made


@pytest.mark.slow
def test_a_job_whose_worker_is_killed_is_done_by_another(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_in(tmp_path)

    def kill_one() -> None:
        while not list(tmp_path.glob("work/*/.out-*/keys")):
            time.sleep(0.02)
        os.kill(workers()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    run_jobs(plan)
    killer.join()
    assert [key for text in outputs(plan) for key in text.split()] == plan.key_lists[0]


def test_a_failed_job_is_told_with_its_log(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_in(tmp_path)
    Path("bad_utt39").touch()
    with pytest.raises(TisdissError) as error:
        run_jobs(plan)
    first, *rest = str(error.value).splitlines()
    assert first.startswith("trial: job 4 of 4 failed (exit code 1); its log is logs/job.4.log")
    assert rest[-1] == "    cannot work on utt39"
    Path("bad_utt39").unlink()
    run_jobs(plan)
    assert [key for text in outputs(plan) for key in text.split()] == plan.key_lists[0]


def die(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_work_that_kills_every_worker_is_one_line(config):  # the last one with this cluster
    with pytest.raises(TisdissError, match="^trial: several workers died on the same work"):
        list(map_in_processes(die, [1], 1, "trial"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_workers: 2\n", "expected the keys env, n_workers, options"),
        ("- local\n", "expected the keys env, n_workers, options"),
        ("env: [\n", "cannot be read"),
        ("env: moon\nn_workers: 1\n", "no cluster: Unknown env: moon"),
    ],
)
def test_a_configuration_that_is_none_is_one_line(tmp_path, text, message):
    path = tmp_path / "parallel.yaml"
    path.write_text(text)
    with pytest.raises(TisdissError, match=message), started(path):
        pass
