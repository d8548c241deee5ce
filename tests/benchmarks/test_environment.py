"""Measuring the size of the environment for exported models."""

import environment
from recipe_folder import REPOSITORY


def test_the_page_names_what_is_measured():
    page = (REPOSITORY / "docs/deployment.md").read_text()
    assert f"pip install {' '.join(environment.NEEDED)}\n" in page


def test_packages_by_size(tmp_path):
    packages = tmp_path / "lib/python3.12/site-packages"
    for name, size in (("big", 6_000_000), ("av", 30_000_000), ("tiny", 1_000_000)):
        folder = packages / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "RECORD").write_text(f"{name}.so,,\nmissing.py,,\n")
        (packages / f"{name}.so").write_bytes(bytes(size))
    lines = environment.report(environment.sizes(tmp_path)).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert rows[0][0] == "av" and rows[1][0] == "big" and rows[2] == ["the others", "1.00"]
    assert rows[3:] == [["all", "37.0"], ["all without av", "7.00"]]
