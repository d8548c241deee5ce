"""The documentation site: built without a warning, complete, and without other servers."""

import os
import re
import subprocess
import sys

import pytest
from recipe_folder import REPOSITORY


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("mkdocs", reason="the documentation site's packages are not installed")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    sources = {path.with_suffix(".html").name for path in (REPOSITORY / "docs").glob("*.md")}
    assert sources | {"index.html", "wsj0_2mix.html", "CONTRIBUTING.html"} <= pages.keys()
    for name in ("from_pretrained", "until_stable", "reconstructor_repeat_times"):
        assert name in pages["api.html"]
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]* src="https?:|<link rel="stylesheet" href="https?:'
    )
    assert not [name for name, text in pages.items() if loaded.search(text)]
    assert ":meth:" not in pages["api.html"]
