#!/usr/bin/env python3
"""Draw the imports between the package's folders, and list them in a table.

The imports are read from the source with ast; nothing is imported. A folder includes all modules
below it; the modules at the top of the package count as one folder. Imports within functions or for
type checkers only are listed as deferred: they do not run when a module is loaded and do not affect
the layers. The picture is written to the folder of the page.
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import networkx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from results import record  # noqa: E402

from espnet2_tisdiss.atomic import write_atomically  # noqa: E402
from espnet2_tisdiss.errors import TisdissError  # noqa: E402
from espnet2_tisdiss.evaluate.pictures import new_figure  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PACKAGE = ROOT / "espnet2_tisdiss"
SECTION = "imports"
PICTURE = "architecture.png"
TOP = "(top)"  # the modules at the top of the package
WIDTH, HEIGHT = 2.3, 0.9  # of a box, in inches
COLUMN, ROW = 2.9, 1.7  # from one box to the next


@dataclass
class Folder:
    """A folder of the package.

    Attributes:
        name: within the package.
        purpose: first line of its docstring.
        imports: folders that it imports when it is loaded.
        deferred: other folders that it imports, in functions or for type checkers.
    """

    name: str
    purpose: str
    imports: set[str] = field(default_factory=set)
    deferred: set[str] = field(default_factory=set)


def first_line(tree: ast.Module) -> str:
    """Return the first line of a module's docstring, with Markdown's code quotes."""
    return (ast.get_docstring(tree) or "").partition("\n")[0].replace("``", "`").rstrip(".")


def lazy_exports(tree: ast.Module) -> dict[str, str]:
    """Return name -> module of the names that the package imports on first use."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MODULES":
            return ast.literal_eval(node.value)
    return {}


def imported_modules(
    node: ast.AST, package: str, exports: Mapping[str, str], deferred: bool = False
) -> Iterator[tuple[str, bool]]:
    """Yield each module of the package that a syntax tree imports, and whether deferred."""
    if isinstance(node, ast.Import):
        yield from ((name.name, deferred) for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        for name in node.names:
            module = exports.get(name.name, name.name) if node.module == package else ""
            yield f"{node.module}.{module}".rstrip("."), deferred
    deferred |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    deferred |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for child in ast.iter_child_nodes(node):
        yield from imported_modules(child, package, exports, deferred)


def read_folders(package: Path) -> dict[str, Folder]:
    """Read the folders of a package and their imports of each other.

    Raises:
        TisdissError: there is no such package.
    """
    if not (package / "__init__.py").is_file():
        raise TisdissError(f"{package}: not a Python package")
    exports = lazy_exports(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    folders = {TOP: Folder(TOP, "Errors, checks and file helpers that all folders share")}
    for path in sorted(package.glob("*/__init__.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        folders[path.parent.name] = Folder(path.parent.name, first_line(tree))
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package).parts
        importer = folders.get(inner[0], folders[TOP])
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for module, deferred in imported_modules(tree, package.name, exports):
            top, *parts = module.split(".")
            imported = parts[0] if parts and parts[0] in folders else TOP
            if top == package.name and imported != importer.name:
                (importer.deferred if deferred else importer.imports).add(imported)
    for folder in folders.values():
        folder.deferred -= folder.imports
    return folders


def layers(folders: Mapping[str, Folder]) -> tuple[list[list[list[str]]], networkx.DiGraph]:
    """Put the folders in layers, each above everything that it imports when it is loaded.

    Returns:
        From bottom to top the groups of each layer, and the graph of the groups (as indices into
        ``graph.nodes``, with the folders as ``members``) without arrows that others imply. Folders
        that import each other are one group. The modules at the top of the package are left out.
    """
    graph = networkx.DiGraph()
    graph.add_nodes_from(sorted(folders.keys() - {TOP}))
    edges = ((f.name, name) for f in folders.values() for name in sorted(f.imports))
    graph.add_edges_from(edge for edge in edges if TOP not in edge)
    groups = networkx.condensation(graph)
    height: dict[int, int] = {}
    for group in reversed(list(networkx.topological_sort(groups))):
        height[group] = 1 + max((height[below] for below in groups[group]), default=-1)
    reduced = networkx.transitive_reduction(groups)
    reduced.add_nodes_from(groups.nodes(data=True))
    members = {group: sorted(groups.nodes[group]["members"]) for group in groups}
    place: dict[int, float] = {}
    found = []
    for level in range(max(height.values(), default=-1), -1, -1):
        layer = [group for group in groups if height[group] == level]
        # below its importers, so that few arrows cross
        above = {group: [place[one] for one in reduced.predecessors(group)] for group in layer}
        layer.sort(key=lambda group: (fmean(above[group] or [0.0]), members[group]))
        place |= {group: index / len(layer) for index, group in enumerate(layer)}
        found.append([members[group] for group in layer])
    return found[::-1], reduced


def table(folders: Mapping[str, Folder]) -> str:
    """Return the table of the folders: what they hold and import."""
    rows = ["| folder | contents | imports | deferred imports |\n| --- | --- | --- | --- |\n"]
    for folder in folders.values():
        name = "top-level modules" if folder.name == TOP else f"`{folder.name}/`"
        lists = [
            ", ".join(f"`{one}`" for one in sorted(names - {TOP})) or "–"
            for names in (folder.imports, folder.deferred)
        ]
        rows.append(f"| {name} | {folder.purpose} | {' | '.join(lists)} |\n")
    return "".join(rows)


def draw(folders: Mapping[str, Folder]) -> bytes:
    """Draw the layers; an arrow goes from a folder to those that it imports.

    Returns:
        The picture as the content of a PNG file, the same for the same imports.
    """
    found, graph = layers(folders)
    widest = max(sum(map(len, layer)) for layer in found)
    figure, axes = new_figure((COLUMN * widest, ROW * (len(found) + 0.7)))
    places: dict[str, tuple[float, float]] = {}
    for height, layer in enumerate(found, start=1):
        names = [name for group in layer for name in group]
        start = (widest - len(names)) / 2
        for column, name in enumerate(names):
            places[name] = (COLUMN * (start + column), ROW * height)
            _box(axes, places[name], WIDTH, f"{name}/", folders[name].purpose)
    base = folders[TOP]
    _box(axes, (0, 0.3), COLUMN * widest - COLUMN + WIDTH, "top-level modules", base.purpose)
    frames = {
        group: _frame(axes, [places[name] for name in members])
        for group, members in graph.nodes(data="members")
    }
    for above, below in sorted(graph.edges):
        bottom, _ = frames[above]
        _, top = frames[below]
        axes.annotate("", top, bottom, arrowprops={"arrowstyle": "-|>", "color": "black"})
    axes.set(xlim=(-0.2, COLUMN * widest - 0.4), ylim=(0.2, ROW * len(found) + HEIGHT + 0.1))
    axes.axis("off")
    content = io.BytesIO()
    imports = "; ".join(f"{f.name}: {', '.join(sorted(f.imports))}" for f in folders.values())
    # otherwise matplotlib would write its version, and the content would change with it
    figure.savefig(content, dpi=100, metadata={"Software": None, "Description": imports})
    return content.getvalue()


def _box(axes: Axes, corner: tuple[float, float], width: float, name: str, text: str) -> None:
    from matplotlib.patches import Rectangle

    x, y = corner
    axes.add_patch(Rectangle(corner, width, HEIGHT, facecolor="white", edgecolor="black"))
    middle = x + width / 2
    axes.text(middle, y + HEIGHT - 0.08, name, ha="center", va="top", weight="bold")
    lines = textwrap.fill(text.replace("`", ""), round(14 * width))
    axes.text(middle, y + HEIGHT - 0.32, lines, ha="center", va="top", fontsize="small")


def _frame(
    axes: Axes, corners: list[tuple[float, float]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Draw a dashed frame around several boxes; return the middles of its bottom and its top."""
    from matplotlib.patches import Rectangle

    margin = 0.1 if len(corners) > 1 else 0.0
    left = min(x for x, _ in corners) - margin
    right = max(x for x, _ in corners) + WIDTH + margin
    bottom, top = corners[0][1] - margin, corners[0][1] + HEIGHT + margin
    if margin:
        size = (right - left, top - bottom)
        axes.add_patch(Rectangle((left, bottom), *size, fill=False, linestyle="--"))
    middle = (left + right) / 2
    return (middle, bottom), (middle, top)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", required=True, type=Path, help="page with the section, *.md")
    parser.add_argument("--package", type=Path, default=PACKAGE, help="folder of the package")
    args = parser.parse_args()
    try:
        folders = read_folders(args.package)
        record(args.page, SECTION, f"{table(folders)}\n![Layers of the package]({PICTURE})\n")
        write_atomically(args.page.parent / PICTURE, draw(folders))
    except (TisdissError, OSError, SyntaxError) as error:
        sys.exit(f"draw_imports: {error}")


if __name__ == "__main__":
    main()
