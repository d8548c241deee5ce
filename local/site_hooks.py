"""What the documentation site adds to MkDocs: pages from outside docs/, and links to them.

Links to files that are no pages, such as sources, become plain text: the site does not hold them.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
ROLE = re.compile(r":(?:mod|meth|class|func|data|attr):<code>([^<]*)</code>")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def outside() -> dict[str, str]:
    """Return the files from outside docs/: path in the site by path in the repository."""
    found = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
    found["CHANGELOG.md"] = "CHANGELOG.md"
    for path in ROOT.glob("egs2/*/*/*.*"):
        recipe = "_".join(path.parts[-3:-1]).removesuffix("_enh1")
        if path.name == "README.md":
            found[_name(path)] = f"recipes/{recipe}.md"
        elif path.name == "RESULTS.md" or path.suffix == ".png":
            found[_name(path)] = f"recipes/{recipe}/{path.name}"
    for path in ROOT.glob("espnet2_tisdiss/models/*/*.*"):
        if path.suffix in (".md", ".png"):
            found[_name(path)] = f"models/{path.parts[-2]}/{path.name}"
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is outside docs/."""
    for source, target in outside().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead the links of a page to where their targets are in the site."""
    sources = {target: source for source, target in outside().items()}
    here = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = FENCE.split(markdown)
    return "".join(
        part if part.startswith("```") else LINK.sub(lambda link: _led(link, here), part)
        for part in parts
    )


def on_page_content(html: str, **_: Any) -> str:
    """Show names that docstrings refer to by Sphinx's roles as code, without their modules."""
    return ROLE.sub(lambda role: f"<code>{role[1].rpartition('.')[2]}</code>", html)


def _led(link: re.Match[str], here: str) -> str:
    """Return a link of the page ``here``, a path in the repository, as the site has it."""
    picture, words, address = link.groups()
    path, hash_, anchor = address.partition("#")
    if not path or re.match(r"[a-z]+:", address):
        return link[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
    pages = outside()
    place = pages.get(target) or _in_docs(target)
    if place is None:
        return words
    own = pages.get(here) or here.removeprefix("docs/")
    relative = posixpath.relpath(place, posixpath.dirname(own) or ".")
    return f"{picture}[{words}]({relative}{hash_}{anchor})"


def _in_docs(target: str) -> str | None:
    """Return the path below docs/ of a file that is there."""
    inside = target.removeprefix("docs/")
    return inside if inside != target and (ROOT / target).is_file() else None


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
