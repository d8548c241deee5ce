"""Measure the model's speed and memory against the reference implementation.

    python benchmarks/speed.py                       # all questions
    python benchmarks/speed.py --only inference
    python benchmarks/speed.py --device cuda

The plain implementation and the model alternate in the same process, and their results are
compared. A ratio is seconds divided by those of 1 TFLOP of float32 matrix products (4096 x 2048 by
2048 x 2048, best of 8) in the same process. Memory is the peak above the loaded model, each in a
separate process. The full published model, sep1x2-re1x6, separates 4 s at N_re 6; the sweep is over
2 s; training steps use a quarter-width model, 4 x 2 s at N_re 3, and their memory is that of the
full model, 1 x 1 s.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from measuring import (  # noqa: E402
    begin,
    difference,
    fresh,
    in_turn,
    parser,
    read_config,
    run_main,
    seconds_of,
    teraflop,
)
from results import check_page, machine, number, record, table  # noqa: E402

from espnet2_tisdiss import TISDiSSSeparator  # noqa: E402
from espnet2_tisdiss.evaluate.cost import PeakMemory  # noqa: E402
from espnet2_tisdiss.network.reference import PlainTISDiSS  # noqa: E402

CONFIG = ROOT / "conf/train_sep1x2-re1x6.yaml"
BINS, FRAMES_PER_S = 65, 125
N_RE, DEEPEST = 6, 8
QUARTER = {"emb_dim": 32, "attention_dim": 32, "ffn_hidden_dim": [64, 64]}

PLAIN, FLOAT, AUTOCAST, WEIGHTS = "plain, float32", "float32", "bfloat16 autocast", "bfloat16"
SEPARATIONS = (PLAIN, FLOAT, AUTOCAST, WEIGHTS)
# the option checkpoint, and whether in bfloat16 autocast
TRAININGS = {
    "checkpoint: none": ("none", False),
    "checkpoint: repetition": ("repetition", False),
    "checkpoint: block": ("block", False),
    "bfloat16 autocast, checkpoint: none": ("none", True),
    "bfloat16 autocast, checkpoint: block": ("block", True),
}


@dataclass(frozen=True)
class Setting:
    """Conditions of the measurement.

    Attributes:
        config: training configuration of the full model.
        seconds: of the separated mixture, from which the other lengths follow.
        repeats: timed runs of each way.
        device: cpu or cuda.
    """

    config: Path
    seconds: float
    repeats: int
    device: str


class Answer(NamedTuple):
    """The answer to a question.

    Attributes:
        rows: of the summary: quantity, plain implementation, model.
        details: a table of all figures, with its title.
    """

    rows: list[tuple[str, float, float]]
    details: str


def build(setting: Setting, **changes: Any) -> TISDiSSSeparator:
    """Return the full model with some options changed; the same weights every time."""
    torch.manual_seed(0)
    return TISDiSSSeparator(BINS, **read_config(setting.config, **changes)["separator_conf"])


def plain_of(model: TISDiSSSeparator) -> PlainTISDiSS:
    """Return the plain implementation with a model's weights."""
    return PlainTISDiSS(
        model.config, {**dict(model.named_parameters()), **dict(model.named_buffers())}
    )


def spectrum(seconds: float, batch: int = 1) -> torch.Tensor:
    """Return noise (b, t, f) as the spectrum of ``seconds`` of audio; the same every time."""
    torch.manual_seed(1)
    return torch.randn(batch, round(FRAMES_PER_S * seconds), BINS, dtype=torch.complex64)


def separation(setting: Setting, way: str, x: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """Return a function that separates x (1, t, f) at a depth into spectra (j, t, f)."""
    model = build(setting).eval()
    if way == PLAIN:
        plain = plain_of(model)
        return lambda n_re: plain(x, n_re)[-1][0]
    if way == WEIGHTS:
        model.bfloat16()

    def run(n_re: int) -> torch.Tensor:
        model.reconstructor_repeat_times = n_re
        with torch.autocast(x.device.type, torch.bfloat16, enabled=way == AUTOCAST):
            return torch.cat(model(x, None)[0])

    return run


def inference(setting: Setting, on_step: Callable[[float], None]) -> Answer:
    """Time a separation in each precision, and compare the outputs."""
    x = spectrum(setting.seconds)
    with torch.inference_mode():
        runs = {way: functools.partial(separation(setting, way, x), N_RE) for way in SEPARATIONS}
        for way in SEPARATIONS:  # the first run chooses and builds kernels
            runs[way]()
            on_step(1)
        flop = teraflop()
        seconds, found = in_turn(runs, setting.repeats, on_step)
        flop = min(flop, teraflop())
        ratios = {way: value / flop for way, value in seconds.items()}
        rows = [
            (f"inference, {way}, ratio", ratios[PLAIN], ratios[way])
            for way in (FLOAT, AUTOCAST, WEIGHTS)
        ]
        details = table(
            ("", "seconds", "ratio", "times faster", "largest difference"),
            [
                (
                    way,
                    number(seconds[way]),
                    number(ratios[way]),
                    number(seconds[PLAIN] / seconds[way]),
                    f"{difference(found[way], found[PLAIN]):.1e}",
                )
                for way in runs
            ],
        )
    title = f"Separating {setting.seconds:g} s of audio at N_re {N_RE}; 1 TFLOP takes {flop:.3g} s"
    return Answer(rows, f"{title}\n\n{details}")


def separation_peak(setting: Setting, way: str) -> int:
    """Return the bytes that a separation takes above the loaded model, in this fresh process."""
    x = spectrum(setting.seconds)
    with torch.inference_mode():
        run = separation(setting, way, x)
        with PeakMemory(setting.device) as memory:
            run(N_RE)
    return memory.peak


def peak(setting: Setting, on_step: Callable[[float], None]) -> Answer:
    """Find the peak memory of a separation in each precision."""
    peaks = {}
    for way in SEPARATIONS:
        peaks[way] = fresh(separation_peak, setting, way, device=setting.device) / 1e6
        on_step(1)
    rows = [
        (f"inference, {way}, peak memory, MB", peaks[PLAIN], peaks[way])
        for way in (FLOAT, AUTOCAST, WEIGHTS)
    ]
    return Answer(
        rows,
        f"Peak memory above the loaded model, separating {setting.seconds:g} s of audio "
        f"at N_re {N_RE}\n\n" + _memory_table(peaks),
    )


def sweep(setting: Setting, on_step: Callable[[float], None]) -> Answer:
    """Time one run that yields all depths against a plain run for each."""
    seconds = setting.seconds / 2
    x = spectrum(seconds)
    with torch.inference_mode():
        model, run_plain = build(setting).eval(), separation(setting, PLAIN, x)

        def anytime() -> list[torch.Tensor]:
            _, *depths = (torch.cat(speakers) for speakers in model.anytime(x, None, DEEPEST))
            return depths

        anytime()
        on_step(1)
        taken, ours = seconds_of(anytime)
        on_step(1)
        plain_taken, differences = 0.0, []
        for n_re, found in enumerate(ours, start=1):
            one_run, expected = seconds_of(functools.partial(run_plain, n_re))
            plain_taken += one_run
            differences.append(difference(found, expected))
            on_step(1)
    faster = plain_taken / taken
    what = f"sweep N_re 1..{DEEPEST}, times faster than {DEEPEST} plain runs"
    details = table(
        ("", "seconds", "times faster", "largest difference"),
        [
            (f"{DEEPEST} plain runs", number(plain_taken), "1", ""),
            ("one run, all depths", number(taken), number(faster), f"{max(differences):.1e}"),
        ],
    )
    return Answer(
        [(what, 1.0, faster)],
        f"All depths from 1 to {DEEPEST} of {seconds:g} s of audio\n\n{details}",
    )


def training_step(
    setting: Setting, way: str, x: torch.Tensor, **changes: Any
) -> Callable[[], torch.Tensor]:
    """Return a function that runs a step with a loss at every depth and returns the gradient."""
    checkpoint, half = TRAININGS.get(way, ("none", False))
    model = build(setting, **changes, checkpoint=checkpoint).train()
    weights = list(model.parameters())
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    plain = plain_of(model)

    def run() -> torch.Tensor:
        model.zero_grad(set_to_none=False)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            if way == PLAIN:
                depths = plain(x, model.reconstructor_repeat_times)
                estimates = [estimate for depth in depths for estimate in depth.unbind(1)]
            else:
                estimates = model(x, None)[0]
        torch.stack([estimate.abs().square().mean() for estimate in estimates]).sum().backward()
        return torch.cat([weight.grad.flatten() for weight in weights])

    return run


def training(setting: Setting, on_step: Callable[[float], None]) -> Answer:
    """Time a training step of the quarter-width model with each kind of checkpoint."""
    x = spectrum(setting.seconds / 2, batch=4)
    runs = {
        way: training_step(setting, way, x, reconstructor_repeat_times=3, **QUARTER)
        for way in (PLAIN, *TRAININGS)
    }
    for run in runs.values():
        run()
        on_step(1)
    seconds, found = in_turn(runs, setting.repeats, on_step)
    faster = {way: seconds[PLAIN] / value for way, value in seconds.items()}
    details = table(
        ("", "seconds", "times faster", "largest gradient difference"),
        [
            (
                way,
                number(seconds[way]),
                number(faster[way]),
                f"{difference(found[way], found[PLAIN]):.1e}",
            )
            for way in runs
        ],
    )
    rows = [(f"training step, {way}, times faster", 1.0, faster[way]) for way in TRAININGS]
    title = f"Training step of a quarter-width model, 4 x {setting.seconds / 2:g} s, N_re 3"
    return Answer(rows, f"{title}\n\n{details}")


def training_peak(setting: Setting, way: str, seconds: float) -> int:
    """Return the bytes that a step takes above weights and gradients, in this fresh process."""
    run = training_step(setting, way, spectrum(seconds))
    with PeakMemory(setting.device) as memory:
        run()
    return memory.peak


def activations(setting: Setting, on_step: Callable[[float], None]) -> Answer:
    """Find the peak memory of the full model's training step with each kind of checkpoint."""
    seconds, peaks = setting.seconds / 4, {}
    for way in (PLAIN, *TRAININGS):
        peaks[way] = fresh(training_peak, setting, way, seconds, device=setting.device) / 1e6
        on_step(1)
    rows = [
        (f"training, {way}, peak activation memory", 1.0, peaks[way] / peaks[PLAIN])
        for way in TRAININGS
    ]
    title = f"Peak activation memory of a training step, full model, 1 x {seconds:g} s, N_re {N_RE}"
    return Answer(rows, f"{title}\n\n{_memory_table(peaks)}")


def depths(setting: Setting, on_step: Callable[[float], None]) -> Answer:
    """Time a separation at every depth in each precision."""
    x, rows = spectrum(setting.seconds), []
    with torch.inference_mode():
        ways = {way: separation(setting, way, x) for way in SEPARATIONS}
        for n_re in range(1, DEEPEST + 1):
            runs = {way: functools.partial(run, n_re) for way, run in ways.items()}
            in_turn(runs, 1, on_step)
            seconds, _ = in_turn(runs, setting.repeats, on_step)
            rtfs = (seconds[way] / setting.seconds for way in ways)
            rows.append((str(n_re), *(f"{rtf:.5f}" for rtf in rtfs)))
    return Answer(
        [],
        f"Real-time factor by depth N_re, {setting.seconds:g} s\n\n"
        + table(("N_re", *SEPARATIONS), rows),
    )


def _memory_table(peaks: dict[str, float]) -> str:
    """Return a table of peaks in MB and as fractions of the plain implementation's."""
    return table(
        ("", "MB", "fraction of plain"),
        [(way, number(value), number(value / peaks[PLAIN])) for way, value in peaks.items()],
    )


QUESTIONS = {
    "inference": inference,
    "peak": peak,
    "sweep": sweep,
    "training": training,
    "activations": activations,
    "depths": depths,
}


def steps_of(question: str, repeats: int) -> int:
    """Return the number of runs that a question takes."""
    return {
        "inference": len(SEPARATIONS) * (1 + repeats),
        "peak": len(SEPARATIONS),
        "sweep": 2 + DEEPEST,
        "training": (1 + repeats) * (1 + len(TRAININGS)),
        "activations": 1 + len(TRAININGS),
        "depths": DEEPEST * (1 + repeats) * len(SEPARATIONS),
    }[question]


def summary(rows: list[tuple[str, float, float]]) -> str:
    """Return the table of the plain implementation's and the model's figures."""
    return table(("", "plain", "TISDiSS"), [(w, number(p), number(o)) for w, p, o in rows])


def main() -> None:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=QUESTIONS, nargs="+", help="some of the questions")
    arguments.add_argument("--config", type=Path, default=CONFIG, help="of the full model")
    arguments.add_argument("--seconds", type=float, default=4.0, help="of audio [%(default)s]")
    args = arguments.parse_args()
    begin(args.threads, args.device)
    check_page(args.page, f"speed-{torch.device(args.device).type}", ["--only"] * bool(args.only))
    _answer(args)


def _answer(args: argparse.Namespace) -> None:
    """Answer the questions, print the tables, and write them to the page, if given."""
    setting = Setting(args.config, args.seconds, args.repeats, args.device)
    device = torch.device(args.device)
    # `depths` takes minutes on a CPU, and benchmarks/separators.py measures it as well
    usual = [name for name in QUESTIONS if name != "depths" or device.type == "cuda"]
    wanted = args.only or usual
    total = sum(steps_of(name, args.repeats) for name in wanted)
    rows, details = [], []
    from run_progress import RunProgress  # deferred: needs the command line's packages

    with RunProgress.shown(total, "speed") as progress:
        for name in wanted:
            answer = QUESTIONS[name](setting, progress.advance)
            rows += answer.rows
            details.append(answer.details)
            print(f"{answer.details}\n", flush=True)
    head = machine(device)
    if rows and device.type == "cpu":
        head += f"\n{summary(rows)}"
    print(head)
    if args.page:
        record(args.page, f"speed-{device.type}", "\n".join([head, *details]))


if __name__ == "__main__":
    run_main(main)
