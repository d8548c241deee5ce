"""The package that pip installs, and the environment that make installs."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import requires, version
from zipfile import ZipFile

from packaging.requirements import Requirement
from recipe_folder import REPOSITORY

import espnet2_tisdiss


def test_wheel_and_sdist_hold_every_module_and_model(tmp_path):
    package = REPOSITORY / "espnet2_tisdiss"
    shutil.copytree(package, tmp_path / "espnet2_tisdiss")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("espnet2_tisdiss-*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("espnet2_tisdiss/")}
    source = "from setuptools.build_meta import build_sdist; build_sdist('.')"
    subprocess.run([sys.executable, "-c", source], cwd=tmp_path, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("espnet2_tisdiss-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    models = [path for path in (package / "models").rglob("*") if path.is_file()]
    data = [
        path for path in (package / "recipes").rglob("*.*") if path.parent.name != "__pycache__"
    ]
    files = {*package.rglob("*.py"), package / "py.typed", *models, *data}
    wanted = {str(path.relative_to(REPOSITORY)) for path in files}
    assert packed == wanted and wanted <= names
    assert {"config.yaml", "model.pth", "SHA256SUMS"} <= {path.name for path in models}


def test_environment_has_the_pinned_versions():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins)
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(version(pin.name), prereleases=True), pin.name


def test_every_direct_dependency_is_pinned():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pinned = {Requirement(line).name for line in lines if not line.startswith("#")}
    direct = {Requirement(text).name for text in requires("espnet2_tisdiss")}
    assert {name.lower().replace("_", "-") for name in direct} <= {
        name.lower().replace("_", "-") for name in pinned
    }
    assert version("espnet2_tisdiss") == espnet2_tisdiss.__version__


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
