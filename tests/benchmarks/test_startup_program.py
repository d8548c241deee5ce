"""The benchmark of the start, with planted times."""

import pytest
import startup

from espnet2_tisdiss.errors import TisdissError


@pytest.fixture
def planted(monkeypatch):
    """Replace the programs by quick ones."""
    programs = {startup.UNIT: ["pass"], "slow": ["import time; time.sleep(0.5)"]}
    monkeypatch.setattr(startup, "commands", lambda folder: programs)
    monkeypatch.setattr(startup, "begin", lambda threads, device: None)


def test_ratios_are_to_the_import_of_pytorch():
    warm, cold = {startup.UNIT: 2.0, "a": 3.0}, {startup.UNIT: 5.0, "a": 20.0}
    lines = startup.report(warm, cold).splitlines()
    assert lines[2] == "|  | warm, s | warm, ratio | cold, s | cold, ratio |"
    assert lines[4] == f"| {startup.UNIT} | 2.00 | 1.00 | 5.00 | 1.00 |"
    assert lines[5] == "| a | 3.00 | 1.50 | 20.0 | 4.00 |"


def test_where_the_cache_stays_it_is_told(planted, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(startup, "PAGE_CACHE", tmp_path / "no" / "drop_caches")
    page = tmp_path / "page.md"
    page.write_text(f"<!-- {startup.SECTION} -->\n<!-- /{startup.SECTION} -->\n")
    startup.main(["--repeats", "1", "--page", str(page)])
    written = page.read_text()
    assert "Not measured cold: only root may drop the page cache." in written
    assert written.splitlines()[1] in capsys.readouterr().out
    row = next(line for line in written.splitlines() if line.startswith("| slow"))
    assert float(row.split("|")[2]) >= 0.5


def test_the_cache_is_dropped_before_each_cold_run(planted, monkeypatch, tmp_path, capsys):
    dropped = tmp_path / "drop_caches"
    monkeypatch.setattr(startup, "PAGE_CACHE", dropped)
    ran = []

    def run(*_):
        ran.append(dropped.exists())
        dropped.unlink(missing_ok=True)

    monkeypatch.setattr(startup, "run", run)
    startup.main(["--repeats", "2"])
    assert ran == [True] * 4 + [False] * 4  # cold ones first
    assert "cold, ratio" in capsys.readouterr().out


def test_a_program_that_fails_is_told():
    with pytest.raises(TisdissError, match="^import none: failed: .*No module named 'none'"):
        startup.run(["import none"], 1)
    with pytest.raises(TisdissError, match="^--device cuda: measures CPUs only$"):
        startup.main(["--device", "cuda"])


def test_what_is_timed_are_programs_of_python(tmp_path):
    programs = startup.commands(tmp_path)
    assert next(iter(programs)) == startup.UNIT
    for name, (program, *_) in programs.items():
        compile(program, name, "exec")
