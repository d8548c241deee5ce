"""The benchmark of the page for browsers, with planted times and estimates."""

import numpy as np
import pytest

from espnet2_tisdiss.errors import TisdissError

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package)
import browser  # noqa: E402  (needs the two)


class Planted:
    """A way to run a model that costs a second for each repetition."""

    def __init__(self, estimates, clock):
        self.estimates, self.clock = estimates, clock

    def separate(self, depth):
        self.clock.append(depth)

    def found(self):
        return self.estimates


def test_each_way_has_a_row(tmp_path, monkeypatch):
    for name in browser.FETCHED:
        path = tmp_path / "dist" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1_000_000))
    clock = []
    monkeypatch.setattr(browser, "RUNTIME", tmp_path)
    monkeypatch.setattr(browser, "_cpu_seconds", lambda: float(sum(clock)))
    estimates = np.array([[0.0, 0.5], [-2.0, 1.0]])
    ways = {"Python, float32": Planted(estimates, clock)}
    ways["browser, float32"] = Planted(estimates + [[0, 0], [0, 2e-4]], clock)
    measured = browser.measure(ways, [1, 3], repeats=2)
    text = browser.report(measured, [1, 3], 10.0, "about")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows[-2:] == [
        ["Python, float32", "0.100", "0.300", "–"],
        ["browser, float32", "0.100", "0.300", "1e-04"],
    ]
    assert "fetches once: 3 MB" in text


def test_what_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "RUNTIME", tmp_path / "none")
    with pytest.raises(TisdissError, match="none: is missing; run npm ci --ignore-scripts in "):
        browser.main(["mini"])
