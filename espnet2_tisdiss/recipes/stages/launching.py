"""Starting the processes of a training in stage 6, on one machine or several.

ESPnet's trainer connects processes that a launcher starts with the right options. Slurm's ``srun``
starts one for each machine of an allocation, which starts one for each of its GPUs. PyTorch's
``torchrun`` starts one for each GPU of its own machine, so it must run on every machine.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.recipe import Recipe, node_rank

ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


def launched(
    recipe: Recipe, command: Sequence[str], environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Return the command that starts a training with the driver's launcher.

    Args:
        recipe: has the launcher, and the numbers of machines and of GPUs per machine.
        command: the training's command, without a launcher.
        environment: variables with the addresses for torchrun.

    Raises:
        TisdissError: the address of the first machine, which torchrun needs, is not set.
    """
    launcher = recipe.opt["dist_launcher"]
    if launcher == "slurm":
        return by_slurm(recipe, command)
    if launcher == "torchrun":
        return by_torchrun(recipe, command, environment)
    return [*command]


def by_slurm(recipe: Recipe, command: Sequence[str]) -> list[str]:
    """Return the command that Slurm runs on each machine of an allocation."""
    nodes = recipe.opt["num_nodes"]
    # a new file for each start, because an old one still lists the previous processes
    meeting = Path(recipe.exp, f".dist_init_{uuid.uuid4().hex}").absolute()
    options = ["--dist_launcher", "slurm", "--multiprocessing_distributed", "true"]
    options += ["--dist_init_method", f"file://{meeting}", *backend(recipe)]
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--export=ALL"]
    return [*srun, *command, *options]


def by_torchrun(
    recipe: Recipe, command: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Return the command that starts the processes of this machine."""
    nodes, gpus = recipe.opt["num_nodes"], int(recipe.opt["ngpu"])
    meeting = ["--standalone"]
    if nodes != "1":
        if missing := [name for name in ADDRESS if not environment.get(name)]:
            raise TisdissError(
                f"--dist_launcher torchrun --num_nodes {nodes}: set {' and '.join(missing)} to "
                "where the first machine is reached, on every machine, and NODE_RANK to 0, 1, ..."
            )
        meeting = [f"--node-rank={node_rank(environment)}"]
        meeting += [f"--master-addr={environment['MASTER_ADDR']}"]
        meeting += [f"--master-port={environment['MASTER_PORT']}"]
    processes = f"--nproc-per-node={max(gpus, 1)}"
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", processes]
    options = ["--multiprocessing_distributed", "false", "--ngpu", str(min(gpus, 1))]
    # without the interpreter, which torchrun starts itself
    return [*torchrun, *meeting, *command[1:], *options, *backend(recipe)]


def backend(recipe: Recipe) -> list[str]:
    """Return the options that connect processes without GPUs."""
    return ["--dist_backend", "gloo"] if recipe.opt["ngpu"] == "0" else []
