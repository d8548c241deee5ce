"""Starting a training with several processes or machines."""

from __future__ import annotations

import sys

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.launching import launched
from espnet2_tisdiss.recipes.stages.options import OptionError, parse
from espnet2_tisdiss.recipes.stages.recipe import (
    Recipe,
    check_together,
    complete,
    is_helper,
    name_all,
)

TRAIN = [sys.executable, "-m", "espnet2_tisdiss.bin.enh_train", "--ngpu", "2"]
MEETING = {"MASTER_ADDR": "first", "MASTER_PORT": "29500"}
SETS = ["--train_set", "tr", "--valid_set", "cv", "--test_sets", "tt"]


def recipe(*words: str) -> Recipe:
    return name_all(complete(parse(["--ngpu", "2", *words])))


def test_without_a_launcher_the_command_stays() -> None:
    assert launched(recipe(), TRAIN) == TRAIN


def test_slurm_starts_one_process_a_machine() -> None:
    words = ["--dist_launcher", "slurm", "--num_nodes", "3", "--enh_exp", "exp/it"]
    first, second = (launched(recipe(*words), TRAIN) for _ in range(2))
    assert first[:3] == ["srun", "--nodes=3", "--ntasks=3"]
    assert "--ntasks-per-node=1" in first
    assert first[5 : 5 + len(TRAIN)] == TRAIN
    assert first[-6:-1] == [
        *["--dist_launcher", "slurm"],
        *["--multiprocessing_distributed", "true"],
        "--dist_init_method",
    ]
    assert first[-1].startswith("file:///") and "/exp/it/.dist_init_" in first[-1]
    assert first[-1] != second[-1]  # a separate rendezvous
    on_cpus = launched(recipe(*words, "--ngpu", "0"), TRAIN)
    assert on_cpus[-2:] == ["--dist_backend", "gloo"]


def test_torchrun_starts_a_process_for_each_gpu_of_this_machine() -> None:
    (alone, several, on_cpus) = (
        launched(recipe("--dist_launcher", "torchrun", *words), TRAIN, environment)
        for words, environment in (
            ([], {}),
            (["--num_nodes", "4"], {**MEETING, "NODE_RANK": "3"}),
            (["--num_nodes", "4", "--ngpu", "0"], MEETING),
        )
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    ours = [*TRAIN[1:], "--multiprocessing_distributed", "false", "--ngpu"]
    assert alone == [*torchrun, "--nnodes=1", "--nproc-per-node=2", "--standalone", *ours, "1"]
    meeting = ["--master-addr=first", "--master-port=29500"]
    processes = ["--nnodes=4", "--nproc-per-node=2", "--node-rank=3"]
    assert several == [*torchrun, *processes, *meeting, *ours, "1"]
    processes = ["--nnodes=4", "--nproc-per-node=1", "--node-rank=0"]
    gloo = ["0", "--dist_backend", "gloo"]
    assert on_cpus == [*torchrun, *processes, *meeting, *ours, *gloo]


def test_torchrun_has_to_know_where_machines_meet() -> None:
    words = ["--dist_launcher", "torchrun", "--num_nodes", "2"]
    with pytest.raises(TisdissError, match=r"--num_nodes 2: set MASTER_PORT to .*NODE_RANK to 0"):
        launched(recipe(*words), TRAIN, {"MASTER_ADDR": "first"})


def test_further_machines_only_train(monkeypatch, tmp_path) -> None:
    config = tmp_path / "x.yaml"
    config.touch()
    words = [*SETS, "--enh_config", str(config), "--num_nodes", "2"]
    with pytest.raises(OptionError, match="--num_nodes 2: needs --dist_launcher slurm, within"):
        check_together(parse(words))
    words += ["--dist_launcher", "torchrun"]
    check_together(parse(words))
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(OptionError, match="NODE_RANK=1: only training .*--stage 6 --stop_stage 6"):
        check_together(parse(words))
    words += ["--stage", "6", "--stop_stage", "6"]
    check_together(parse(words))
    assert is_helper(parse(words))
    with pytest.raises(OptionError, match="--dist_launcher 'mpi': expected slurm or torchrun"):
        parse(["--dist_launcher", "mpi"])
