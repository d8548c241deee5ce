"""Write docs/reliability.md: the promises, their tests, and the results of the last run.

It reads the reports written by ``pytest -m promise --junitxml FILE``. Promises that no report
covers keep their result on the page.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from results import check_page, record

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.user_files import read_yaml

PROMISES = Path(__file__).parents[1] / "tests/promises.yaml"
SECTION = "promises"
HEADER = ("promise", "how it is tested", "cases", "last run")
NOT_RUN = ("0", "not run yet")


@dataclass
class Result:
    """The result of a run for a promise.

    Attributes:
        cases: number of checked cases.
        tests: number of tests that checked them.
        failed: names of the tests that failed.
        date: date of the run.
    """

    date: str
    cases: int = 0
    tests: int = 0
    failed: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, str]:
        """Return the last two cells of the promise's row."""
        if not self.tests:
            return "0", f"skipped ({self.date})"
        if self.failed:
            names = ", ".join(self.failed)
            return str(self.cases), f"BROKEN in {len(self.failed)} tests ({self.date}): {names}"
        return str(self.cases), f"kept ({self.date})"


def read_reports(paths: Iterable[Path]) -> dict[str, Result]:
    """Return the results by promise; a test's later report replaces its earlier one.

    Raises:
        TisdissError: a report cannot be read.
    """
    tests: dict[tuple[str, str], tuple[str, ElementTree.Element]] = {}
    for path in paths:
        try:
            suites = ElementTree.parse(path).getroot().iter("testsuite")
        except (OSError, ElementTree.ParseError) as error:
            raise TisdissError(f"{path}: not a report of pytest --junitxml: {error}") from None
        for suite in suites:
            date = suite.get("timestamp", "")[:10]
            for case in suite.iter("testcase"):
                tests[case.get("classname", ""), case.get("name", "")] = date, case
    results: dict[str, Result] = {}
    for date, case in tests.values():
        _add(results, case, date)
    return results


def _add(results: dict[str, Result], case: ElementTree.Element, date: str) -> None:
    """Add a test's outcome to the results of the promises that it names."""
    properties = [(each.get("name"), each.get("value", "")) for each in case.iter("property")]
    cases = sum(int(value) for name, value in properties if name == "cases") or 1
    for name in dict.fromkeys(value for key, value in properties if key == "promise"):
        result = results.setdefault(name, Result(date))
        if case.find("skipped") is not None:
            continue
        result.cases, result.tests = result.cases + cases, result.tests + 1
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed.append(case.get("name", ""))


def recorded(page: Path | None) -> dict[str, tuple[str, str]]:
    """Return promise -> its last two cells, of the page's table."""
    lines = page.read_text(encoding="utf-8").splitlines() if page else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: (row[2], row[3]) for row in rows if len(row) == len(HEADER)}


def table(
    promises: Mapping[str, Mapping[str, str]],
    results: Mapping[str, Result],
    before: Mapping[str, tuple[str, str]],
) -> str:
    """Return the page's table.

    Args:
        promises: the registry: name -> ``promise`` and ``tested``.
        results: by name.
        before: the last two cells by the promise's text, for promises without a result.
    """
    rows = []
    for name, entry in promises.items():
        old = before.get(entry["promise"], NOT_RUN)
        cells = results[name].cells() if name in results else old
        rows.append([entry["promise"], entry["tested"], *cells])
    return markdown_table(HEADER, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+", help="written by pytest --junitxml")
    parser.add_argument("--page", type=Path, help=f"write the table to its section {SECTION!r}")
    args = parser.parse_args(arguments)
    check_page(args.page, SECTION)
    content = table(read_yaml(PROMISES), read_reports(args.reports), recorded(args.page))
    sys.stdout.write(content)
    if args.page is not None:
        record(args.page, SECTION, content)


if __name__ == "__main__":
    sys.exit(run_main("reliability.py", main))
