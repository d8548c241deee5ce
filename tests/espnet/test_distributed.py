"""Processes that share each batch learn the same as one process with the joined batch."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args

import psutil
import pytest
import torch
import yaml
from espnet2.tasks.enh import EnhancementTask
from models import TINY
from recipe_folder import living_processes
from tiny_training import command, two_processes_training, wait_until, weights, write_config
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from espnet2_tisdiss.espnet.training import ResumableTask
from espnet2_tisdiss.network.blocks.locoformer import Checkpoint
from espnet2_tisdiss.recipes.stages.launching import launched
from espnet2_tisdiss.recipes.stages.options import parse
from espnet2_tisdiss.recipes.stages.recipe import complete, name_all

STEPS = 2
BATCH, SAMPLES = 4, 2000
# which depths are supervised: after the splitter and each repetition, the last only, those of the
# separator as well, and every layer
SUPERVISED = {
    "published": {},
    "last": {"spliter_loss": False, "reconstructor_multi_decoder": False},
    "separator": {"encoder_decoder": True, "encoder_multi_decoder": True},
    "layers": {"reconstructor_n_layers": 2, "reconstructor_n_layers_multi_decoder": True},
}


def batches() -> Iterator[dict[str, Tensor]]:
    """The same batches in every process."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        # in float64, where equal means equal: the first steps are badly conditioned
        sources = torch.randn(2, BATCH, SAMPLES, generator=generator, dtype=torch.float64)
        yield {
            "speech_mix": sources.sum(dim=0),
            "speech_mix_lengths": torch.full((BATCH,), SAMPLES),
            "speech_ref1": sources[0],
            "speech_ref2": sources[1],
        }


def train(model: nn.Module, rank: int = 0, world_size: int = 1) -> None:
    """Train on every ``world_size``-th item of each batch."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for batch in batches():
        optimizer.zero_grad()
        loss, _, _ = model(**{name: values[rank::world_size] for name, values in batch.items()})
        loss.backward()
        optimizer.step()


def share(rank: int, world_size: int, folder: str) -> None:
    """Train each model of a folder as one of several processes, and write what it has learned."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size
    )
    for made in sorted(Path(folder).glob("*/config.yaml")):
        model, _ = EnhancementTask.build_model_from_file(made, made.with_name("model.pth"), "cpu")
        # as ESPnet wraps it
        train(
            DistributedDataParallel(model.double(), find_unused_parameters=False), rank, world_size
        )
        torch.save(model.state_dict(), made.with_name(f"rank{rank}.pth"))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_learn_what_one_learns(espnet_model, tmp_path, world_size):
    models = {}
    for checkpoint, (name, switches) in itertools.product(get_args(Checkpoint), SUPERVISED.items()):
        settings = {**TINY, "checkpoint": checkpoint, **switches}
        _, config, weights = espnet_model(separator_conf=settings)
        folder = tmp_path / "models" / f"{checkpoint}_{name}"
        folder.mkdir(parents=True)
        config.rename(folder / "config.yaml")
        weights.rename(folder / "model.pth")
        models[folder] = torch.load(folder / "model.pth", weights_only=True)
    assert len(models) == len(get_args(Checkpoint)) * len(SUPERVISED)
    torch.multiprocessing.spawn(share, (world_size, str(tmp_path / "models")), world_size)
    for folder, untrained in models.items():
        model, _ = EnhancementTask.build_model_from_file(
            folder / "config.yaml", folder / "model.pth", "cpu"
        )
        train(model.double())
        expected = model.state_dict()
        for rank in range(world_size):
            found = torch.load(folder / f"rank{rank}.pth", weights_only=True)
            for key, value in expected.items():
                where = f"{folder.name}, rank {rank}, {key}"
                torch.testing.assert_close(
                    found[key], value, rtol=0, atol=1e-8, msg=partial("{}: {}".format, where)
                )
        learned = max((expected[key] - untrained[key]).abs().max() for key in expected)
        assert learned > 1e-2, folder.name


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the inputs of a training; glibc's settings stay unchanged for other tests."""
    monkeypatch.setattr("espnet2_tisdiss.espnet.training.keep_freed_memory", lambda: None)
    write_config(folder)


def run(folder: Path, name: str, **options) -> Path:
    """Train a tiny model in this process; give its folder."""
    ResumableTask.main(cmd=command(folder, name, **options))
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(tmp_path, monkeypatch, counts):
    prepare(tmp_path, monkeypatch)
    # the first steps are badly conditioned, so rounding would show
    options = {"optim_conf": ["lr=1.0e-2", "momentum=0.9"], "train_dtype": "float64"}
    whole = weights(run(tmp_path, "whole", **options))
    for epoch, count in enumerate(counts, start=1):
        folder = run(
            tmp_path, "parts", **options, max_epoch=epoch, cpu_processes=count, resume="true"
        )
    for name, expected in weights(folder).items():
        torch.testing.assert_close(expected, whole[name], rtol=0, atol=1e-8)


# what Slurm's srun does, on this machine
SRUN = """\
#!/bin/sh
while :; do case $1 in --nodes=*) nodes=${1#*=}; shift;; --*) shift;; *) break;; esac; done
export SLURM_NTASKS=$nodes SLURM_STEP_NUM_NODES=$nodes SLURM_STEP_NODELIST=here SLURM_LOCALID=0
number=0
while [ $number -lt "$nodes" ]; do
    SLURM_PROCID=$number SLURM_NODEID=$number "$@" &
    tasks="$tasks $!"
    number=$((number + 1))
done
status=0
for task in $tasks; do wait "$task" || status=1; done
exit $status
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm", "torchrun"])
def test_two_machines_train_as_one(tmp_path, monkeypatch, launcher):
    prepare(tmp_path, monkeypatch)
    alone = weights(run(tmp_path, "alone", max_epoch=1), "1epoch.pth")
    (tmp_path / "shared").mkdir()  # address at which the processes connect
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ["--ngpu", "0", "--num_nodes", "2", "--dist_launcher", launcher]
    recipe = name_all(complete(parse([*words, "--enh_exp", str(tmp_path / "shared")])))
    trained = [sys.executable, "-m", "espnet2_tisdiss.bin.enh_train"]
    trained += command(tmp_path, "shared", max_epoch=1, ngpu=0)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    processes = [
        subprocess.Popen(launched(recipe, trained, {**meeting, "NODE_RANK": str(number)}))
        for number in range(2 if launcher == "torchrun" else 1)
    ]
    try:
        assert [process.wait(500) for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()
    found = weights(tmp_path / "shared", "1epoch.pth")
    for name, expected in alone.items():
        torch.testing.assert_close(found[name], expected, rtol=0, atol=2e-5)
    assert yaml.safe_load((tmp_path / "shared/config.yaml").read_text())["distributed"]


@pytest.mark.slow
def test_a_training_ends_with_one_of_its_processes_and_goes_on(tmp_path, monkeypatch):
    prepare(tmp_path, monkeypatch)
    with two_processes_training(tmp_path) as process:
        children = [
            child.pid
            for child in psutil.Process(process.pid).children()
            if "multiprocessing.spawn" in " ".join(child.cmdline())
        ]
        os.kill(children[-1], signal.SIGKILL)
        assert process.wait(240) != 0
        wait_until(lambda: not living_processes(process.pid))
    assert "terminated with signal SIGKILL" in (tmp_path / "log").read_text()
    done = int((tmp_path / "exp/latest.pth").readlink().name.removesuffix("epoch.pth"))
    folder = run(tmp_path, "exp", max_epoch=done + 2, resume="true")
    assert (folder / f"{done + 2}epoch.pth").is_file()
