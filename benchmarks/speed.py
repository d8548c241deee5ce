"""How fast the model is, and what memory it takes, against the plain implementation of tests/.

Seconds are also told over those of 1 TFLOP of float32 matrix products (4096 x 2048 by 2048 x 2048,
best of 8) in the same process, which makes them comparable between machines. The full published
model, sep1x2-re1x6, separates 4 s at N_re 6; training steps are those of a quarter-width model,
4 x 2 s at N_re 3. The runs of one question are interleaved, and their medians are told.

    OMP_NUM_THREADS=2 python benchmarks/speed.py [--repeats 3] [--only inference]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from plain import PlainTISDiSS  # noqa: E402

from espnet2_tisdiss import TISDiSSSeparator  # noqa: E402
from espnet2_tisdiss.cost import PeakMemory  # noqa: E402

QUESTIONS = ("inference", "training", "memory")
CONFIG = ROOT / "conf/train_sep1x2-re1x6.yaml"
Runs = dict[str, Callable[[], object]]


def build(**changes: object) -> TISDiSSSeparator:
    """Return the full published separator with some options changed."""
    options = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["separator_conf"]
    torch.manual_seed(0)
    return TISDiSSSeparator(65, **{**options, **changes})


def plain_of(model: TISDiSSSeparator) -> PlainTISDiSS:
    """Return the plain implementation with a model's weights."""
    return PlainTISDiSS(
        model.config, {**dict(model.named_parameters()), **dict(model.named_buffers())}
    )


def spectrum(seconds: float, batch: int = 1) -> torch.Tensor:
    """Return noise (b, t, f) as the spectrum of so many seconds at 8 kHz, 125 frames each."""
    return torch.randn(batch, round(125 * seconds), 65, dtype=torch.complex64)


def teraflop() -> float:
    """Return the seconds that 1 TFLOP of float32 matrix products takes."""
    a, b = torch.randn(4096, 2048), torch.randn(2048, 2048)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return min(times) * 1e12 / (2 * 4096 * 2048 * 2048)


def medians(runs: Runs, repeats: int) -> dict[str, float]:
    """Return the median seconds of each run, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def inference_runs() -> Runs:
    """Return separations of 4 s at N_re 6."""
    model, x = build().eval(), spectrum(4)
    plain = plain_of(model)

    def half() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model(x, None)

    return {
        "plain, float32": lambda: plain(x, 6),
        "float32": lambda: model(x, None),
        "bfloat16": half,
    }


def step(model: TISDiSSSeparator, forward: Callable[[], list[torch.Tensor]]) -> None:
    """Run forward and backward with every depth in the loss."""
    model.zero_grad()
    sum(estimate.abs().square().mean() for estimate in forward()).backward()


def training_runs(x: torch.Tensor, **changes: object) -> Runs:
    """Return training steps: plain, and ours with each kind of checkpoint."""
    runs: Runs = {}
    for kept in ("none", "repetition", "block"):
        model = build(**changes, checkpoint=kept).train()
        runs[f"checkpoint: {kept}"] = lambda model=model: step(model, lambda: model(x, None)[0])
    plain = plain_of(model)
    n_re = model.reconstructor_repeat_times
    return {"plain": lambda: step(model, lambda: plain(x, n_re)), **runs}


def print_table(title: str, figures: dict[str, float], unit: str, base: str, norm: float) -> None:
    """Print figures, those over ``norm``, and how many times less than ``base`` they are."""
    print(f"\n## {title}\n")
    print(f"| | {unit} | ratio | against {base} |\n|---|---:|---:|---:|")
    for name, value in figures.items():
        print(f"| {name} | {value:.2f} | {value / norm:.2f} | {figures[base] / value:.2f}x less |")


def peak_megabytes(runs: Runs) -> dict[str, float]:
    """Return the most memory that each run takes above what is there before it."""
    peaks = {}
    for name, run in runs.items():
        with PeakMemory("cpu") as memory:
            run()
        peaks[name] = memory.peak / 1e6
    return peaks


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=QUESTIONS, help="one question")
    args = parser.parse_args()
    wanted = [args.only] if args.only else QUESTIONS
    flop = teraflop()
    print(f"{torch.get_num_threads()} threads; 1 TFLOP takes {flop:.2f} s")
    if "inference" in wanted:
        with torch.inference_mode():
            found = medians(inference_runs(), args.repeats)
        print_table("Separating 4 s at N_re 6", found, "s", "plain, float32", flop)
    if "training" in wanted:
        small = {"emb_dim": 32, "attention_dim": 32, "ffn_hidden_dim": [64, 64]}
        runs = training_runs(spectrum(2, 4), reconstructor_repeat_times=3, **small)
        print_table("Training step, 4 x 2 s", medians(runs, args.repeats), "s", "plain", flop)
    if "memory" in wanted:
        with torch.inference_mode():
            peaks = peak_megabytes(inference_runs())
        print_table("Memory of separating 4 s", peaks, "MB", "plain, float32", 1)
    print(f"\n1 TFLOP took {teraflop():.2f} s at the end")


if __name__ == "__main__":
    main()
