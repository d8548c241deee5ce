"""The handling of options by the recipes' run.sh before they are passed to local/enh.sh."""

from __future__ import annotations

import subprocess

import pytest
from recipe_folder import REPOSITORY

# a recipe's run.sh with one own option, which prints the result of parsing
RUN = """\
set -euo pipefail
source {shared}
own+=([seed]=0)
read_options "$@"
printf '%s\\n' "${{own[seed]}}" "${{options[@]}}"
"""


def read(*words: str) -> subprocess.CompletedProcess[str]:
    script = RUN.format(shared=REPOSITORY / "local/recipe_options.sh")
    command = ["bash", "-c", script, "run.sh", *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "seed", "handed_on"),
    [
        (["--enh_args", "--seed=1"], "0", ["--enh_args", "--seed=1"]),
        (["--enh_args", "--seed", "--seed", "7"], "7", ["--enh_args", "--seed"]),
        (["--enh_args", "--seed 1", "--ngpu=0"], "0", ["--enh_args", "--seed 1", "--ngpu=0"]),
        (["--fit_args=--seed=1", "--seed=2"], "2", ["--fit_args=--seed=1"]),
        (["--enh_args", "--help", "--seed", "3"], "3", ["--enh_args", "--help"]),
        (["--enh_args", "", "--seed", "3"], "3", ["--enh_args", ""]),
        (["--enh-args", "--seed=1", "--seed", "6"], "6", ["--enh-args", "--seed=1"]),
        # options without a value, and other words, are passed on; enh.sh reports them
        (["--seed", "4", "--stage"], "4", ["--stage"]),
        (["seed", "--", "--seed", "5"], "5", ["seed", "--"]),
    ],
)
def test_the_value_of_another_option_is_not_read_as_an_option(words, seed, handed_on) -> None:
    done = read(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [seed, *handed_on]


def test_an_option_of_the_recipe_without_its_value_is_one_line() -> None:
    done = read("--enh_args", "--seed=1", "--seed")
    assert (done.returncode, done.stderr) == (1, "run.sh: --seed lacks its value\n")
