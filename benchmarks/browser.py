"""Compare the cost of an exported model in a browser and in Python.

    python benchmarks/browser.py --page docs/deployment.md

exports a model of the package in every precision and separates its example with each, alternating
between examples/browser in Chromium and ONNX Runtime in Python, on one thread each. The real-time
factor is the CPU time of all processes per second of sound, which other programs hardly affect. The
estimates of both are compared. It needs Chromium, playwright, and the packages of examples/browser.
"""

import argparse
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import psutil
import soundfile
import torch
from chromium import launched
from measuring import ROOT, begin, count, run_main
from results import check_page, machine, number, record, table
from run_progress import RunProgress

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.choices import PRECISIONS
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.onnx.export import export_model
from espnet2_tisdiss.onnx.model import OnnxModel
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, bundled_models, example

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SECTION = "browser"
EXAMPLE = ROOT / "examples" / "browser"
RUNTIME = EXAMPLE / "node_modules" / "onnxruntime-web"
FETCHED = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
LOAD = """async ([folder, samples]) => {
  const { Model } = await import(new URL("model.js", location));
  window.model = await Model.load(folder);
  window.samples = Float32Array.from(samples);
}"""
SEPARATE = """async (depth) => {
  const depths = window.model.estimates(window.samples);
  for (let n = 0; n < depth; n++) window.found = (await depths.next()).value;
}"""
FOUND = "() => window.found.map((samples) => Array.from(samples))"


class Way(Protocol):
    """A way to run an exported model on the mixture, whose estimates (j, n) ``found`` returns."""

    def separate(self, depth: int) -> None:
        """Separate at a depth."""

    def found(self) -> np.ndarray:
        """Return the last estimates (j, n)."""


class InBrowser:
    """A model in a separate page.

    Args:
        browser: Chromium.
        address: address of the page.
        folder: the model's folder on the server.
        wave: the mixture (n,).
    """

    def __init__(self, browser: "Browser", address: str, folder: str, wave: np.ndarray):
        self._page = browser.new_page(bypass_csp=True)
        self._page.set_default_timeout(0)
        self._page.goto(f"{address}/README.md")
        self._page.evaluate(LOAD, [folder, wave.tolist()])

    def separate(self, depth: int) -> None:
        """Separate the mixture at a depth."""
        self._page.evaluate(SEPARATE, depth)

    def found(self) -> np.ndarray:
        """Return the last estimates (j, n)."""
        return np.array(self._page.evaluate(FOUND))


class InPython:
    """A model in this process.

    Args:
        folder: of the model.
        wave: the mixture (n,).
    """

    def __init__(self, folder: Path, wave: np.ndarray):
        self._model, self._wave = OnnxModel(folder, threads=1), wave

    def separate(self, depth: int) -> None:
        """Separate the mixture at a depth."""
        ((self._found,),) = self._model.depths([self._wave], [depth], "estimate").values()

    def found(self) -> np.ndarray:
        """Return the last estimates (j, n)."""
        return self._found


class Quiet(SimpleHTTPRequestHandler):
    """A handler without a log."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def served(models: Mapping[str, Path]) -> Iterator[str]:
    """Serve examples/browser together with folders of exported models; yield the address.

    Args:
        models: name on the server -> folder.
    """
    with tempfile.TemporaryDirectory() as name:
        files = {path.name: path for path in EXAMPLE.iterdir()} | dict(models)
        for served_name, path in files.items():
            Path(name, served_name).symlink_to(path)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=name))
        with server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, choices=bundled_models(), help="[%(default)s]"
    )
    parser.add_argument("--repeats", type=count, default=3, help="timed runs of each [%(default)s]")
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    check_page(args.page, SECTION)
    if not RUNTIME.exists():
        raise TisdissError(f"{RUNTIME}: is missing; run npm ci --ignore-scripts in {EXAMPLE}")
    begin(1, "cpu")
    (mixture,) = (example(args.model) / "mix").iterdir()
    wave, rate = soundfile.read(mixture, dtype="float32")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders: dict[str, Path] = {}
        for precision in PRECISIONS:
            folders[precision] = place / precision
            export_model(SeparateSpeech.from_pretrained(args.model), folders[precision], precision)
        address = stack.enter_context(served(folders))
        browser = stack.enter_context(launched())
        ways: dict[str, Way] = {}
        for name, folder in folders.items():
            ways[f"Python, {name}"] = InPython(folder, wave)
            ways[f"browser, {name}"] = InBrowser(browser, address, name, wave)
        depths = [1, OnnxModel(folders["float32"]).usual_n_re]
        measured = measure(ways, depths, args.repeats)
        version = f"Chromium {browser.version}"
    text = f"{machine(torch.device('cpu'))}\n"
    text += report(measured, depths, len(wave) / rate, f"`{args.model}`, {version}")
    sys.stdout.write(text)
    if args.page:
        record(args.page, SECTION, text)


def measure(
    ways: Mapping[str, Way], depths: Sequence[int], repeats: int
) -> dict[str, tuple[list[float], np.ndarray]]:
    """Return the median CPU seconds of each way at each depth, and the last estimates (j, n).

    Each way first runs once untimed, because browsers compile code that runs often.
    """
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in depths] for name in ways}
    with RunProgress.shown((1 + repeats) * len(ways), "browser") as progress:
        for number_of_run in range(1 + repeats):
            for name, way in ways.items():
                for index, depth in enumerate(depths):
                    before = _cpu_seconds()
                    way.separate(depth)
                    if number_of_run:
                        seconds[name][index].append(_cpu_seconds() - before)
                progress.advance(1)
    return {
        name: ([statistics.median(runs) for runs in seconds[name]], way.found())
        for name, way in ways.items()
    }


def _cpu_seconds() -> float:
    """Return the CPU time that this process and those it started have used."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def report(
    measured: Mapping[str, tuple[list[float], np.ndarray]],
    depths: Sequence[int],
    duration: float,
    about: str,
) -> str:
    """Return the table of real-time factors and of differences between browser and Python.

    Args:
        measured: results of :func:`measure` by way.
        depths: values of N_re.
        duration: length of the mixture in seconds.
        about: names of the model and the browser.
    """
    rows = []
    for name, (seconds, found) in measured.items():
        _, _, precision = name.partition(", ")
        expected = measured[f"Python, {precision}"][1]
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        factors = [number(one / duration) for one in seconds]
        rows.append([name, *factors, f"{difference:.0e}" if difference else "–"])
    header = ["run by", *(f"RTF at {depth}" for depth in depths), "difference"]
    megabytes = sum((RUNTIME / "dist" / name).stat().st_size for name in FETCHED) / 1e6
    return (
        f"Model {about}; {duration:.1f} s of sound; RTF: CPU time for a second of sound; "
        f"difference: from Python at N_re {depths[-1]}, relative to the peak. ONNX Runtime Web, "
        f"which the browser fetches once: {megabytes:.0f} MB.\n\n{table(header, rows)}"
    )


if __name__ == "__main__":
    run_main(main)
