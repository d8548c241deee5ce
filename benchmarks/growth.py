"""Measure how the model's time and memory grow with length, depth, batch size and speakers.

    python benchmarks/growth.py
    python benchmarks/growth.py --only depth batch

Each curve is measured in a separate process with the model of conf/train_small.yaml, half as wide
as the full one. The length varies from 1 to 60 s, in one piece and in chunks; the other curves use
2 s. N_re is 1 except where it varies. Memory is the peak above the loaded model. Exponents are
fitted to the upper half of each curve: 1 is linear. Only attention over time grows with the square
of the length; PyTorch's profiler measures its share in an additional run.
"""

import argparse
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from measuring import (
    ROOT,
    begin,
    exponent,
    fresh,
    parser,
    read_config,
    run_main,
    seconds_of,
    untrained,
)
from results import check_page, machine, number, record, table
from run_progress import RunProgress

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.cost import CostCounter, PeakMemory, memory_in_use
from espnet2_tisdiss.evaluate.pictures import new_figure, png

if TYPE_CHECKING:  # importing ESPnet takes seconds
    from espnet2_tisdiss import SeparateSpeech

CONFIG = ROOT / "conf/train_small.yaml"
RATE = 8000
SECONDS, N_RE, SPEAKERS = 2.0, 1, 2
LENGTHS = (1, 2, 4, 8, 15, 30, 60)
NOISE = 0.15  # of exponents, since times and sampled memory vary


@dataclass(frozen=True)
class Curve:
    """A varied quantity.

    Attributes:
        label: of the axis, with its unit.
        sizes: ascending.
        picture: that the curve is drawn in.
    """

    label: str
    sizes: Sequence[int]
    picture: str


CURVES = {
    "length-whole": Curve("length [s]", LENGTHS, "length"),
    "length-chunks": Curve("length [s]", LENGTHS, "length"),
    "depth": Curve("repetitions N_re", (1, 2, 4, 8, 16), "depth"),
    "batch": Curve("mixtures at once", (1, 2, 4, 8), "batch"),
    "speakers": Curve("speakers", (2, 3, 4, 5), "speakers"),
}


class Point(NamedTuple):
    """The cost of one size.

    Attributes:
        size: value of the varied quantity.
        seconds: of work.
        peak_bytes: peak memory above the loaded model.
        macs: multiply-adds; None: not counted.
        attention: share of the time spent in attention over long rows; None: not measured.
    """

    size: int
    seconds: float
    peak_bytes: int
    macs: float | None
    attention: float | None


def measure_curve(name: str, sizes: Sequence[int], repeats: int, device: str) -> list[Point]:
    """Measure a curve in this fresh process, small sizes first, since cached memory only grows."""
    from espnet2_tisdiss import SeparateSpeech

    points, model, level = [], None, 0
    for size in sizes:
        if model is None or name == "speakers":
            speakers = size if name == "speakers" else SPEAKERS
            model = untrained(SeparateSpeech, read_config(CONFIG, num_spk=speakers), device)
            level = level or memory_in_use(device)
        run, macs = _work(model, name, size)
        with PeakMemory(device, level) as memory:
            run()
        seconds = statistics.median(seconds_of(run)[0] for _ in range(repeats))
        # on a GPU, attention over frequency uses the same operator
        separable = name == "length-whole" and torch.device(device).type == "cpu"
        attention = attention_share(run) if separable else None
        points.append(Point(size, seconds, memory.peak, macs, attention))
    return points


def attention_share(run: Callable[[], object]) -> float:
    """Return the share of a run's time spent in PyTorch's attention, used for long rows."""
    with torch.profiler.profile() as profile:
        run()
    events = profile.key_averages()
    on_gpu = sum(event.self_device_time_total for event in events)
    total = on_gpu or sum(event.self_cpu_time_total for event in events)
    attention = (e for e in events if e.key == "aten::scaled_dot_product_attention")
    return sum(e.device_time_total if on_gpu else e.cpu_time_total for e in attention) / total


def _work(
    model: "SeparateSpeech", name: str, size: int
) -> tuple[Callable[[], object], float | None]:
    """Return the function to time for one size of a curve, and its multiply-adds."""
    seconds = size if name.startswith("length") else SECONDS
    n_re = size if name == "depth" else N_RE
    batch = size if name == "batch" else 1
    mixture = speech_shaped_noise(seconds, RATE)
    if name == "length-chunks":
        return functools.partial(model.recording, mixture, RATE, n_re=n_re), None
    counter = CostCounter(model.enh_model.encoder, model.separator, RATE, seconds)
    run = functools.partial(model, mixture[None].repeat(batch, 0), fs=RATE, n_re=n_re)
    return run, counter.macs_per_s(n_re) * seconds * batch


def quadratic_share(points: Sequence[Point]) -> float:
    """Return the share of the longest input's multiply-adds that grows with the length squared."""
    short, long = points[-2:]
    per_second = [p.macs / p.size for p in (short, long) if p.macs is not None]
    return (per_second[1] - per_second[0]) / (long.size - short.size) * long.size / per_second[1]


class Growth(NamedTuple):
    """Exponents of time, of time without attention over time, of memory, and of multiply-adds."""

    time: float
    rest: float | None
    memory: float
    macs: float | None

    def texts(self) -> list[str]:
        """Return the exponents with two digits; empty for None."""
        return ["" if e is None else f"{round(e, 2) + 0.0:.2f}" for e in self]

    def verdict(self) -> str:
        """Return what the exponents mean."""
        if self.memory > 1 + NOISE:
            return "memory more than linear"
        if self.time <= 1 + NOISE:
            return "linear or less"
        if self.rest is not None and self.rest <= 1 + NOISE:
            return "linear except attention over time"
        return "time more than linear, unexplained"


def growth(points: Sequence[Point]) -> Growth:
    """Return the exponents of a curve."""
    sizes, seconds, peaks, macs, _ = zip(*points, strict=True)
    others = [p.seconds * (1 - p.attention) for p in points if p.attention is not None]
    rest = exponent(sizes, others) if len(others) == len(points) else None
    counted = None if None in macs else exponent(sizes, macs)
    return Growth(exponent(sizes, seconds), rest, exponent(sizes, peaks), counted)


def report(curves: Mapping[str, Sequence[Point]]) -> str:
    """Return the tables of all curves and of their growth."""
    rows = []
    for name, points in curves.items():
        found = growth(points)
        rows.append((name, *found.texts(), found.verdict()))
    header = ("curve", "time", "without attention", "memory", "multiply-adds", "verdict")
    parts = [f"Growth exponents\n\n{table(header, rows)}"]
    if "length-whole" in curves:
        points = curves["length-whole"]
        parts.append(
            f"At {points[-1].size} s, attention over time takes {quadratic_share(points):.0%} of "
            f"the multiply-adds and {points[-1].attention:.0%} of the time.\n"
        )
    for name, points in curves.items():
        measured = [
            (
                str(point.size),
                number(point.seconds),
                number(point.peak_bytes / 1e6),
                "" if point.macs is None else number(point.macs / 1e9),
            )
            for point in points
        ]
        columns = (CURVES[name].label, "seconds", "peak memory, MB", "GMAC")
        parts.append(f"{name.capitalize()}\n\n{table(columns, measured)}")
    return "\n".join(parts)


def draw(curves: Mapping[str, Sequence[Point]], label: str) -> bytes:
    """Draw time and memory of curves over one axis; return the content of a PNG file."""
    figure, panels = new_figure((8, 3.2), ncols=2)
    for name, points in curves.items():
        sizes = [point.size for point in points]
        panels[0].plot(sizes, [point.seconds for point in points], "o-", label=name)
        panels[1].plot(sizes, [point.peak_bytes / 1e6 for point in points], "o-", label=name)
    for axes, what in zip(panels, ("time [s]", "peak memory [MB]"), strict=True):
        axes.set(xlabel=label, ylabel=what)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend()
    return png(figure, dpi=80)


def pictures(curves: Mapping[str, Sequence[Point]], folder: Path, device_type: str) -> str:
    """Write the pictures to a folder ``images`` in ``folder``; return the lines that show them."""
    lines = []
    for picture in dict.fromkeys(CURVES[name].picture for name in curves):
        drawn = {name: p for name, p in curves.items() if CURVES[name].picture == picture}
        label = CURVES[next(iter(drawn))].label
        relative = f"images/growth-{picture}-{device_type}.png"
        write_atomically(folder / relative, draw(drawn, label))
        lines.append(f"![Time and peak memory against {label}]({relative})\n")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=CURVES, nargs="+", help="some of the curves")
    arguments.add_argument("--most", type=float, default=float("inf"), help="the largest size")
    arguments.set_defaults(repeats=1)
    args = arguments.parse_args()
    begin(args.threads, args.device)
    device = torch.device(args.device)
    partial = ["--only"] * bool(args.only) + ["--most"] * (args.most < max(LENGTHS))
    check_page(args.page, f"growth-{device.type}", partial)
    curves = _measure(args)
    content = f"{machine(device)}\n{report(curves)}"
    print(content)
    if args.page:
        content += f"\n{pictures(curves, args.page.parent, device.type)}"
        record(args.page, f"growth-{device.type}", content)


def _measure(args: argparse.Namespace) -> dict[str, list[Point]]:
    names = args.only or list(CURVES)
    curves = {}
    with RunProgress.shown(len(names), "growth") as progress:
        for name in names:
            sizes = [size for size in CURVES[name].sizes if size <= args.most]
            if len(sizes) < 2:
                raise TisdissError(f"--most {args.most:g}: leaves {name} fewer than two sizes")
            curves[name] = fresh(
                measure_curve, name, sizes, args.repeats, args.device, device=args.device
            )
            progress.advance(1)
    return curves


if __name__ == "__main__":
    run_main(main)
