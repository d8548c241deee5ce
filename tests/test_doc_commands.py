"""The programs accept every command line in the documentation."""

import re
import shlex
from itertools import repeat

import pytest
import typer
from recipe_folder import REPOSITORY
from test_docs import PAGES, name_of, tracked

from espnet2_tisdiss.cli.app import app

USAGE_ERROR = typer.BadParameter.__base__  # from the click that Typer contains
TISDISS = typer.main.get_command(app)
FENCE = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
PROGRAM = re.compile(r"(?:.*/)?(tisdiss|make|\w+\.py|run\.sh|enh\.sh)")
# placeholders in a text: FILE..., [MODEL], <name>
PLACEHOLDER = re.compile(r"\.\.\.|\[|<|…")


def command_lines(text):
    """Yield the words of each command line of a page, and whether it may be a part of one.

    Variables before the program are left out.
    """
    blocks = [*FENCE.findall(text), *INDENTED.findall(re.sub(r"^```.*?^```$", "", text, flags=48))]
    whole = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = [span for span in INLINE.findall(text) if " " in span]
    for line, is_part in [*zip(whole, repeat(False)), *zip(spans, repeat(True))]:
        if PLACEHOLDER.search(line):
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # not a command
            continue
        while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
            words.pop(0)
        if words and re.fullmatch(r"(.*/)?python3?", words[0]):
            words.pop(0)
        if words and PROGRAM.fullmatch(words[0]):
            yield words, is_part


def targets():
    return re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def problem(words, is_part):
    """What is wrong with a command line; None if nothing is."""
    program, *rest = words
    name = program.rpartition("/")[2]
    if name == "tisdiss":
        return _problem_of_tisdiss(rest, is_part)
    if name == "make":
        unknown = {word for word in rest if "=" not in word} - set(targets())
        return f"make has no target {unknown}" if unknown else None
    options = {word.partition("=")[0] for word in rest if re.fullmatch(r"--[a-z]\S+", word)}
    unknown = {one for one in options if not re.search(rf"{one}\b", _known_to(program))}
    return f"{name} has no option {unknown}" if unknown else None


def _problem_of_tisdiss(words, is_part):
    try:
        if words[0] not in TISDISS.commands:
            with TISDISS.make_context("tisdiss", list(words)):
                return f"tisdiss has no command {words[0]}"
        with TISDISS.commands[words[0]].make_context(words[0], words[1:]):
            return None
    except typer.Exit:  # --help, --version
        return None
    except USAGE_ERROR as error:
        is_short = type(error).__name__ in ("MissingParameter", "BadOptionUsage")
        return None if is_part and is_short else error.format_message()


def _known_to(program):
    """The text in which the options of a program are."""
    name = program.rpartition("/")[2]
    if name in ("run.sh", "enh.sh"):
        stages = REPOSITORY.glob("espnet2_tisdiss/recipes/stages/options*.*")
        files = [*stages, *REPOSITORY.glob("local/*.sh"), *REPOSITORY.glob("egs2/*/*/run.sh")]
        words = "\n".join(path.read_text() for path in files)
        return re.sub(r"^ *([a-z_]+)[=:\t]", r"--\1 ", words, flags=re.MULTILINE)
    scripts = tracked(f"*{program.removeprefix('../../../').removeprefix('./')}")
    assert scripts, f"{program}: no such program"
    return (
        "".join(script.read_text() for script in scripts)
        + (REPOSITORY / "benchmarks/measuring.py").read_text()
    )


# the change log also names removed options
@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=name_of)
def test_command_lines_are_accepted(page):
    lines = list(command_lines(page.read_text(encoding="utf-8")))
    problems = {" ".join(words): problem(words, is_part) for words, is_part in lines}
    assert {line: found for line, found in problems.items() if found} == {}


def test_wrong_command_lines_are_found():
    page = (
        "    tisdiss separate talk.wav --n-re 2\n    tisdiss seperate talk.wav\n\n"
        "```sh\ntisdiss separate a.wav --no-such-option\nmake nonsense\n"
        "python benchmarks/shifts.py voices DATA --lemit 4\n./run.sh --n_re 1 --n_er 1\n```\n"
        "`tisdiss sweep` `tisdiss sweep DATA`\n"
    )
    found = [problem(*line) for line in command_lines(page)]
    assert [one is None for one in found] == [False] * 4 + [True, False, True, True]
