#!/usr/bin/env python3
"""The options of local/enh.sh: reads its command line and prints its values as a shell assignment.

It uses only the standard library and runs as a file, so that --help and wrong values are immediate
and need no installation. What follows from the values is in recipe.py.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
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

# ESPnet's names of options that have another one here
ALIASES = {"spk_num": "ref_num"}


@cache
def _rows(table: str) -> dict[str, dict[str, str]]:
    """Read a table beside this file: option -> column -> text."""
    with Path(__file__).with_name(table).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["name"]: row for row in rows}


def options() -> dict[str, dict[str, str]]:
    """Return the default, the kind and the meaning of each option."""
    return _rows("options.tsv")


def foreign_options() -> dict[str, dict[str, str]]:
    """Return ESPnet's options that have no effect here.

    ``accepted`` is a regular expression of the values that match what this driver does anyway,
    ``reason`` says why other values are refused.
    """
    return _rows("options_of_espnet.tsv")


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
    rows = ("  --{name:<22} {meaning} [{default}]".format(**row) for row in options().values())
    return HELP + "\n".join(rows)


def parse(words: Sequence[str]) -> dict[str, str] | None:
    """Parse a command line; if an option is repeated, the last value counts.

    Returns:
        Option -> value, of all options; None if help is asked for.
    """
    values = {name: row["default"] for name, row in options().items()}
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
        if name not in values and name not in foreign_options():
            raise OptionError(f"unknown option --{name} (see --help)")
        if not equals:
            if not left:
                raise OptionError(f"--{name} lacks its value")
            takes_options = name in foreign_options() or options()[name]["kind"] == "words"
            if left[0].startswith("--") and not takes_options:
                raise OptionError(f"--{name} lacks its value (next is {left[0]})")
            value = left.pop(0)
        if name in foreign_options():
            check_foreign(name, value)
            continue
        values[name] = value.replace("\n", " ")
        check(name, values[name])
    return values


def check_foreign(name: str, value: str) -> None:
    """Refuse a value of one of ESPnet's options that asks for something not done here."""
    row = foreign_options()[name]
    if not re.fullmatch(row["accepted"], value, re.DOTALL):
        raise OptionError(f"--{name} '{value}': {row['reason']}")


def check(name: str, value: str) -> None:
    """Refuse a value that does not suit its option."""
    kind = KINDS[options()[name]["kind"]]
    if kind.pattern is None:
        return
    for one in value.split() if kind.several else [value]:
        if not re.fullmatch(kind.pattern, one):
            raise OptionError(f"--{name} '{one}': expected {kind.expected}")


def print_code(code: Callable[[], str]) -> int:
    """Print code for enh.sh, or what is wrong with its options; return the exit code."""
    try:
        print(code())
    except OptionError as error:
        print(f"{datetime.now():%Y-%m-%d %H:%M:%S} (enh.sh) error: {error}", file=sys.stderr)
        return 1
    return 0


def exported(values: dict[str, str]) -> str:
    """Return shell code that hands options on to the programs."""
    return f"export {ENVIRONMENT}={quote(json.dumps(values))}"


def code() -> str:
    """Return shell code for the words of the command line, which are those of enh.sh."""
    values = parse(sys.argv[1:])
    if values is None:
        return f"printf '%s\\n' {quote(help_text())}\nexit 0"
    return exported(values)


if __name__ == "__main__":
    sys.exit(print_code(code))
