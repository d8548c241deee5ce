"""The package's layers: a module imports those below it, never those above, and not in circles."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "espnet2_tisdiss"
# from the bottom up; modules of the package's own folder are below all
LAYERS = [
    {
        "errors",
        "checks",
        "atomic",
        "lists",
        "processes",
        "cluster",
        "lazy_espnet",
        "choices",
        "user_files",
        "locks",
        "checksums",
        "standard_streams",
    },
    {"network", "audio", "pretrained"},
    {"mixing", "separate"},
    {"evaluate", "onnx"},
    {"espnet", "espnet3", "pages"},
    {"bin", "cli", "recipes"},
]


def imports():
    """Yield each import of a module of the package by another: (importer, imported)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        importer = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "espnet2_tisdiss."
            ):
                module = node.module.removeprefix("espnet2_tisdiss.")
                for name in node.names:
                    inner = PACKAGE / module.replace(".", "/") / f"{name.name}.py"
                    yield importer, f"{module}.{name.name}" if inner.exists() else module


def layer(module):
    room = module.partition(".")[0]
    return next((i for i, rooms in enumerate(LAYERS) if room in rooms), None)


def test_every_room_has_a_layer():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__main__", "__pycache__", "models"} == set().union(*LAYERS)


def test_no_module_imports_one_above_it():
    upward = [(a, b) for a, b in imports() if a[:2] != "__" and layer(a) < layer(b)]
    assert upward == []


def test_no_circle():
    below = defaultdict(set)
    for importer, imported in imports():
        below[importer].add(imported)
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for imported in sorted(below[module]):
                visit(imported)
            path.pop()
            done.add(module)

    for module in list(below):
        visit(module)
