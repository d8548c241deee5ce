"""The diagram of the package's folders in docs/architecture.md."""

import io
import sys

import draw_imports
import pytest
from draw_imports import Folder, draw, layers, read_folders, table
from PIL import Image
from recipe_folder import REPOSITORY

FILES = {
    "__init__.py": '_MODULES = {"Model": "low.model"}\n',
    "errors.py": "",
    "low/__init__.py": '"""What ``low`` holds."""\n',
    "low/model.py": "import math\nfrom small.errors import Error\n",
    "middle/__init__.py": "",
    "middle/a.py": "from small.low.model import Model\nfrom small.twin import b\n",
    "twin/__init__.py": "",
    "twin/b.py": "import small.middle.a\n",
    "high/__init__.py": "",
    "high/c.py": (
        "from typing import TYPE_CHECKING\n"
        "from small import Model\n"
        "from small.middle.a import x\n"
        "from smaller.low import y\n"
        "if TYPE_CHECKING:\n    from small.twin import b\n"
    ),
    "high/inner/__init__.py": "",
    "high/inner/d.py": "def f():\n    import small.late.e\n    from small.low import model\n",
    "late/__init__.py": "",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "small"


def test_imports_are_those_of_the_source(package):
    folders = read_folders(package)
    assert {f.name: f.imports - {"(top)"} for f in folders.values()} == {
        "(top)": set(),
        "low": set(),
        "middle": {"low", "twin"},
        "twin": {"middle"},
        "high": {"low", "middle"},  # Model is exported lazily
        "late": set(),
    }
    assert "(top)" in folders["low"].imports
    # low is imported at once elsewhere in the folder
    assert folders["high"].deferred == {"twin", "late"}
    assert "| `low/` | What `low` holds | – | – |\n" in table(folders)
    assert "| `high/` |  | `low`, `middle` | `late`, `twin` |\n" in table(folders)


def test_layers_stand_above_what_they_import(package):
    found, graph = layers(read_folders(package))
    assert found == [[["late"], ["low"]], [["middle", "twin"]], [["high"]]]
    members = graph.nodes(data="members")
    arrows = {(min(members[a]), min(members[b])) for a, b in graph.edges}
    assert arrows == {("high", "middle"), ("middle", "low")}  # high to low follows


def test_the_picture_is_the_same_for_the_same_imports(package):
    folders = read_folders(package)
    assert draw(folders) == draw(folders)
    other = folders | {"late": Folder("late", "", {"low"})}
    assert draw(other) != draw(folders)


def test_page_and_picture_are_those_of_the_code():
    folders = read_folders(draw_imports.PACKAGE)
    page = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    assert table(folders) in page, "run `make docs`"
    shown, drawn = (
        Image.open(file).text["Description"]
        for file in (REPOSITORY / "docs/architecture.png", io.BytesIO(draw(folders)))
    )
    assert shown == drawn, "run `make docs`"


def test_what_cannot_be_read_or_written_is_one_line(package, monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no section\n")
    for folder, told in ((tmp_path, "not a Python package"), (package, "must have one section")):
        options = ["--page", str(page), "--package", str(folder)]
        monkeypatch.setattr(sys, "argv", ["draw_imports.py", *options])
        with pytest.raises(SystemExit, match=f"^draw_imports: .*{told}") as caught:
            draw_imports.main()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "architecture.png").exists()
