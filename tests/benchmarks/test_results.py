"""The sections that the benchmarks write into the documentation."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from results import machine, number, record, replace_section, table

from espnet2_tisdiss.errors import TisdissError

ROOT = Path(__file__).parents[2]
PAGE = "# Page\n\n<!-- a -->\nold\n<!-- /a -->\n\nby hand\n\n<!-- b -->\nkept\n<!-- /b -->\n"


def test_a_section_is_replaced_and_the_rest_kept():
    page = replace_section(PAGE, "a", "new\nlines\n\n")
    assert page == PAGE.replace("old", "new\nlines")
    assert replace_section(page, "a", "old") == PAGE


@pytest.mark.parametrize(
    "page",
    ["", "<!-- a -->\nno end\n", "<!-- /a -->\n<!-- a -->\n", 2 * PAGE],
)
def test_a_page_without_the_one_section_is_refused_and_left(tmp_path, page):
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(TisdissError, match="page.md: the page must have one section <!-- a -->"):
        record(path, "a", "new")
    assert path.read_text() == page


def test_a_page_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TisdissError, match="page.md: No such file"):
        record(tmp_path / "page.md", "a", "new")


def test_the_page_of_the_documentation_has_every_section():
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for script in ("speed", "separators", "growth"):
        for device in ("cpu", "cuda"):
            assert "planted" in replace_section(page, f"{script}-{device}", "planted")
    for section in ("training-cpu", "startup-cpu"):
        assert "planted" in replace_section(page, section, "planted")


def test_tables_and_numbers():
    rows = [("x", number(0.012345)), ("y", number(1234.5)), ("z", number(10))]
    assert table(("what", "s"), rows) == (
        "| what | s |\n| --- | ---: |\n| x | 0.0123 |\n| y | 1234 |\n| z | 10.0 |\n"
    )


def test_the_machine_is_told_with_what_decides_the_speed():
    told = machine(torch.device("cpu"))
    assert f"{torch.get_num_threads()} thread" in told and torch.__version__ in told


def test_speed_answers_and_refuses_to_write_a_part(tmp_path):
    tiny = ["--threads", "1", "--repeats", "1", "--seconds", "0.08", "--config"]
    command = [sys.executable, ROOT / "benchmarks/speed.py", *tiny]
    config = ROOT / "conf/train_tiny.yaml"
    run = subprocess.run([*command, config, "--only", "sweep"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    row = next(line for line in run.stdout.splitlines() if line.startswith("| one run, all depths"))
    assert float(row.split("|")[-2]) < 1e-3  # the largest difference from the plain runs
    *_, what, plain, ours, _ = next(
        line.split("|") for line in run.stdout.splitlines() if line.startswith("| sweep N_re")
    )
    assert "times faster than 8 plain runs" in what and plain.strip() == "1.00"
    assert ours == row.split("|")[-3]

    page = tmp_path / "page.md"
    page.write_text(PAGE)
    part = subprocess.run(
        [*command, config, "--only", "sweep", "--page", page], capture_output=True, text=True
    )
    assert part.returncode == 1 and len(part.stderr.splitlines()) == 1
    assert "omit --only" in part.stderr and page.read_text() == PAGE
    lacks = subprocess.run([*command, tmp_path / "no.yaml"], capture_output=True, text=True)
    assert lacks.returncode == 1 and "no.yaml: no such file" in lacks.stderr
    assert "Traceback" not in lacks.stderr
