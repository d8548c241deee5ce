"""Measure the gain and the time of averaging over shifted copies of a recording.

    python benchmarks/shifts.py voices DATA --limit 20

separates the mixtures of a data set (as for tisdiss sweep) with several numbers of shifts and
prints mean SI-SNRi in dB, and time relative to the first number, as a table for
docs/separating.md.
"""

import sys
from functools import partial

import numpy as np
from measuring import count, mixtures_parser, run_main, seconds_of, spread
from results import table

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = mixtures_parser(__doc__)
    parser.add_argument("--shifts", type=count, nargs="+", default=[1, 2, 4], help="[1 2 4]")
    args = parser.parse_args(argv)
    model = SeparateSpeech.from_pretrained(args.model, n_re=args.n_re)
    mixtures = find_mixtures(args.data, model.num_spk)
    gains: dict[int, list[float]] = {shifts: [] for shifts in args.shifts}
    times = dict.fromkeys(args.shifts, 0.0)
    for mixture in spread(mixtures, args.limit):
        signals = read_signals((mixture.path, *mixture.references), model.sample_rate)
        separate = partial(model.recording, signals[0], model.sample_rate)
        separate()  # the first of each length is slower
        for shifts in args.shifts:
            seconds, estimates = seconds_of(partial(separate, shifts=shifts))
            times[shifts] += seconds
            gains[shifts].append(improvement(signals, estimates))
    first = times[args.shifts[0]]
    rows = [
        [str(shifts), f"{np.mean(gains[shifts]):.2f}", f"{times[shifts] / first:.1f}"]
        for shifts in args.shifts
    ]
    sys.stdout.write(table(["shifts", "SI-SNRi", "time"], rows))


if __name__ == "__main__":
    run_main(main)
