"""A recipe: its options, and the names of sets, lists and folders that follow from them.

As a program it checks the options that options.py has read, and prints them and the names as shell
assignments for local/enh.sh.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from espnet2_tisdiss.recipes.stages.options import (
    ENVIRONMENT,
    LAST_STAGE,
    OptionError,
    exported,
    print_code,
)


def check_together(values: Mapping[str, str]) -> None:
    """Check that options are consistent and that configurations exist."""
    for name in ("train_set", "valid_set", "test_sets"):
        if not values[name]:
            raise OptionError(f"--{name} is missing")
    if values["num_nodes"] != "1" and not values["dist_launcher"]:
        raise OptionError(
            f"--num_nodes {values['num_nodes']}: needs --dist_launcher slurm, within an allocation "
            "of this many machines, or --dist_launcher torchrun, the same command on every machine"
        )
    if is_helper(values) and stages(values) != ["6"]:
        raise OptionError(
            f"NODE_RANK={node_rank()}: only training runs on several machines: give this one "
            "--stage 6 --stop_stage 6"
        )
    if int(values["stage"]) > int(values["stop_stage"]):
        raise OptionError(
            f"--stop_stage {values['stop_stage']} comes before --stage {values['stage']}"
        )
    trained = not {"5", "6"}.isdisjoint(stages(values))
    if not values["enh_config"] and (trained or not (values["enh_tag"] or values["enh_exp"])):
        raise OptionError("--enh_config is missing")
    if values["backend"] == "dask" and not values["parallel_config"]:
        raise OptionError("--backend dask: needs --parallel_config, see docs/scaling-out.md")
    for name in ("enh_config", "inference_enh_config", "parallel_config"):
        if values[name] and not Path(values[name]).is_file():
            raise OptionError(f"--{name} {values[name]}: no such file")
    if "6" in stages(values):  # before data preparation, which may take hours
        for weights in initial_weights(values["init_param"]):
            if not Path(weights.partition(":")[0]).is_file():
                raise OptionError(f"--init_param {weights}: no such file")


def node_rank(environment: Mapping[str, str] = os.environ) -> str:
    """Return the number of this machine, from 0, among those of a training by torchrun."""
    return environment.get("NODE_RANK", "0")


def is_helper(values: Mapping[str, str]) -> bool:
    """Return whether this machine helps another one, the first, with its training."""
    several = values["num_nodes"] != "1" and values["dist_launcher"] == "torchrun"
    return several and node_rank() != "0"


def stages(values: Mapping[str, str]) -> list[str]:
    """Return the stages that the options ask for."""
    skipped = {"skip_data_prep": (1, 2, 3, 4), "skip_train": (5, 6), "skip_eval": (7, 8)}
    skipped["skip_packing"] = (11,)
    left_out = {n for name, numbers in skipped.items() if values[name] == "true" for n in numbers}
    asked = range(int(values["stage"]), min(int(values["stop_stage"]), LAST_STAGE) + 1)
    return [str(number) for number in asked if number not in left_out]


def complete(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values, including those that are derived from others."""
    filled = dict(values)
    if not values["inference_nj"]:
        filled["inference_nj"] = "1" if values["gpu_inference"] == "true" else values["nj"]
    if not values["enh_tag"]:
        # as in ESPnet: the name of the configuration, then the changes by --enh_args
        changes = re.sub(r"[ |=/]", "", values["enh_args"].replace("--", "_"))
        config = Path(values["enh_config"]).name.removesuffix(".yaml")
        filled["enh_tag"] = f"{config}_raw{changes}{ways(values)}"
    return filled


def ways(values: Mapping[str, str]) -> str:
    """Return the suffix of the names of trainings on changed data."""
    return perturbed(values) + ("_dm" if values["dynamic_mixing"] == "true" else "")


def perturbed(values: Mapping[str, str]) -> str:
    """Return the suffix of the names of stage 2's results."""
    return "_sp" if values["speed_perturb_factors"].strip() else ""


@dataclass(frozen=True)
class Recipe:
    """The options, and the names of sets, lists and folders derived from them."""

    opt: Mapping[str, str]  # option -> value, of all options
    stages: list[str]  # numbers of the stages to run
    rate: str  # sample rate in Hz
    train: str  # training set, with what stage 2 makes of it
    valid: str  # validation set
    tests: list[str]  # sets that are separated and scored
    depths: list[str]  # repetitions at inference; one without a name is the model's own depth
    exp: str  # folder of the experiment
    stats: str  # folder of the statistics
    raw: str  # folder of the formatted sets
    init: list[str]  # weights to start from, each file[:source:target:excluded]
    train_lists: list[str]
    valid_lists: list[str]
    test_lists: list[str]

    def separation(self, test_set: str, n_re: str = "") -> str:
        """Return the name of a test set's separation and of its folder."""
        config = Path(self.opt["inference_enh_config"]).name.removesuffix(".yaml")
        name = self.opt["inference_tag"] or config or "enhanced"
        return f"{name}_re{n_re}_{test_set}" if n_re else f"{name}_{test_set}"


def name_all(values: Mapping[str, str]) -> Recipe:
    """Derive the names from the options."""
    rate = re.sub("k$", "000", values["fs"])
    rate_name = re.sub("000$", "k", rate)
    speakers = range(1, int(values["ref_num"]) + 1)
    test_lists = ["wav.scp", *(f"spk{number}.scp" for number in speakers)]
    valid_lists = [*test_lists]
    if values["use_noise_ref"] == "true":
        noises = range(1, int(values["noise_type_num"]) + 1)
        valid_lists += [f"noise{number}.scp" for number in noises]
    if values["use_dereverb_ref"] == "true":
        clean = range(1, int(values["dereverb_ref_num"] or values["ref_num"]) + 1)
        valid_lists += [f"dereverb{number}.scp" for number in clean]
    evaluated = [values["valid_set"]] if values["eval_valid_set"] == "true" else []
    return Recipe(
        opt=values,
        stages=stages(values),
        rate=rate,
        train=values["train_set"] + perturbed(values),
        valid=values["valid_set"],
        tests=list(dict.fromkeys([*evaluated, *values["test_sets"].split()])),
        depths=[str(depth) for depth in sorted(set(map(int, values["n_re"].split())))] or [""],
        exp=values["enh_exp"] or f"{values['expdir']}/enh_{values['enh_tag']}",
        stats=f"{values['expdir']}/enh_stats_{rate_name}{ways(values)}",
        raw=f"{values['dumpdir']}/raw",
        init=initial_weights(values["init_param"]),
        # dynamic mixing makes mixtures of single utterances
        train_lists=["wav.scp"] if values["dynamic_mixing"] == "true" else valid_lists,
        valid_lists=valid_lists,
        test_lists=test_lists,
    )


def initial_weights(text: str) -> list[str]:
    """Split --init_param into its parts, unless it is the path of one file with spaces."""
    file = text.partition(":")[0]
    return [text] if " " in file and Path(file).is_file() else text.split()


def assignments(recipe: Recipe) -> str:
    """Return shell code that sets opt and what is derived from it, and exports opt."""
    opt = recipe.opt
    lines = [f"opt=({' '.join(f'[{name}]={quote(value)}' for name, value in opt.items())})"]
    for variable, value in vars(recipe).items():
        if variable != "opt":
            text = quote(value) if isinstance(value, str) else f"({' '.join(map(quote, value))})"
            lines.append(f"{variable}={text}")
    return "\n".join([*lines, exported(dict(opt))])


def handed_on() -> dict[str, str]:
    """Return the options that enh.sh exported."""
    return json.loads(os.environ[ENVIRONMENT])


def code() -> str:
    """Return shell code for the options that options.py has read."""
    values = handed_on()
    check_together(values)
    return assignments(name_all(complete(values)))


if __name__ == "__main__":
    sys.exit(print_code(code))
