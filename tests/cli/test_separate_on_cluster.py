"""``tisdiss separate --scheduler``: a cluster makes the same files as one process."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.separate import on_cluster

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

RATE = 8000


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processes."""
    options = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with distributed.LocalCluster(n_workers=2, processes=True, **options) as made:
        yield made


def separate(*args):
    run = CliRunner().invoke(app, ["separate", *map(str, args), "--json"])
    return run, json.loads(run.stdout) if run.stdout else {}


@pytest.fixture
def recordings(espnet_model, tmp_path, monkeypatch) -> Path:
    """Six recordings, the second one broken, and a model for the commands."""
    _, config, _ = espnet_model()
    monkeypatch.setenv("TISDISS_MODEL", str(config.parent))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(6):
        samples = 0.1 * np.random.randn(1000 + 3000 * number)
        soundfile.write(f"in/{number}.wav", samples, RATE, "FLOAT")
    Path("in/1.wav").write_bytes(b"no audio")
    return Path("in")


def same(folder: str, other: str) -> bool:
    """Whether two folders hold the same files with the same sound, apart from rounding."""
    found = [sorted(path.name for path in Path(one).iterdir()) for one in (folder, other)]
    return found[0] == found[1] and all(
        np.allclose(*(soundfile.read(Path(one, name))[0] for one in (folder, other)), atol=1e-5)
        for name in found[0]
    )


def test_files_and_results_are_those_of_one_process(cluster, recordings):
    _, alone = separate(recordings, "-o", "alone", "--n-re", "1,2")
    Path("shared").mkdir()
    for name in ("3_re1_spk1.wav", "3_re2_spk2.wav"):
        Path("shared", name).write_bytes(b"of before")
    address = ("--scheduler", cluster.scheduler_address)
    run, found = separate(recordings, "-o", "shared", "--n-re", "1,2", *address)
    assert run.exit_code == 1
    names = [Path(file["source"]).stem for file in found["files"]]
    assert names == ["0", "1", "2", "3", "4", "5"]  # in order, regardless of the worker
    statuses = [file["status"] for file in found["files"]]
    assert statuses == ["done", "failed", "done", "failed", "done", "done"]
    assert "exists already" in found["files"][3]["reason"]
    assert Path("shared/3_re1_spk1.wav").read_bytes() == b"of before"
    for path in Path("alone").glob("3_*"):  # some of which exist, none made by this run
        path.unlink()
    for path in Path("shared").glob("3_*"):
        path.unlink()
    assert same("alone", "shared")
    # a second run keeps existing files and makes missing ones
    run, found = separate(recordings, "-o", "shared", "--n-re", "1,2", "--skip-existing", *address)
    statuses = [file["status"] for file in found["files"]]
    assert statuses == ["skipped", "failed", "skipped", "done", "skipped", "skipped"]


def test_mistakes_are_one_line(cluster, recordings):
    for options, message in (
        (("--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"), "exclude each other"),
        (("--scheduler", "tcp://127.0.0.1:9", "--seconds", "9"), "exclude each other"),
        (("--scheduler", "nowhere://1"), "nowhere://1: no scheduler of Dask answers"),
    ):
        run, _ = separate(recordings, *options)
        assert run.exit_code != 0 and message in str(run.exception)


def test_shares_have_similar_durations():
    durations = {f"file{number}": [float(number)] for number in range(1, 11)}  # 55 s
    shares = on_cluster._shares(durations, 5)
    assert [name for share in shares for name, _ in share] == list(durations)
    assert len(shares) <= 6
    lengths = [sum(sum(channels) for _, channels in share) for share in shares]
    assert max(lengths) < 11 + 10


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(cluster, recordings):
    for number in range(6, 18):
        soundfile.write(f"in/{number}.wav", 0.1 * np.random.randn(8 * RATE), RATE, "FLOAT")
    _, alone = separate(recordings, "-o", "alone", "--n-re", "2")
    killed = []

    def kill_one() -> None:
        end = time.monotonic() + 60
        while not list(Path("shared").glob("*_spk1.wav")) and time.monotonic() < end:
            time.sleep(0.01)
        killed.append(next(iter(cluster.workers.values())).pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    _, found = separate(
        recordings, "-o", "shared", "--n-re", "2", "--scheduler", cluster.scheduler_address
    )
    killer.join()
    assert killed and same("alone", "shared")
    assert [file["status"] for file in found["files"]].count("failed") == 1
