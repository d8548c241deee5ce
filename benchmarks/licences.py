"""Write docs/licences.md: the licence of every package that requirements.txt pins."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from results import check_page, record

from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.recipes.program import run_main

PINS = Path(__file__).parents[1] / "requirements.txt"
SECTION = "licences"
HEADER = ("package", "version", "licence")
LONGEST = 60  # of a licence's name; longer ones are its text
NOT_HERE = "not installed on this platform"
CLASSIFIER = re.compile(r"License :: (?:OSI Approved :: )?(.+)")


def pinned() -> list[Requirement]:
    """Return what requirements.txt pins."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]


def licence_of(package: Distribution) -> str:
    """Return the name of a package's licence, from its most precise statement."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = metadata.get_all("Classifier") or []
    named = [match[1] for line in classifiers if (match := CLASSIFIER.fullmatch(line))]
    if named and named != ["Other/Proprietary License"]:
        return ", ".join(named)
    text = (metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) <= LONGEST:
        return text
    return ", ".join(named) or "see its files"


def rows() -> list[tuple[str, str, str]]:
    """Return name, version and licence of each pin."""
    found = []
    for pin in pinned():
        version = str(pin.specifier).removeprefix("==")
        try:
            licence = licence_of(distribution(pin.name))
        except PackageNotFoundError:
            licence = NOT_HERE
        found.append((pin.name, version, licence))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help=f"write the table to its section {SECTION!r}")
    args = parser.parse_args(arguments)
    check_page(args.page, SECTION)
    content = markdown_table(HEADER, rows())
    sys.stdout.write(content)
    if args.page is not None:
        record(args.page, SECTION, content)


if __name__ == "__main__":
    sys.exit(run_main("licences.py", main))
