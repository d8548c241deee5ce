"""Outputs and gradients in every precision against float64 on the CPU; synchronisation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measuring import difference
from torch import Tensor
from torch._dynamo.utils import counters

from espnet2_tisdiss import TISDiSSSeparator
from espnet2_tisdiss.network.kernels.attention import MOST_ROWS, fused_attention
from espnet2_tisdiss.network.reference import PlainTISDiSS
from gpu.report import Report
from gpu.sizes import (
    DEFAULT,
    DEFAULT_WEIGHTS,
    FULL,
    Sizes,
    begin_step,
    compiling,
    precision,
    step_arguments,
)

# tolerances relative to the largest value: of outputs, and of the gradient
BOUNDS = {
    "float32": (1e-4, 1e-3),
    "tf32": (3e-2, 5e-2),
    "bfloat16": (1e-1, 1.5e-1),
    "float16": (3e-2, 5e-2),
}
DEEPEST, TRAINED_DEPTH = 8, 3
OUTPUTS, GRADIENTS = "Outputs", "Gradients"


class Case:
    """A separator and an input, with the float64 result of the CPU.

    Args:
        name: of the model.
        sizes: of the device.
    """

    def __init__(self, name: str, sizes: Sizes):
        self.name, self.sizes = name, sizes
        path, bins = (FULL, 65) if name == "full" else (DEFAULT, 257)
        options = sizes.config(path)["separator_conf"]
        torch.manual_seed(0)
        self.reference = TISDiSSSeparator(bins, **options)
        if name == "default" and sizes.device == "cuda":
            weights = torch.load(DEFAULT_WEIGHTS, map_location="cpu", weights_only=True)
            names = {key: key.removeprefix("separator.") for key in weights}
            self.reference.load_state_dict({names[key]: weights[key] for key in weights})
        self.model = TISDiSSSeparator(bins, **options)
        self.model.load_state_dict(self.reference.state_dict())
        self.model.to(sizes.device)
        self.reference.double()
        self.x = torch.randn(1, sizes.frames, bins, dtype=torch.complex128)

    def there(self, x: Tensor) -> Tensor:
        """Return an input on the device, in single precision."""
        return x.to(torch.complex64).to(self.sizes.device)


def depths_of(model: TISDiSSSeparator, x: Tensor, lengths: Tensor | None, n_re: int) -> Tensor:
    """Return the spectra (depth, j, b, t, f) of 0 to ``n_re`` repetitions, on the CPU."""
    with torch.no_grad():
        depths = [torch.stack(depth) for depth in model.eval().anytime(x, lengths, n_re)]
    return torch.stack(depths).cpu()


def gradient_of(model: TISDiSSSeparator, x: Tensor) -> Tensor:
    """Return the gradient of the mean power of all supervised depths, on the CPU."""
    model.train().zero_grad()
    model.reconstructor_repeat_times = TRAINED_DEPTH
    estimates, _, _ = model(x, None)
    torch.stack(estimates).abs().square().mean().backward()
    # weights that no loss reaches have none
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(grads).cpu()


def judged(found: Tensor, expected: Tensor, bound: float) -> dict[str, Any]:
    """Return the columns of a comparison."""
    value = difference(found.to(expected.dtype), expected)
    return {"largest difference": value, "bound": bound, "passed": value <= bound}


def compare(report: Report, case: Case, way: str, compiled: bool) -> None:
    """Compare all depths, and the gradient, in one precision."""
    names = {"model": case.name, "precision": way, "compiled": str(compiled).lower()}
    x, device = case.there(case.x), case.sizes.device

    def outputs() -> dict[str, Any]:
        expected = depths_of(case.reference, case.x, None, DEEPEST)
        with precision(way, device):
            found = depths_of(case.model, x, None, DEEPEST)
        worst = max(range(DEEPEST + 1), key=lambda depth: difference(found[depth], expected[depth]))
        return {"N_re": f"0 to {DEEPEST}", "worst": worst} | judged(
            found[worst], expected[worst], BOUNDS[way][0]
        )

    def gradients() -> dict[str, Any]:
        expected = gradient_of(case.reference, case.x)
        with precision(way, device):
            found = gradient_of(case.model, x)
        return judged(found, expected, BOUNDS[way][1])

    report.measure(OUTPUTS, names, outputs)
    if way != "float16":  # not used for training
        report.measure(GRADIENTS, names, gradients)


def against_plain(case: Case) -> dict[str, Any]:
    """Compare the reference result with the plain implementation."""
    plain = PlainTISDiSS(case.reference.config, case.reference.state_dict())
    expected = plain(case.x, DEEPEST)[-1]  # (b, j, t, f)
    found = depths_of(case.reference, case.x, None, DEEPEST)[-1]
    return judged(found.movedim(0, 1), expected, 1e-9)


def lengths(case: Case, way: str, frames: int) -> dict[str, Any]:
    """Compare an input of another length, in one precision."""
    x = case.x[:, :frames]
    expected = depths_of(case.reference, x, None, 2)
    with precision(way, case.sizes.device):
        found = depths_of(case.model, case.there(x), None, 2)
    return judged(found, expected, BOUNDS[way][0])


def padding(case: Case, way: str) -> dict[str, Any]:
    """Compare the items of a padded batch with each alone."""
    n_frames = case.x.shape[1]
    wanted = torch.tensor([n_frames, n_frames // 2 + 1, 1])
    x = case.x.repeat(3, 1, 1)
    with precision(way, case.sizes.device):
        found = depths_of(case.model, case.there(x), wanted, 2)
    pairs = []
    for item, length in enumerate(wanted.tolist()):
        alone = depths_of(case.reference, x[item : item + 1, :length], None, 2)
        pairs.append((found[:, :, item, :length].flatten(), alone.flatten()))
    found, expected = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return judged(found, expected, BOUNDS[way][0])


def many_rows(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Compare fused attention over more rows than a CUDA grid holds with that of each half."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, MOST_ROWS + 9, 1, 8, 16).to(device, dtype).unbind()
    found = fused_attention(q, k, v, None, 0.0)
    parts = zip(q.chunk(2), k.chunk(2), v.chunk(2), strict=True)
    halves = [fused_attention(*part, None, 0.0) for part in parts]
    return judged(found.float().cpu(), torch.cat(halves).float().cpu(), 1e-2)


def no_waiting(case: Case, lengths: Tensor | None, train: bool) -> dict[str, Any]:
    """Run forward with CUDA set to refuse synchronisation."""
    x = case.there(case.x.repeat(2, 1, 1))
    case.model.train(train)
    case.model(x, lengths)  # one-time initialisation may synchronise
    if case.sizes.device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        case.model(x, lengths)
    finally:
        if case.sizes.device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    return {"passed": True}


def graph(case: Case) -> dict[str, Any]:
    """Compare a captured CUDA graph with the run that it was captured from."""
    if case.sizes.device != "cuda":
        return {"passed": "no GPU"}
    model, x = case.model.eval(), case.there(case.x)
    with torch.no_grad():
        captured, result = capture(lambda: model(x, None)[0])
        expected = torch.stack(model(x, None)[0])
        captured.replay()
    return judged(torch.stack(result), expected, 1e-5)


def capture(run: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """Warm up a run and capture it as a CUDA graph; return the graph and its output."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        result = run()
    return captured, result


def few_graphs(case: Case) -> dict[str, Any]:
    """Count compilations over several lengths and depths."""
    counters.clear()
    with torch.no_grad():
        for frames in range(case.x.shape[1] - 4, case.x.shape[1] + 1):
            for n_re in (1, 2):
                case.model.reconstructor_repeat_times = n_re
                case.model.eval()(case.there(case.x[:, :frames]), None)
    found = counters["stats"]["unique_graphs"]
    # two blocks: one graph for the first length, then for any, even and odd because of stride 2
    return {"graphs": found, "bound": 8, "passed": found <= 8}


def main() -> None:
    """Run the command line."""
    args = step_arguments(__doc__).parse_args()
    sizes = begin_step(args)
    report = Report(args.out, "correctness", args.device)
    cases = [Case("default", sizes), Case("full", sizes)]
    report.measure(
        "The reference against the plain one", {"model": "full"}, partial(against_plain, cases[1])
    )
    for case in cases:
        for way in BOUNDS:
            compare(report, case, way, compiled=False)
    for case in cases:
        for way in ("float32", "bfloat16"):
            names = {"model": case.name, "precision": way}
            for frames in (1, 2, 3, case.x.shape[1] - 1):
                run = partial(lengths, case, way, frames)
                report.measure("Lengths", names | {"frames": frames}, run)
            report.measure("Padding", names, partial(padding, case, way))
        for train in (False, True):
            for name, given in (("none", None), ("on the CPU", torch.tensor([sizes.frames, 5]))):
                names = {"model": case.name, "training": str(train).lower(), "lengths": name}
                run = partial(no_waiting, case, given, train)
                report.measure("Forward does not synchronise", names, run)
        report.measure("CUDA graph", {"model": case.name}, partial(graph, case))
    for dtype in (torch.float32, torch.bfloat16):
        run = partial(many_rows, args.device, dtype)
        report.measure("More rows than a grid holds", {"precision": str(dtype)}, run)
    with compiling(sizes):
        for case in cases:
            case.model.compile_blocks()
            for way in ("float32", "bfloat16"):
                compare(report, case, way, compiled=True)
            report.measure("Graphs compiled", {"model": case.name}, partial(few_graphs, case))


if __name__ == "__main__":
    main()
