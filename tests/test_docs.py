"""The files that the pages of the documentation refer to exist."""

import re
import subprocess
from urllib.parse import unquote

import pytest
from recipe_folder import REPOSITORY

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# a path of this repository in backticks, not one of a user's files or a pattern
FILE = re.compile(r"[\w./-]+/[\w.-]+\.(py|sh|yaml|md)")
# files in examples: of experiments, of the current folder, and elsewhere
OTHERS = re.compile(r"exp/|\./|/")


def tracked(pattern):
    if not (REPOSITORY / ".git").exists():  # an unpacked archive
        found = sorted(path for path in REPOSITORY.rglob(pattern) if ".venv" not in path.parts)
        return [path for path in found if "egg-info" not in str(path)]
    listing = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--", pattern]
    done = subprocess.run(listing, capture_output=True, text=True, check=True)
    return [REPOSITORY / name for name in done.stdout.split("\0") if name]


# the templates of model cards: one links to files of the cards, the others name no files here
TEMPLATES = ("model_card.md", "card_separation.md", "card_joint.md", "card_espnet3.md")
PAGES = [page for page in tracked("*.md") if page.name not in TEMPLATES]


def name_of(path):
    return str(path.relative_to(REPOSITORY))


def headings(page):
    """The anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in lines}


def broken_links(page):
    """Relative links of a page that lead nowhere."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    return broken


def missing_files(page):
    """Files that a page names in backticks but that exist neither in its folder nor at the top.

    Each word of a code span counts, so that commands do too.
    """
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    words = [word for span in CODE.findall(text) for word in span.split()]
    paths = {word for word in words if FILE.fullmatch(word) and not OTHERS.match(word)}
    return sorted(
        path
        for path in paths
        if not (page.parent / path).exists() and not (REPOSITORY / path).exists()
    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_links_to_or_names_exists(page):
    assert broken_links(page) == []
    assert missing_files(page) == []


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.name for path in (REPOSITORY / "docs").glob("*.md")]
    assert [name for name in pages if f"- {name}\n" not in navigation] == []


def test_what_does_not_exist_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A page, of two lines\n"
        "[a](#a-page-of-two-lines) [b](none.md) [c](#none) [d](https://e.org)\n"
        "`local/none.py` `python local/nothing.sh` `local/enh.sh` `exp/x/config.yaml` `none.py`\n"
        "```\n[f](none.md)\n```\n"
    )
    assert broken_links(page) == ["none.md", "#none"]
    assert missing_files(page) == ["local/none.py", "local/nothing.sh"]
