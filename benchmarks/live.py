"""What separation while the sound arrives costs, in dB and in time.

    python benchmarks/live.py voices DATA --limit 20 --page docs/live.md

separates the mixtures of a data set (as for tisdiss sweep) in one piece and live, with several
latencies and lengths of the window, at one depth. It prints mean SI-SNRi in dB and the real-time
factor: seconds of computation for a second of sound.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from measuring import mixtures_parser, run_main, seconds_of, spread
from results import check_page, record, table

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals

SECTION = "live"
# seconds: (latency, window)
SETTINGS = ((0.5, 1.0), (0.5, 2.0), (0.5, 4.0), (0.25, 2.0), (1.0, 2.0), (2.0, 4.0))
BLOCK_SECONDS = 0.02  # as a sound card delivers


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = mixtures_parser(__doc__)
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    check_page(args.page, SECTION)
    model = SeparateSpeech.from_pretrained(args.model, n_re=args.n_re)
    rate = model.sample_rate
    rows = {"in one piece": ["", ""]}
    rows |= {f"live {setting}": [f"{second:g} s" for second in setting] for setting in SETTINGS}
    gains: dict[str, list[float]] = {name: [] for name in rows}
    times, total = dict.fromkeys(rows, 0.0), 0.0
    for mixture in spread(find_mixtures(args.data, model.num_spk), args.limit):
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
    sys.stdout.write(text)
    if args.page:
        count = len(gains["in one piece"])
        about = f"`{args.model}` at N_re {model.resolve_depth()}, {count} mixtures.\n\n"
        record(args.page, SECTION, about + text)


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
