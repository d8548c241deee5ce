"""Measure the size of an environment for exported models, by package.

    python benchmarks/environment.py --page docs/deployment.md

makes a new environment with this Python, installs the packages that docs/deployment.md names, and
adds up the files of each package, in MB. This package is measured in place.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Sequence
from importlib.metadata import distributions
from pathlib import Path

from measuring import ROOT, run_main
from results import check_page, number, record, table

from espnet2_tisdiss.errors import TisdissError

SECTION = "environment"
NEEDED = (
    *("numpy", "scipy", "soundfile", "soxr", "typer", "rich", "platformdirs", "filelock"),
    *("wrapt", "PyYAML", "onnxruntime"),
)
OPTIONAL = ("av",)
PACKAGE = ROOT / "espnet2_tisdiss"
LARGE = 5e6  # bytes from which a package gets a separate row


def main(argv: Sequence[str] | None = None) -> None:
    """Run the measurement and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    check_page(args.page, SECTION)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "small")
        venv.create(folder, with_pip=True)
        _install(folder, *NEEDED, *OPTIONAL)
        own = (path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts)
        text = report(sizes(folder) | {PACKAGE.name: _bytes(own)})
    sys.stdout.write(text)
    if args.page:
        record(args.page, SECTION, text)


def _install(folder: Path, *words: str) -> None:
    """Install into an environment.

    Raises:
        TisdissError: pip fails.
    """
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", *words], capture_output=True, text=True
    )
    if done.returncode:
        raise TisdissError(f"pip install {' '.join(words)}: {done.stderr.strip().splitlines()[-1]}")


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each package of an environment, by name."""
    (packages,) = folder.glob("lib/python*/site-packages")
    return {
        one.name: _bytes(Path(str(one.locate_file(file))) for file in one.files or [])
        for one in distributions(path=[str(packages)])
    }


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def report(found: dict[str, int]) -> str:
    """Return the table of sizes in MB, the largest first, and the totals.

    Args:
        found: bytes by package.
    """
    large = sorted((name for name in found if found[name] >= LARGE), key=lambda name: -found[name])
    rest = sum(size for size in found.values() if size < LARGE)
    total = sum(found.values())
    rows = [[name, number(found[name] / 1e6)] for name in large]
    rows += [["the others", number(rest / 1e6)], ["all", number(total / 1e6)]]
    without = total - sum(found[name] for name in OPTIONAL)
    rows.append([f"all without {', '.join(OPTIONAL)}", number(without / 1e6)])
    return table(["package", "MB"], rows)


if __name__ == "__main__":
    run_main(main)
