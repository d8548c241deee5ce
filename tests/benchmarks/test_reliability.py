"""The page of promises has the results of the tests' reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import reliability

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.user_files import read_yaml

REPORT = """<testsuites><testsuite timestamp="2026-01-02T03:04:05">
<testcase name="one"><properties>
<property name="promise" value="first"/><property name="cases" value="40"/></properties></testcase>
<testcase name="two"><properties><property name="promise" value="first"/></properties></testcase>
<testcase name="three"><properties><property name="promise" value="second"/></properties>
<failure message="no"/></testcase>
<testcase name="four"><properties><property name="promise" value="third"/></properties>
<skipped/></testcase>
<testcase name="unmarked"/>
</testsuite></testsuites>"""
PROMISES = {
    name: {"promise": f"{name} promise", "tested": f"{name} way"}
    for name in ("first", "second", "third", "fourth", "fifth")
}


def test_each_promise_has_its_cases_and_its_result(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    before = {"fourth promise": ("7", "kept (2025-12-31)"), "gone": ("1", "kept (2025-12-31)")}
    written = reliability.table(PROMISES, reliability.read_reports([report]), before)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.splitlines()[2:]]
    assert rows == [
        ["first promise", "first way", "41", "kept (2026-01-02)"],
        ["second promise", "second way", "1", "BROKEN in 1 tests (2026-01-02): three"],
        ["third promise", "third way", "0", "skipped (2026-01-02)"],
        ["fourth promise", "fourth way", "7", "kept (2025-12-31)"],
        ["fifth promise", "fifth way", "0", "not run yet"],
    ]
    page = tmp_path / "page.md"
    page.write_text(written)
    assert reliability.recorded(page)["first promise"] == ("41", "kept (2026-01-02)")


def test_a_later_report_of_a_test_replaces_the_earlier(tmp_path: Path) -> None:
    for name, text in (("old", REPORT), ("new", REPORT.replace('<failure message="no"/>', ""))):
        (tmp_path / name).write_text(text)
    found = reliability.read_reports([tmp_path / "old", tmp_path / "new"])
    assert (found["second"].failed, found["first"].cases) == ([], 41)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text("<cut")
    with pytest.raises(TisdissError, match="report.xml: not a report of pytest --junitxml: "):
        reliability.read_reports([tmp_path / "report.xml"])


def test_promises_fit_a_table() -> None:
    for entry in read_yaml(reliability.PROMISES).values():
        assert sorted(entry) == ["promise", "tested"]
        assert not any("|" in text or "\n" in text for text in entry.values())
