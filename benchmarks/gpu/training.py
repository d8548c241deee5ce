"""Speed and memory of training steps, and the largest batch that fits."""

import contextlib
import time
from functools import partial
from typing import Any

import torch

from espnet2_tisdiss.evaluate.cost import PeakMemory
from gpu.inference import RATES, mixtures, repeated
from gpu.objective import optimiser, training_step
from gpu.pipeline import Pipeline, PlainSeparator
from gpu.report import Report
from gpu.sizes import DEFAULT, FULL, Sizes, begin_step, compiling, precision, step_arguments

# checkpoint, precision, compiled
WAYS = (
    ("none", "float32", False),
    ("none", "tf32", False),
    ("none", "bfloat16", False),
    ("repetition", "bfloat16", False),
    ("block", "bfloat16", False),
)
COMPILED_WAYS = (("none", "bfloat16", True), ("block", "bfloat16", True))
STEPS = "Training steps"
LONG_STEP_MS = 2000


def step_cost(
    name: str, sizes: Sizes, way: tuple[str, str, bool], batch: int, plain: bool = False
) -> dict[str, Any]:
    """Return the columns of a training step of the full or the default model."""
    checkpoint, dtype, compiles = way
    path, rate = (FULL if name == "full" else DEFAULT), RATES[name]
    config = sizes.config(path, checkpoint=checkpoint, compile=compiles)
    torch.manual_seed(0)
    model = Pipeline(config).to(sizes.device).train()
    if plain:
        model.separator = PlainSeparator(model.separator)
    sources = torch.stack(
        [mixtures(batch, sizes.train_seconds, rate, sizes.device).roll(n, 1) for n in (0, 999)]
    )
    step = training_step(config, model, optimiser(config, model))

    def run() -> None:
        with precision(dtype, sizes.device):
            step(sources.sum(0), sources)

    began = time.perf_counter()
    run()  # the first step chooses or compiles kernels
    first = time.perf_counter() - began
    with PeakMemory(sizes.device) as memory:
        run()
    taken = repeated(run, sizes.timed_s)
    return {
        "ms": 1e3 * taken,
        "audio a second, s": batch * sizes.train_seconds / taken,
        "peak memory, MB": memory.peak / 1e6,
        "first step, s": first,
    }


def largest_batch(name: str, sizes: Sizes, way: tuple[str, str, bool]) -> dict[str, Any]:
    """Return the largest batch that fits, among 1, 2, 3, 4, 6, 8, 12, ...

    The search stops at a batch whose step takes seconds.
    """
    best: dict[str, Any] = {"mixtures": 0}
    batch = sizes.train_batch
    while batch <= sizes.most_batch:
        try:
            best = {"mixtures": batch} | step_cost(name, sizes, way, batch)
        except torch.OutOfMemoryError:
            break
        if best["ms"] > LONG_STEP_MS:
            return best
        batch *= 2
    torch.cuda.empty_cache()
    batch = best["mixtures"] * 3 // 2
    if best["mixtures"] and batch <= sizes.most_batch:
        with contextlib.suppress(torch.OutOfMemoryError):
            best = {"mixtures": batch} | step_cost(name, sizes, way, batch)
    return best


def measure_step(
    report: Report, name: str, sizes: Sizes, way: tuple[str, str, bool], plain: bool = False
) -> None:
    """Measure one way to train and add its row."""
    checkpoint, dtype, compiles = way
    names = {
        "model": f"{name}, plain" if plain else name,
        "checkpoint": checkpoint,
        "precision": dtype,
        "compiled": str(compiles).lower(),
    }
    title = f"{STEPS}, {sizes.train_batch} x {sizes.train_seconds:g} s"
    report.measure(title, names, partial(step_cost, name, sizes, way, sizes.train_batch, plain))


def main() -> None:
    """Run the command line."""
    args = step_arguments(__doc__).parse_args()
    sizes = begin_step(args)
    report = Report(args.out, "training", args.device)
    for name in reversed(RATES):
        for way in WAYS:
            measure_step(report, name, sizes, way)
    measure_step(report, "full", sizes, WAYS[0], plain=True)
    with compiling(sizes):
        measure_step(report, "default", sizes, COMPILED_WAYS[0])
    for name in reversed(RATES):
        for way in (WAYS[2], WAYS[4]):
            names = {"model": name, "checkpoint": way[0], "precision": way[1]}
            run = partial(largest_batch, name, sizes, way)
            title = f"Largest batch of {sizes.train_seconds:g} s, up to {sizes.most_batch}"
            report.measure(title, names, run)
    with compiling(sizes):
        measure_step(report, "default", sizes, COMPILED_WAYS[1])
        measure_step(report, "full", sizes, COMPILED_WAYS[0])


if __name__ == "__main__":
    main()
