"""Tools of the benchmarks: alternating timed runs, a machine-independent unit, new processes."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.user_files import read_yaml

ROOT = Path(__file__).parents[1]
GEMM = (4096, 2048, 2048)


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command-line parser with the options of all benchmarks."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--repeats", type=count, default=2, help="timed runs of each [%(default)s]")
    result.add_argument("--threads", type=count, default=2, help="of the CPU [%(default)s]")
    result.add_argument("--device", default="cpu", help="cpu or cuda [%(default)s]")
    result.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    return result


def mixtures_parser(description: str) -> argparse.ArgumentParser:
    """Return a command-line parser with options for a model, a data set, and limits."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("model", help="as for tisdiss separate -m")
    result.add_argument("data", help="data directory or corpus folder")
    result.add_argument("--limit", type=count, default=20, help="mixtures [%(default)s]")
    result.add_argument("--n-re", type=count, help="repetitions [as trained]")
    return result


def spread[T](items: Sequence[T], limit: int) -> Sequence[T]:
    """Return at most ``limit`` items, evenly spread."""
    return items[:: -(-len(items) // limit)]


def count(text: str) -> int:
    """Read a number of 1 or more from the command line: a type for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; got {text!r}")
    return int(text)


def begin(threads: int, device: str) -> None:
    """Set this process's number of threads and default device.

    Raises:
        TisdissError: the device is neither the CPU nor an available GPU.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = None
    if kind not in ("cpu", "cuda"):
        raise TisdissError(f"--device {device}: must be cpu, cuda, or one such as cuda:1")
    if kind == "cuda" and not torch.cuda.is_available():
        raise TisdissError(f"--device {device}: PyTorch finds no GPU here")
    torch.set_num_threads(threads)
    if kind != "cpu":  # only for a GPU, because it makes every call slower
        torch.set_default_device(device)


def run_main(main: Callable[[], None]) -> None:
    """Run a benchmark; a user error prints one line and exits with status 1."""
    try:
        main()
    except (TisdissError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def seconds_of(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a run takes, including work on a GPU, and its result."""
    began = time.perf_counter()
    result = run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - began, result


def teraflop(dtype: torch.dtype = torch.float32) -> float:
    """Return the seconds that 1 TFLOP of matrix products takes in ``dtype``: best of 8."""
    n, m, k = GEMM
    a, b = torch.randn(n, k).to(dtype), torch.randn(k, m).to(dtype)
    seconds_of(lambda: a @ b)
    return in_teraflops(min(seconds_of(lambda: a @ b)[0] for _ in range(8)))


def in_teraflops(seconds: float) -> float:
    """Convert the seconds of one matrix product of size ``GEMM`` to seconds of 1 TFLOP."""
    n, m, k = GEMM
    return seconds * 1e12 / (2 * n * m * k)


def in_turn(
    runs: Mapping[str, Callable[[], Any]], repeats: int, on_step: Callable[[float], None]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return each run's median seconds and last result; runs alternate, to share disturbances.

    Args:
        runs: the runs by name.
        repeats: number of times that each is run.
        on_step: called after each run, with 1.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds, results[name] = seconds_of(run)
            times[name].append(seconds)
            on_step(1)
    return {name: statistics.median(values) for name, values in times.items()}, results


def fresh(function: Callable[..., Any], *arguments: Any, device: str) -> Any:
    """Call a function in a new process, with unused memory; return its result.

    The function, its arguments and its result must be picklable.
    """
    initial = (torch.get_num_threads(), device)
    with ProcessPoolExecutor(1, get_context("spawn"), begin, initial) as pool:
        return pool.submit(function, *arguments).result()


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest absolute difference, relative to the largest absolute expected value."""
    return float((found - expected).abs().max() / expected.abs().max())


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Fit values ~ size ** e to the upper half of the sizes and return e.

    With an odd number of sizes, the middle one is left out.

    Args:
        sizes: ascending, positive; at least two.
        values: positive, one for each size.
    """
    first = min((len(sizes) + 1) // 2, len(sizes) - 2)
    slope, _ = np.polyfit(np.log(sizes[first:]), np.log(values[first:]), 1)
    return float(slope)


def read_config(path: Path, **separator_options: Any) -> dict[str, Any]:
    """Read a training configuration and change some of the separator's options."""
    config = read_yaml(path)
    if config.get("separator") != "tisdiss":
        raise TisdissError(f"{path}: not a training configuration with 'separator: tisdiss'")
    return config | {"separator_conf": config["separator_conf"] | separator_options}


def untrained[S](kind: Callable[..., S], config: Mapping[str, Any], device: str) -> S:
    """Build ESPnet's ``SeparateSpeech``, or ours, from a configuration, with random weights.

    Random weights take as long as trained ones.
    """
    from espnet2.tasks.enh import EnhancementTask  # here, because it takes seconds

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(yaml.safe_dump(EnhancementTask.get_default_config() | dict(config)))
        return kind(path, device=device)
