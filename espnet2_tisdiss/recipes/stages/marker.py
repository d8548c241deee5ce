#!/usr/bin/env python3
"""Markers of finished stages: one JSON file with the facts that the results depend on.

``check`` succeeds if the marker is there and every fact still holds; otherwise it prints in a few
words why not and exits with code 3.  ``write`` records the facts.  A fact is one of
  --option NAME=VALUE   an option of the driver
  --input PATH          a file's content
  --audio SCP           a list's content, and size and time of every file it names
  --exists PATH         a file or folder that must be there
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.program import run_main

MISSING = "missing"
NOT_DONE = 3
SHOWN_CHANGES = 3


def digest(path: Path) -> str:
    """SHA-256 of a file's content, or "missing"."""
    if not path.is_file():
        return MISSING
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_audio(scp: Path) -> str:
    """Digest of a list and of the sizes and times of the files it names, or "missing"."""
    if not scp.is_file():
        return MISSING
    whole = hashlib.sha256()
    for key, name in read_scp(scp).items():
        try:
            status = Path(name).stat()
        except OSError:
            return MISSING
        whole.update(f"{key} {name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return whole.hexdigest()


def facts_of(args: argparse.Namespace) -> dict[str, str]:
    """Name -> value of every fact on the command line."""
    facts: dict[str, str] = {}
    for text in args.option:
        name, _, value = text.partition("=")
        facts[f"--{name}"] = value
    facts |= {str(path): digest(path) for path in args.input}
    facts |= {f"the audio of {scp}": digest_audio(scp) for scp in args.audio}
    facts |= {f"the presence of {path}": str(path.exists()) for path in args.exists}
    return facts


def read_marker(path: Path) -> dict[str, str] | None:
    """The recorded facts, or None where no (readable) marker is."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return facts if isinstance(facts, dict) else None


def write_marker(path: Path, facts: dict[str, str]) -> None:
    """Record the facts; a marker never vouches for something that is not there.

    Raises:
        TisdissError: a file among the facts is missing.
    """
    for name, value in facts.items():
        if value == MISSING or (value == "False" and name.startswith("the presence of ")):
            raise TisdissError(f"{path} cannot be written: {name} is missing")
    write_atomically(path, json.dumps(facts, indent=1) + "\n")


def changes(recorded: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names of the facts that differ, in the order of the command line."""
    names = [*now, *(name for name in recorded if name not in now)]
    return [name for name in names if recorded.get(name) != now.get(name)]


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["check", "write"])
    parser.add_argument("marker", type=Path)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--input", action="append", default=[], type=Path, metavar="PATH")
    parser.add_argument("--audio", action="append", default=[], type=Path, metavar="SCP")
    parser.add_argument("--exists", action="append", default=[], type=Path, metavar="PATH")
    return parser


def main() -> None:
    """Run the command line."""
    args = get_parser().parse_args()
    facts = facts_of(args)
    if args.action == "write":
        write_marker(args.marker, facts)
        return
    recorded = read_marker(args.marker)
    if recorded is None:
        sys.exit(NOT_DONE)
    if changed := changes(recorded, facts):
        more = len(changed) - SHOWN_CHANGES
        print(", ".join(changed[:SHOWN_CHANGES]) + (f" and {more} more" if more > 0 else ""))
        sys.exit(NOT_DONE)


if __name__ == "__main__":
    sys.exit(run_main("marker", main))
