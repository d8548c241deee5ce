"""The package that pip installs, and the environment that make installs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import requires, version
from importlib.util import find_spec
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from recipe_folder import REPOSITORY
from test_docs import tracked

import espnet2_tisdiss

LEFT_BEHIND = {"PKG-INFO", "setup.cfg"}  # what setuptools adds to an archive


def unpacked_archive(folder):
    """Build the source archive of the tracked files, with files of recipes around; unpack it."""
    source = folder / "source"
    for path in tracked("*"):
        target = source / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    leftover = source / "egs2/mini_2mix/enh1/exp/run/model.pth"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    build = "from setuptools.build_meta import build_sdist; build_sdist('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (sdist,) = source.glob("espnet2_tisdiss-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.glob("espnet2_tisdiss-*")
    return root


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return unpacked_archive(tmp_path_factory.mktemp("sdist"))


def test_the_source_archive_is_the_repository(archive):
    files = {path.relative_to(archive) for path in archive.rglob("*") if path.is_file()}
    names = {str(path) for path in files if "egg-info" not in str(path)}
    assert names - LEFT_BEHIND == {str(path.relative_to(REPOSITORY)) for path in tracked("*")}


def test_the_wheel_of_the_archive_holds_every_module_model_and_page(archive, tmp_path):
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, archive]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    (wheel,) = tmp_path.glob("espnet2_tisdiss-*.whl")
    with ZipFile(wheel) as packed:
        names = set(packed.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = packed.read(metadata).decode()
    package = tracked("espnet2_tisdiss/*")
    assert {str(path.relative_to(REPOSITORY)) for path in package} <= names
    for name in ("conf/finetune_mini.yaml", "docs/finetuning.md", "docs/images/example.png"):
        assert any(one.endswith(f"/share/espnet2_tisdiss/{name}") for one in names)
    assert not any(name.startswith(("tests/", "benchmarks/", "local/")) for name in names)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all(link.startswith("https://") for link in links)
    assert "Project-URL: Paper, https://arxiv.org/abs/2509.15666" in text and "Keywords: " in text


def pins(*names):
    """Versions by name, of files of pinned requirements; a later file's count."""
    found = {}
    for name in names:
        for line in (REPOSITORY / name).read_text().splitlines():
            if line[0] not in "# ":
                pin = Requirement(line.rstrip(" \\"))
                assert re.fullmatch(r"==[^*]+", str(pin.specifier)), line
                found[canonicalize_name(pin.name)] = pin
    return found


def test_every_pin_has_the_hashes_of_its_files():
    text = (REPOSITORY / "requirements.txt").read_text()
    hashes = re.findall(
        r"^\S.*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    assert len(hashes) == len(pins("requirements.txt")) > 100
    assert "://" not in text  # whoever installs chooses where from


def test_the_page_of_licences_lists_every_pin():
    lines = (REPOSITORY / "docs/licences.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert [row[:2] for row in rows[2:]] == [
        [pin.name, str(pin.specifier).removeprefix("==")]
        for pin in pins("requirements.txt").values()
    ]
    assert all(row[2] for row in rows)


def test_environment_has_the_pinned_versions():
    pages = ["requirements-pages.txt"] * (find_spec("gradio") is not None)
    for pin in pins("requirements.txt", *pages).values():
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(version(pin.name), prereleases=True), pin.name


def test_every_direct_dependency_is_pinned():
    direct = {canonicalize_name(Requirement(text).name) for text in requires("espnet2_tisdiss")}
    assert direct <= pins("requirements.txt", "requirements-pages.txt").keys()
    assert version("espnet2_tisdiss") == espnet2_tisdiss.__version__


def test_torch_without_cuda_has_the_pinned_versions():
    pinned, without = pins("requirements.txt"), pins("constraints-cpu.txt")
    assert without.keys() == {"torch", "torchaudio"}
    for name, pin in without.items():
        assert str(pin.specifier) == f"{pinned[name].specifier}+cpu"


def test_the_page_for_browsers_is_pinned_with_the_hashes_of_its_packages():
    folder = REPOSITORY / "examples/browser"
    (wanted,) = json.loads((folder / "package.json").read_text())["dependencies"].items()
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["dependencies"] == dict([wanted])
    assert locked[f"node_modules/{wanted[0]}"]["version"] == wanted[1]
    # whoever installs chooses where from
    assert all("integrity" in one and "resolved" not in one for one in locked.values())


def test_installation_without_a_supported_python_is_one_line(tmp_path):
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [REPOSITORY / "local/install.sh"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "install: no Python 3.12 or 3.13 found: install python3.12 and python3.12-venv, "
        "or set PYTHON to one"
    )
    done = subprocess.run(
        [REPOSITORY / "local/install.sh"],
        env=os.environ | {"PYTHON": "/bin/true-python"},
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == "install: PYTHON=/bin/true-python is not a Python 3.12 or 3.13"
