"""Trainings that are killed, interrupted, or run out of disk space resume to the same bits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dying import count_operations, dies_at
from tiny_training import assert_equal, command, weights, write_config

from espnet2_tisdiss.checksums import damage
from espnet2_tisdiss.espnet.checkpoints import CHECKPOINT, WORK
from espnet2_tisdiss.espnet.training import ResumableTask

EPOCHS = 3
OPTIONS = {
    "max_epoch": EPOCHS,
    "num_iters_per_epoch": 1,
    "optim": "adamw",
    "optim_conf": "lr=1.0e-3",
    "keep_nbest_models": 2,
    "resume": "true",
}
PARTS = 8
SEED = 20261129

pytestmark = [pytest.mark.slow, pytest.mark.promise("killed-anywhere")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training's configuration; ``expected`` in it was not interrupted."""
    folder = tmp_path_factory.mktemp("trainings")
    write_config(folder)
    program(folder, "expected")
    return folder


def program(place: Path, name: str) -> None:
    """Train in a forked process."""
    assert not dies_at(place / name, -1, training(place, name))


def training(place: Path, name: str) -> Callable[[], None]:
    return lambda: ResumableTask.main(cmd=command(place, name, **OPTIONS))


def best_until(place: Path, epoch: int) -> int:
    states = torch.load(place / "expected" / CHECKPOINT, weights_only=True)
    stats = states["reporter"]["stats"]
    return min(range(1, epoch + 1), key=lambda each: stats[each]["valid"]["loss"])


def check_stopped(place: Path, name: str) -> None:
    """Check the files of a training right after it was stopped."""
    folder = place / name
    epoch = 0
    if (folder / CHECKPOINT).exists():
        assert damage(folder / CHECKPOINT) == ""
        epoch = torch.load(folder / CHECKPOINT, weights_only=True)["reporter"]["epoch"]
    possible = [each for each in (epoch, epoch + 1) if 0 < each <= EPOCHS]
    for link in ("latest.pth", "valid.loss.best.pth"):
        if epoch or (folder / link).is_symlink():
            path = (folder / link).resolve()
            assert damage(path) == ""
            best = [best_until(place, each) for each in possible]
            numbers = possible if link == "latest.pth" else best
            assert path.name in [f"{each}epoch.pth" for each in numbers]


def check_resumed(place: Path, name: str) -> None:
    """Continue a training, and compare all of its files with those of an uninterrupted one."""
    program(place, name)
    folder, expected = place / name, place / "expected"
    names, wanted = ({path.name for path in each.iterdir()} for each in (folder, expected))
    # a shorter training also has averages of fewer epochs
    more = {name for name in names - wanted if not name.endswith(".ave_1best.pth")}
    assert wanted <= names and more == set()
    for path in expected.glob("*.pth"):
        assert os.path.islink(folder / path.name) == path.is_symlink()
        if path.name != CHECKPOINT:  # it has times
            assert_equal(weights(folder, path.name), weights(expected, path.name))
    found, wanted = (
        torch.load(each / CHECKPOINT, weights_only=True) for each in (folder, expected)
    )
    assert_equal(found["model"], wanted["model"])
    for key, state in wanted["optimizers"][0]["state"].items():
        assert_equal(found["optimizers"][0]["state"][key], state)
    assert not (folder / WORK).exists() and not list(folder.rglob(".aside-*"))


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_file_operation(
    place: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    number = count_operations(place / f"count_{part}", training(place, f"count_{part}"))
    points = range(part, number, PARTS)
    for last in points:
        name = f"killed_{last}"
        assert dies_at(place / name, last, training(place, name))
        check_stopped(place, name)
        check_resumed(place, name)
    record_property("cases", len(points))


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_at_random_moments(
    place: Path, told: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    program(place, f"timed_{told}")
    moments = np.random.default_rng(SEED + told).uniform(0, time.monotonic() - began, 10)
    for index, moment in enumerate(moments):
        name = f"{told.name}_{index}"
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                training(place, name)()
            finally:
                os._exit(0)
        time.sleep(moment)
        os.kill(child, told)
        os.waitpid(child, 0)
        check_stopped(place, name)
        check_resumed(place, name)
    record_property("cases", len(moments))


@pytest.mark.promise("disk-full")
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.95])
def test_a_full_disk_is_one_line_and_loses_no_complete_epoch(place: Path, fraction: float) -> None:
    name = f"full_{fraction}"
    limit = int((place / "expected" / CHECKPOINT).stat().st_size * fraction)
    if fraction > 0.5:  # after an epoch
        first = command(place, name, **OPTIONS | {"max_epoch": 1})
        assert not dies_at(place / name, -1, lambda: ResumableTask.main(cmd=first))
    done = subprocess.run(
        [sys.executable, "-m", "espnet2_tisdiss.bin.enh_train", *command(place, name, **OPTIONS)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("enh_train: ") and "cannot be written: " in line
    assert line.endswith("it continues after the last complete epoch")
    check_stopped(place, name)
    check_resumed(place, name)
