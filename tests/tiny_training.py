"""A tiny training on mixtures made on the fly, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import yaml
from recipe_folder import living_processes
from small_bank import RATE, tone, write_small_bank
from tiny_model import CONFIG


def write_config(folder: Path) -> None:
    """Write a bank, two mixtures for validation, and a training configuration."""
    write_small_bank(folder / "bank")
    lists = {"wav": "", "spk1": "", "spk2": "", "shape": ""}
    for number, name in enumerate(("one", "two")):
        first, second = tone(300 + 50 * number, 0.5), tone(700, 0.5)
        for key, samples in (("wav", first + second), ("spk1", first), ("spk2", second)):
            np.save(folder / f"{name}_{key}.npy", samples / np.float32(32768))
            lists[key] += f"{name} {folder}/{name}_{key}.npy\n"
        lists["shape"] += f"{name} {RATE // 2}\n"
    for key, text in lists.items():
        (folder / f"{key}.scp").write_text(text)
    data = (("wav", "speech_mix"), ("spk1", "speech_ref1"), ("spk2", "speech_ref2"))
    config = {
        **CONFIG,
        "iterator_type": "task",
        "valid_iterator_type": "sequence",
        "mixing_conf": {"bank": str(folder / "bank"), "seconds": 0.5},
        "valid_data_path_and_name_and_type": [
            [str(folder / f"{key}.scp"), name, "npy"] for key, name in data
        ],
        "valid_shape_file": [str(folder / "shape.scp")],
        "batch_type": "unsorted",
        "batch_size": 4,
        "valid_batch_size": 2,
        "num_workers": 0,
        "num_att_plot": 0,
        "num_iters_per_epoch": 2,
        "max_epoch": 2,
        "optim": "sgd",
        "optim_conf": {"lr": 1.0e-2},
        "grad_clip": 5.0,
        "seed": 0,
        "use_matplotlib": False,
        "use_tensorboard": False,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def command(folder: Path, name: str, **options) -> list[str]:
    """The command line of a training in ``folder / name``."""
    words = ["--config", str(folder / "config.yaml"), "--output_dir", str(folder / name)]
    for option, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{option}", str(each)]
    return words


def weights(folder: Path, name: str = "2epoch.pth") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


@contextmanager
def two_processes_training(folder: Path) -> Iterator[subprocess.Popen]:
    """An endless training in ``folder/exp`` by two processes, from its second epoch on.

    What it prints is in ``folder/log``. Processes that are left at the end are killed.
    """
    options = {"max_epoch": 10_000, "cpu_processes": 2, "log_interval": 1}
    program = [sys.executable, "-m", "espnet2_tisdiss.bin.enh_train"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*program, *command(folder, "exp", **options)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: (folder / "exp/1epoch.pth").exists(), process, folder / "log")
        yield process
    finally:
        for number in living_processes(process.pid):
            os.kill(number, signal.SIGKILL)


def wait_until(
    is_done: Callable[[], bool],
    process: subprocess.Popen | None = None,
    log: Path | None = None,
) -> None:
    """Wait at most four minutes while the process runs."""
    end = time.monotonic() + 240
    while not is_done():
        assert process is None or process.poll() is None, log.read_text()
        assert time.monotonic() < end
        time.sleep(0.2)
