"""Speed and memory of separation by depth, length and batch, compared with other separators."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measuring import seconds_of
from separators import RIVALS, as_published
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.evaluate.cost import PeakMemory, parameters
from gpu.correctness import capture
from gpu.pipeline import Pipeline, PlainSeparator
from gpu.report import Report
from gpu.sizes import DEFAULT, FULL, Sizes, begin_step, compiling, precision, step_arguments

RATES = {"full": 8000, "default": 16000}
WAYS = ("float32", "tf32", "bfloat16")
KINDS = {
    "attention": ("attention", "softmax", "flash", "fmha"),
    "convolution": ("conv",),
    "matrix product": ("::mm", "::addmm", "::bmm", "::linear", "::matmul"),
}


def repeated(run: Callable[[], Any], least_s: float) -> float:
    """Return the median seconds of a run, repeated for a while, at least twice."""
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < 2 or time.perf_counter() - began < least_s:
        taken.append(seconds_of(run)[0])
    return statistics.median(taken)


def model_of(name: str, sizes: Sizes, plain: bool = False) -> Pipeline:
    """Return the full or the default model with random weights; trained ones take as long."""
    torch.manual_seed(0)
    model = Pipeline(sizes.config(FULL if name == "full" else DEFAULT)).to(sizes.device).eval()
    if plain:
        model.separator = PlainSeparator(model.separator)
    return model


def mixtures(batch: int, seconds: float, rate: int, device: str) -> Tensor:
    """Return waveforms (b, n) that sound a little like speech."""
    wave = torch.from_numpy(speech_shaped_noise(seconds, rate))
    return wave.repeat(batch, 1).to(device)


def cost(model: Pipeline, waves: Tensor, rate: int, way: str, sizes: Sizes) -> dict[str, Any]:
    """Return the columns of a separation: its time and its memory."""
    with torch.inference_mode(), precision(way, sizes.device):
        model(waves)  # the first run chooses kernels
        with PeakMemory(sizes.device) as memory:
            model(waves)
        taken = repeated(lambda: model(waves), sizes.timed_s)
    audio = waves.numel() / rate
    return {
        "ms": 1e3 * taken,
        "RTF": taken / audio,
        "audio a second, s": audio / taken,
        "peak memory, MB": memory.peak / 1e6,
    }


def chip(sizes: Sizes) -> dict[str, Any]:
    """Return the matrix products of the chip, in TFLOP/s, and its bandwidth, in GB/s."""
    found = {}
    n = sizes.gemm
    for way in WAYS:
        dtype = torch.bfloat16 if way == "bfloat16" else torch.float32
        a, b = torch.randn(2, n, n, device=sizes.device).to(dtype).unbind()
        with precision("tf32" if way == "tf32" else "float32", sizes.device):
            torch.mm(a, b)
            taken = repeated(partial(torch.mm, a, b), sizes.timed_s)
        found[f"{way}, TFLOP/s"] = 2 * n**3 / taken / 1e12
    x = torch.zeros(sizes.copied, dtype=torch.uint8, device=sizes.device)
    y = torch.empty_like(x)
    taken = repeated(lambda: y.copy_(x), sizes.timed_s)
    return found | {"bandwidth, GB/s": 2 * sizes.copied / taken / 1e9}


def by_depth(report: Report, sizes: Sizes) -> None:
    """Time each depth in each precision, and the plain implementation in float32."""
    for name, rate in RATES.items():
        waves = mixtures(1, sizes.seconds, rate, sizes.device)
        ways = [(way, False) for way in WAYS] + [("float32", True)] * (name == "full")
        for way, plain in ways:
            model = model_of(name, sizes, plain)
            separator = model.separator.inner if plain else model.separator
            for n_re in sizes.depths:
                separator.reconstructor_repeat_times = n_re
                names = {
                    "model": f"{name}, plain" if plain else name,
                    "precision": way,
                    "N_re": n_re,
                }
                run = partial(cost, model, waves, rate, way, sizes)
                report.measure(f"By depth, one mixture of {sizes.seconds:g} s", names, run)


def rival(name: str, sizes: Sizes) -> dict[str, Any]:
    """Return the cost of one of ESPnet's other separators."""
    published = RIVALS[name]
    torch.manual_seed(0)
    model = Pipeline(published.config)
    as_published(published, model.separator)
    model.to(sizes.device).eval()
    waves = mixtures(1, sizes.seconds, 8000, sizes.device)
    size = f"{parameters(model) / 1e6:.2f} M"
    return {"parameters": size} | cost(model, waves, 8000, "float32", sizes)


def throughput(report: Report, sizes: Sizes) -> None:
    """Time batches and lengths."""
    for name, rate in RATES.items():
        model = model_of(name, sizes)
        for batch, seconds in sizes.batches:
            waves = mixtures(batch, seconds, rate, sizes.device)
            names = {"model": name, "mixtures": batch, "seconds": seconds}
            run = partial(cost, model, waves, rate, "bfloat16", sizes)
            report.measure("Throughput in bfloat16", names, run)


def graphed(name: str, sizes: Sizes) -> dict[str, Any]:
    """Time the separator on a fixed input, directly and as a CUDA graph."""
    model = model_of(name, sizes)
    waves = mixtures(1, sizes.seconds, RATES[name], sizes.device)
    with torch.inference_mode(), precision("bfloat16", sizes.device):
        features, _ = model.encoder(waves, torch.tensor([waves.shape[1]]))

        def run() -> list[Tensor]:
            return model.separator(features, None)[0]

        run()
        found = {"ms": 1e3 * repeated(run, sizes.timed_s)}
        if sizes.device == "cuda":
            captured, _ = capture(run)
            found["CUDA graph, ms"] = 1e3 * repeated(captured.replay, sizes.timed_s)
    return found


def compiled(name: str, sizes: Sizes) -> dict[str, Any]:
    """Time a separation with compiled blocks."""
    model = model_of(name, sizes)
    model.separator.compile_blocks()
    waves = mixtures(1, sizes.seconds, RATES[name], sizes.device)
    began = time.perf_counter()
    with compiling(sizes):
        found = cost(model, waves, RATES[name], "bfloat16", sizes)
    return found | {"first run, s": time.perf_counter() - began}


def shares(name: str, way: str, sizes: Sizes) -> dict[str, Any]:
    """Return the shares of a separation's kernels in attention, convolutions and the rest."""
    model = model_of(name, sizes)
    waves = mixtures(1, sizes.seconds, RATES[name], sizes.device)
    activities = [ProfilerActivity.CPU]
    if sizes.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.inference_mode(), precision(way, sizes.device):
        model(waves)
        taken = repeated(lambda: model(waves), sizes.timed_s)
        with profile(activities=activities) as profiler:
            seconds_of(lambda: model(waves))
    times = dict.fromkeys((*KINDS, "rest"), 0.0)
    for event in profiler.key_averages():
        if sizes.device == "cuda":
            if not event.key.startswith("aten::"):  # kernels; their operators count them already
                continue
            own = event.self_device_time_total
        else:
            own = event.self_cpu_time_total
        kind = next(
            (kind for kind, words in KINDS.items() if any(w in event.key for w in words)), ""
        )
        times[kind or "rest"] += own
    total = sum(times.values())
    if not total:
        raise RuntimeError("the profiler recorded no time")
    return {
        "ms": 1e3 * taken,
        "in kernels, ms": total / 1e3,
        **{kind: f"{value / total:.0%}" for kind, value in times.items()},
    }


def main() -> None:
    """Run the command line."""
    args = step_arguments(__doc__).parse_args()
    sizes = begin_step(args)
    report = Report(args.out, "inference", args.device)
    report.measure("The chip", {}, partial(chip, sizes))
    by_depth(report, sizes)
    for name in sizes.rivals:
        title = f"ESPnet's other separators, float32, one mixture of {sizes.seconds:g} s"
        report.measure(title, {"separator": name}, partial(rival, name, sizes))
    throughput(report, sizes)
    for name in RATES:
        title = f"The separator alone, bfloat16, {sizes.seconds:g} s"
        report.measure(title, {"model": name}, partial(graphed, name, sizes))
    for name in RATES:
        for way in ("float32", "bfloat16"):
            run = partial(shares, name, way, sizes)
            report.measure("Where the time goes", {"model": name, "precision": way}, run)
    for name in reversed(RATES):
        report.measure("Compiled, bfloat16", {"model": name}, partial(compiled, name, sizes))


if __name__ == "__main__":
    main()
