"""Fixtures of the recipes' tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from recipe_folder import Recipe, make_data_dir, make_recipe


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A sound data directory of three mixtures at ``tmp_path / "data" / "set"``."""
    folder = tmp_path / "data" / "set"
    make_data_dir(folder, tmp_path / "audio")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A fresh recipe folder."""
    return make_recipe(tmp_path / "recipe")


@pytest.fixture
def run_tool(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of the stages by name, in ``tmp_path``."""

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"espnet2_tisdiss.recipes.stages.{name}", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
