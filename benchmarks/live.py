"""Measure the cost of live separation, in dB and in time.

    python benchmarks/live.py voices DATA --limit 20 --page docs/live.md

separates the mixtures of a data set (as for tisdiss sweep) in one piece and live, with several
latencies and lengths of the window, at one depth. It prints the mean SI-SNRi in dB and the
real-time factor: seconds of computation per second of sound. Causal models have a separate section.

    python benchmarks/live.py voices DATA --soak 10 --busy 1 --page docs/live.md

plays the mixtures in real time for ten minutes while one core is busy, with a depth that follows
the load. It prints how long sound waited, including the computing time, and the depths. A player
whose buffer holds the latency plus PLAYER_S underruns when sound comes out later than that.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from measuring import mixtures_parser, run_main, seconds_of, spread
from results import check_page, record, table

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import EvalMixture, find_mixtures, read_signals

SECTION = "live"
CAUSAL_SECTION = "live-causal"
# seconds: (latency, window)
SETTINGS = ((0.5, 1.0), (0.5, 2.0), (0.5, 4.0), (0.25, 2.0), (1.0, 2.0), (2.0, 4.0))
BLOCK_SECONDS = 0.02  # block length of a sound card
SOAK_SECTION = "live-soak"
# latencies of the soak, each with its share of the time
SOAK_LATENCIES = (0.5, 1.0)
PLAYER_S = 0.25


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = mixtures_parser(__doc__)
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="play so long in real time")
    parser.add_argument("--busy", type=int, default=0, help="cores kept busy [%(default)s]")
    args = parser.parse_args(argv)
    model = SeparateSpeech.from_pretrained(args.model, n_re=args.n_re)
    section, measure = (SECTION, cost) if args.soak is None else (SOAK_SECTION, soak)
    if measure is cost and model.look_ahead is not None:
        section = CAUSAL_SECTION
    check_page(args.page, section)
    mixtures = spread(find_mixtures(args.data, model.num_spk), args.limit)
    text = measure(model, mixtures, args)
    sys.stdout.write(text)
    if args.page:
        record(args.page, section, text)


def cost(model: SeparateSpeech, mixtures: Sequence[EvalMixture], args: argparse.Namespace) -> str:
    """Return the table of SI-SNRi and real-time factor."""
    rate = model.sample_rate
    rows = {"in one piece": ["", ""]}
    rows |= {f"live {setting}": [f"{second:g} s" for second in setting] for setting in SETTINGS}
    gains: dict[str, list[float]] = {name: [] for name in rows}
    times, total = dict.fromkeys(rows, 0.0), 0.0
    for mixture in mixtures:
        signals = read_signals((mixture.path, *mixture.references), rate)
        total += signals.shape[1] / rate
        ways = {"in one piece": partial(model.recording, signals[0], rate)}
        for latency, window in SETTINGS:
            name = f"live {(latency, window)}"
            ways[name] = partial(separate_live, model, signals[0], latency, window)
        for name, way in ways.items():
            seconds, estimates = seconds_of(way)
            times[name] += seconds
            gains[name].append(improvement(signals, estimates))
    header = ["separated", "latency", "window", "SI-SNRi", "real-time factor"]
    text = table(
        header,
        [
            [
                name.split(" (")[0],
                *cells,
                f"{np.mean(gains[name]):.2f}",
                f"{times[name] / total:.2f}",
            ]
            for name, cells in rows.items()
        ],
    )
    return f"`{args.model}` at N_re {model.resolve_depth()}, {len(mixtures)} mixtures.\n\n{text}"


def soak(model: SeparateSpeech, mixtures: Sequence[EvalMixture], args: argparse.Namespace) -> str:
    """Return the table of waits, underruns and depths while cores are busy."""
    rate = model.sample_rate
    samples = np.concatenate([read_signals([one.path], rate)[0] for one in mixtures])
    context = multiprocessing.get_context("spawn")
    busy = [context.Process(target=spin, daemon=True) for _ in range(args.busy)]
    for process in busy:
        process.start()
    rows = []
    try:
        for latency in SOAK_LATENCIES:
            seconds = 60 * args.soak / len(SOAK_LATENCIES)
            rows.append(play(model, np.resize(samples, round(seconds * rate)), latency))
    finally:
        for process in busy:
            process.kill()
    header = ["latency", "windows", "late", "wait: median", "95 %", "longest", "underruns"]
    about = (
        f"`{args.model}`, {args.soak:g} minutes in all, {args.busy} of {os.cpu_count()} cores busy"
    )
    return f"{about}.\n\n{table([*header, 'mean N_re'], rows)}"


def spin() -> None:
    """Keep a core busy."""
    while True:
        pass


def play(model: SeparateSpeech, samples: np.ndarray, latency: float) -> list[str]:
    """Separate samples (n,) as they would arrive; return a row of the table."""
    live = model.live(model.sample_rate, latency=latency, keep_up=True)
    size = round(BLOCK_SECONDS * model.sample_rate)
    waits, depths, given, out = [], [], 0, 0
    began = time.monotonic()
    while given < len(samples):
        due = int((time.monotonic() - began) / BLOCK_SECONDS) * size
        if due <= given:
            time.sleep(BLOCK_SECONDS / 4)
            continue
        windows = live.windows
        found = live.push(samples[given:due])
        given = due
        if live.windows > windows:
            # the first of the output samples has waited longest
            waits.append(time.monotonic() - began - out / model.sample_rate)
            depths.append(live.n_re)
        out += found.shape[1]
    times = np.percentile(waits, [50, 95, 100])
    underruns = sum(wait > latency + PLAYER_S for wait in waits)
    return [
        *(f"{latency:g} s", str(live.windows), str(live.late)),
        *(f"{wait:.2f} s" for wait in times),
        *(str(underruns), f"{np.mean(depths):.2f}"),
    ]


def separate_live(
    model: SeparateSpeech, samples: np.ndarray, latency: float, window: float
) -> np.ndarray:
    """Return the estimates (j, n) of a mixture (n,) that arrives in blocks."""
    live = model.live(model.sample_rate, latency=latency, window=window)
    size = round(BLOCK_SECONDS * model.sample_rate)
    blocks = [samples[start : start + size] for start in range(0, len(samples), size)]
    return np.concatenate([*map(live.push, blocks), live.finish()], axis=1)


if __name__ == "__main__":
    run_main(main)
