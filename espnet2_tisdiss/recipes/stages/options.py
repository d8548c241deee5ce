#!/usr/bin/env python3
"""The options of local/enh.sh: reads its command line and prints it as shell assignments.

It uses only the standard library and runs as a file, so that --help and errors in options are
immediate and need no installation.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from shlex import quote


class OptionError(ValueError):
    """An option is wrong; the text says which and why, in one line."""


@dataclass(frozen=True)
class Kind:
    """The form of an option's values.

    Attributes:
        pattern: regular expression of a value; None accepts everything.
        expected: description of a value.
        several: whether there may be several values, separated by spaces, or none.
    """

    pattern: str | None
    expected: str = ""
    several: bool = False


# environment variable with the options as JSON, for the programs that enh.sh runs
ENVIRONMENT = "ENH_OPTIONS"

LAST_STAGE = 13
COUNT = r"[1-9][0-9]{0,8}"
INDEX = r"0|[1-9][0-9]{0,8}"
DECIMAL = r"[0-9]+(\.[0-9]+)?"
METRICS = "STOI|ESTOI|SDR|SAR|SIR|SI_SNR"
SET = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
KINDS = {
    "stage": Kind(f"[1-9]|1[0-{LAST_STAGE - 10}]", f"a stage from 1 to {LAST_STAGE}"),
    "number": Kind(INDEX, "a number from 0 on"),
    "index": Kind(f"({INDEX})?", "a channel from 0 on"),
    "count": Kind(COUNT, "a number from 1 on"),
    "maybe": Kind(f"({COUNT})?", "a number from 1 on"),
    "counts": Kind(COUNT, "a number from 1 on", several=True),
    "seconds": Kind(DECIMAL, "a number of seconds"),
    "decibel": Kind(DECIMAL, "a number of decibels"),
    "factors": Kind(r"(0\.0*[1-9]|[1-9][0-9]*(\.|$))[0-9]*", "a speed such as 0.9", several=True),
    "bool": Kind("true|false", "true or false"),
    "rate": Kind("[1-9][0-9]{0,2}k|[1-9][0-9]{3,5}", "a rate such as 8k or 16000"),
    "backend": Kind("local|dask", "local or dask"),
    "launcher": Kind("(slurm|torchrun)?", "slurm or torchrun"),
    "format": Kind("wav|flac", "wav or flac (lists may name archives, but none are written)"),
    "path": Kind("[^,]+", "a name without commas"),
    "name": Kind(SET, "the name of a set"),
    "tag": Kind(f"({SET})?", "a name"),
    "names": Kind(SET, "the name of a set", several=True),
    "metrics": Kind(METRICS, f"one of {METRICS.replace('|', ' ')}", several=True),
    "word": Kind(None),
    "words": Kind(None),  # options of another program, which may look like ours
}

# name, default, kind and meaning of each option
TABLE = Path(__file__).with_name("options.tsv")

# ESPnet's names of options that have another one here
ALIASES = {"spk_num": "ref_num"}


@dataclass(frozen=True)
class Foreign:
    """An option of ESPnet's enh.sh that has no effect here.

    Attributes:
        accepted: regular expression of the values that match what this driver does anyway.
        reason: why other values are refused.
    """

    accepted: str = ".*"
    reason: str = ""


UPLOAD = (
    "models are not uploaded from here; stage 11 leaves a zip archive in the experiment's folder"
)
RECOGNITION = (
    *("asr_exp", "lm_exp", "nlsyms_txt", "inference_lm", "inference_asr_model"),
    *("inference_asr_tag", "inference_asr_config", "inference_asr_args"),
)
FOREIGN = {
    "lang": Foreign(),
    "feats_type": Foreign("raw", "only raw audio is prepared"),
    "use_preprocessor": Foreign("(true|)", "write 'preprocessor: null' into the configuration"),
    "extra_wav_list": Foreign("", "only the lists that training and scoring read are formatted"),
    "download_model": Foreign(
        "",
        "a model is not downloaded here: give --skip_train true, --enh_exp the folder of its "
        "config.yaml and --inference_model the name of its weights there",
    ),
    "inf_num": Foreign("", "a model gives as many outputs as it has speakers: see --ref_num"),
    "skip_upload": Foreign("true", UPLOAD),
    "skip_upload_hf": Foreign("true", UPLOAD),
    "hf_repo": Foreign("", UPLOAD),
    "score_with_asr": Foreign(
        "false",
        "speech is not recognised here, but by the recipes in enh_asr1; the folders of stage 7 "
        "hold spk1.scp, spk2.scp, ... for another recogniser",
    ),
    **dict.fromkeys(RECOGNITION, Foreign()),  # without score_with_asr they have no effect there
}


@dataclass(frozen=True)
class Option:
    """A row of the table."""

    name: str
    default: str
    kind: str
    meaning: str


@cache
def options() -> dict[str, Option]:
    """Return the options by their names."""
    _, *rows = TABLE.read_text(encoding="utf-8").splitlines()
    listed = (Option(*row.split("\t")) for row in rows)
    return {option.name: option for option in listed}


HELP = """\
Usage: ./run.sh [--option value | --option=value] ...

Stages: 1 data, 2 speed perturbation, 3 format audio, 4 drop short and long, 5 statistics,
6 training, 7 inference, 8 scoring, 11 packing (9, 10, 12 and 13: nothing to do).
Finished stages are not repeated unless their input or options changed.
Names may be written with hyphens. Options of ESPnet's enh.sh that are not listed (such as --lang)
are accepted where they change nothing, and refused with the reason where they would.

Options [default]:
"""


def help_text() -> str:
    """Return what --help prints."""
    rows = (f"  --{one.name:<22} {one.meaning} [{one.default}]" for one in options().values())
    return HELP + "\n".join(rows)


def parse(words: Sequence[str]) -> dict[str, str] | None:
    """Parse a command line; if an option is repeated, the last value counts.

    Returns:
        Option -> value, of all options; None if help is asked for.
    """
    values = {name: option.default for name, option in options().items()}
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ("--help", "-h"):
            return None
        if not word.startswith("--") or word == "--":
            raise OptionError(
                f"unexpected argument '{word}'; options are --name value (see --help)"
            )
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        name = ALIASES.get(name, name)
        if name not in values and name not in FOREIGN:
            raise OptionError(f"unknown option --{name} (see --help)")
        if not equals:
            if not left:
                raise OptionError(f"--{name} lacks its value")
            takes_options = name in FOREIGN or options()[name].kind == "words"
            if left[0].startswith("--") and not takes_options:
                raise OptionError(f"--{name} lacks its value (next is {left[0]})")
            value = left.pop(0)
        if name in FOREIGN:
            check_foreign(name, value)
            continue
        values[name] = value.replace("\n", " ")
        check(name, values[name])
    return values


def check_foreign(name: str, value: str) -> None:
    """Refuse a value of one of ESPnet's options that asks for something not done here."""
    if not re.fullmatch(FOREIGN[name].accepted, value, re.DOTALL):
        raise OptionError(f"--{name} '{value}': {FOREIGN[name].reason}")


def check(name: str, value: str) -> None:
    """Refuse a value that does not suit its option."""
    kind = KINDS[options()[name].kind]
    if kind.pattern is None:
        return
    for one in value.split() if kind.several else [value]:
        if not re.fullmatch(kind.pattern, one):
            raise OptionError(f"--{name} '{one}': expected {kind.expected}")


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
    return Recipe(
        opt=values,
        stages=stages(values),
        rate=rate,
        train=values["train_set"] + perturbed(values),
        valid=values["valid_set"],
        tests=evaluated_sets(values),
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


def evaluated_sets(values: Mapping[str, str]) -> list[str]:
    """Return the sets that are separated and scored."""
    sets = values["test_sets"].split()
    first = [values["valid_set"]] if values["eval_valid_set"] == "true" else []
    return list(dict.fromkeys([*first, *sets]))


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
    lines.append(f"export {ENVIRONMENT}={quote(json.dumps(opt))}")
    return "\n".join(lines)


def handed_on() -> Recipe:
    """Return the options that enh.sh exported."""
    return name_all(json.loads(os.environ[ENVIRONMENT]))


def main() -> int:
    """Print shell code for the words of the command line, which are those of enh.sh."""
    try:
        values = parse(sys.argv[1:])
        if values is None:
            print(f"printf '%s\\n' {quote(help_text())}\nexit 0")
            return 0
        check_together(values)
    except OptionError as error:
        print(f"{datetime.now():%Y-%m-%d %H:%M:%S} (enh.sh) error: {error}", file=sys.stderr)
        return 1
    print(assignments(name_all(complete(values))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
