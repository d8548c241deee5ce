"""Compare the quality that a calibrated model predicts for its estimates with the measured one.

    python benchmarks/confidence.py make BANK FOLDER
    tisdiss calibrate voices FOLDER/seconds5/sets/valid FOLDER/seconds8/sets/valid
    python benchmarks/confidence.py measure voices SET... --page docs/confidence.md

The first command makes validation mixtures for the second: 240 of 5 s and 80 of 8 s, a quarter each
clean, noisy, in rooms and partly overlapping, of the validation speakers of the bank of a
voices_2mix corpus. The third measures on other data, such as its test sets, and writes a section
and a picture:

* the expected and the measured SI-SNR of every set, and how often the measured one is within the
  interval that should contain it with a probability of 50, 80 and 90 %;
* how many mixtures are called poor: those of three speakers, those of the set with less than 2 dB
  SI-SNRi, and the false alarms, those with 5 dB or more;
* the mean depth and SI-SNRi if each mixture stops at a given SI-SNR (--until), or when another
  repetition changes little (--stop-db), compared with fixed depths.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import count, run_main, spread
from results import check_page, record, table

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.by_depth import MixtureScores, Score, score_mixtures
from espnet2_tisdiss.evaluate.calibrating import WELL_DB
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals, with_length
from espnet2_tisdiss.evaluate.pictures import Curve, draw_curves
from espnet2_tisdiss.separate.calibration import Calibration, traits_of

SECTION = "confidence"
PICTURE = "confidence.png"
SHOWN = (1, 3, 6)  # depths in the table
PROBABILITIES = (0.5, 0.8, 0.9)
BADLY_DB = 2.0  # SI-SNRi
UNTIL_DB = tuple(range(-2, 19, 2))
STOPS_DB = (-4, -6, -8, -10, -12, -14, -16)
SEED = 71
# seconds of the mixtures -> their number
MADE = {5.0: 240, 8.0: 80}


def main(argv: Sequence[str] | None = None) -> None:
    """Make mixtures, or measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    make = actions.add_parser("make", help="make validation mixtures")
    make.add_argument("bank", type=Path, help="downloads/voices_*/bank of the recipe voices_2mix")
    make.add_argument("folder", type=Path, help="folder to write to")
    measure = actions.add_parser("measure", help="measure on other mixtures")
    measure.add_argument("model", help="as for tisdiss separate -m")
    measure.add_argument("sets", nargs="+", help="data sets, as for tisdiss sweep")
    measure.add_argument("--limit", type=count, default=100, help="mixtures of each [%(default)s]")
    measure.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    if args.action == "make":
        make_mixtures(args.bank, args.folder)
    else:
        check_page(args.page, SECTION)
        measure_sets(args)


def make_mixtures(bank: Path, folder: Path) -> None:
    """Make the validation mixtures of the calibration, with the bank's speakers and noise."""
    from espnet2_tisdiss.recipes.voices_2mix.sets import CONDITIONS, FixedSet, make_sets

    for seconds, number in MADE.items():
        corpus = folder / f"seconds{seconds:g}"
        corpus.mkdir(parents=True, exist_ok=True)
        if not (corpus / "bank").exists():
            (corpus / "bank").symlink_to(bank.resolve())
        (made,) = make_sets(corpus, [FixedSet("valid", CONDITIONS, number, seconds)], SEED, 1)
        sys.stdout.write(f"{made}\n")


@dataclass(frozen=True)
class Measured:
    """The scores of a set, and the expected SI-SNR in dB of its mixtures with a third speaker."""

    scores: list[MixtureScores]
    three: list[float]

    def at(self, n_re: int) -> list[Score]:
        """Return the scores of all mixtures at a depth."""
        return [one.scores[n_re - 1] for one in self.scores]


def measure_sets(args: argparse.Namespace) -> None:
    """Measure on all sets, print the tables, and write the section and the picture."""
    model = SeparateSpeech.from_pretrained(args.model)
    calibration = model.known_calibration()
    depths = range(1, model.separator.config.deepest_useful + 1)
    measured: dict[str, Measured] = {}
    for data in args.sets:
        mixtures = spread(find_mixtures(data, model.num_spk), args.limit)
        scores = list(score_mixtures(model, list(map(with_length, mixtures)), depths, audible=True))
        if bad := [one for one in scores if one.status != "done"]:
            raise TisdissError(f"{data}: {bad[0].reason}")
        three = [expected_of_three(model, mixtures, index) for index in range(0, len(mixtures), 4)]
        measured[Path(data).resolve().name] = Measured(scores, three)
    everything = Measured([one for found in measured.values() for one in found.scores], [])
    parts = [
        table_of_sets(calibration, measured | {"all": everything}),
        table_of_poor(calibration, measured, model.resolve_depth()),
        table_of_depths(calibration, everything),
    ]
    text = "\n".join(parts)
    sys.stdout.write(text)
    if args.page:
        about = f"`{args.model}`, {len(everything.scores)} mixtures.\n\n"
        record(args.page, SECTION, about + text)
        curves = {
            name: Curve(*map(list, zip(*points, strict=True)))
            for name, points in ways_of_stopping(calibration, everything).items()
        }
        title = "Depth chosen for each mixture, and for all"
        picture = draw_curves(curves, "mean repetitions N_re", "mean SI-SNRi [dB]", title)
        write_atomically(args.page.parent / "images" / PICTURE, picture)


def expected_of_three(model: SeparateSpeech, mixtures: Sequence, index: int) -> float:
    """Return the expected SI-SNR of a mixture with an added speaker from another one."""
    rate = model.sample_rate
    first, other = (
        read_signals((one.path, *one.references), rate).astype(np.float32)
        for one in (mixtures[index], mixtures[(index + len(mixtures) // 2 + 1) % len(mixtures)])
    )
    length = min(first.shape[1], other.shape[1])
    third = other[1, :length] * (np.std(first[1:]) / np.std(other[1]))
    samples = first[0, :length] + third
    depth = model.resolve_depth()
    (estimates,) = model.depths([samples], [depth], scale="estimate")[depth]
    return model.known_calibration().expected(traits_of(samples, estimates, rate))


def table_of_sets(calibration: Calibration, measured: dict[str, Measured]) -> str:
    """Return the table of expected and measured SI-SNR."""
    rows = []
    for name, found in measured.items():
        for n_re in SHOWN:
            scores = found.at(n_re)
            expected = np.array([calibration.expected(score.traits) for score in scores])
            errors = np.array([score.si_snr for score in scores]) - expected
            inside = []
            for probability in PROBABILITIES:
                low, high = calibration.interval_of_errors(probability)
                inside.append(f"{np.mean((errors >= low) & (errors <= high)):.0%}")
            correlation = np.corrcoef(expected, errors + expected)[0, 1]
            rows.append(
                [
                    *(name, str(n_re), f"{(errors + expected).mean():.1f}"),
                    *(f"{expected.mean():.1f}", f"{np.abs(errors).mean():.2f}"),
                    *(f"{correlation:.2f}", *inside),
                ]
            )
    names = [f"in {probability:.0%}" for probability in PROBABILITIES]
    header = ["set", "N_re", "measured", "expected", "mean error", "correlation", *names]
    return table(header, rows)


def table_of_poor(calibration: Calibration, measured: dict[str, Measured], n_re: int) -> str:
    """Return the table of mixtures called poor, at the training depth."""

    def share(values: Sequence[float]) -> str:
        return f"{sum(value < calibration.poor for value in values)} of {len(values)}"

    rows = []
    for name, found in measured.items():
        pairs = [(score.si_snri, calibration.expected(score.traits)) for score in found.at(n_re)]
        well = [expected for gain, expected in pairs if gain >= WELL_DB]
        badly = [expected for gain, expected in pairs if gain < BADLY_DB]
        rows.append([name, share(well), share(badly), share(found.three)])
    header = ["called poor", f"{WELL_DB:g} dB or more", f"below {BADLY_DB:g} dB", "three speakers"]
    return table(header, rows)


def ways_of_stopping(
    calibration: Calibration, measured: Measured
) -> dict[str, list[tuple[float, float]]]:
    """Return mean N_re and mean SI-SNRi of every way to choose the depth, by its name."""
    deepest = len(measured.scores[0].scores)
    fixed = [
        (float(n_re), float(np.mean([score.si_snri for score in measured.at(n_re)])))
        for n_re in range(1, deepest + 1)
    ]

    def chosen(is_enough: Callable[[Score], bool]) -> tuple[float, float]:
        stops = [next(filter(is_enough, one.scores), one.scores[-1]) for one in measured.scores]
        return (
            float(np.mean([score.n_re for score in stops])),
            float(np.mean([score.si_snri for score in stops])),
        )

    def good(si_snr: float) -> Callable[[Score], bool]:
        # of even chances: another probability shifts the SI-SNR, but the curve stays the same
        return lambda score: calibration.probability(score.traits, si_snr) >= 0.5

    def stable(stop_db: float) -> Callable[[Score], bool]:
        return lambda score: score.change is not None and score.change <= stop_db

    return {
        "fixed": fixed,
        "--until": [chosen(good(si_snr)) for si_snr in UNTIL_DB],
        "--stop-db": [chosen(stable(stop_db)) for stop_db in STOPS_DB],
    }


def table_of_depths(calibration: Calibration, measured: Measured) -> str:
    """Return the table of the ways to choose the depth."""
    settings = {"fixed": None, "--until": UNTIL_DB, "--stop-db": STOPS_DB}
    rows = []
    for way, points in ways_of_stopping(calibration, measured).items():
        values = settings[way] or [round(n_re) for n_re, _ in points]
        for value, (n_re, gain) in zip(values, points, strict=True):
            unit = "" if way == "fixed" else " dB"
            rows.append([f"{way} {value}{unit}", f"{n_re:.2f}", f"{gain:.2f}"])
    return table(["depth", "mean N_re", "SI-SNRi"], rows)


if __name__ == "__main__":
    run_main(main)
