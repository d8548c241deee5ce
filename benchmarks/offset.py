"""Measure the effect of offsets and rumble on a separation, with and without their removal.

    python benchmarks/offset.py voices DATA --limit 20

adds offsets and 8-Hz rumble to the mixtures of a data set (any that tisdiss sweep reads) and prints
the mean SI-SNRi of the estimates in dB, as a table for docs/recordings.md. Levels are in percent of
full scale. Axis letters: j speaker, n sample.
"""

import numpy as np
from measuring import mixtures_parser, run_main, spread

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals

OFFSETS = (0, 1, 3, 10)
RUMBLES = (1, 3, 10)
RUMBLE_HZ = 8.0


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = mixtures_parser(__doc__)
    args = parser.parse_args(argv)
    model = SeparateSpeech.from_pretrained(args.model)
    mixtures = find_mixtures(args.data, model.num_spk)
    rows: dict[str, list[list[float]]] = {}
    for mixture in spread(mixtures, args.limit):
        signals = read_signals((mixture.path, *mixture.references), model.sample_rate)
        time = np.arange(signals.shape[1]) / model.sample_rate
        wave = np.sin(2 * np.pi * RUMBLE_HZ * time)
        added = {f"offset of {level} %": np.full(len(time), level / 100) for level in OFFSETS}
        added |= {f"rumble of {level} %": wave * level / 100 for level in RUMBLES}
        for name, disturbance in added.items():
            disturbed = (signals[0] + disturbance).astype(np.float32)
            gains = [
                improvement(
                    signals,
                    model.recording(disturbed, model.sample_rate, n_re=args.n_re, keep_rumble=keep),
                )
                for keep in (True, False)
            ]
            rows.setdefault(name, []).append(gains)
    print("| added | without the filter | with the filter |\n|---|---:|---:|")
    for name, found in rows.items():
        kept, removed = np.mean(found, axis=0)
        print(f"| {name} | {kept:.2f} | {removed:.2f} |")


if __name__ == "__main__":
    run_main(main)
