"""Compare a model before and after fine-tuning on data sets: SI-SNRi by depth.

    python benchmarks/finetuning.py voices EXP/enh_finetune_voices_raw \
        --data new=data/test_clean_default_1 --data old=data/test_clean_default_0

scores both models on the same mixtures. Give a set of the new speakers and a set of the original
ones, to see what the model forgets. Fine-tuning must not have used these sets.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from measuring import begin, count, run_main
from results import check_page, record, table
from scipy.stats import bootstrap

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.by_depth import score_mixtures
from espnet2_tisdiss.evaluate.mixtures import find_mixtures

SECTION = "finetuning"

# mixture -> SI-SNRi in dB by depth
Gains = dict[str, dict[int, float]]


def main(argv: list[str] | None = None) -> None:
    """Score both models and print the table."""
    args = _arguments(argv)
    check_page(args.page, SECTION)
    begin(args.threads, "cpu")
    models = [SeparateSpeech.from_pretrained(name) for name in (args.before, args.after)]
    rows = []
    for name, data in args.data:
        before, after = (score(model, data, args.n_re, args.mixtures) for model in models)
        rows += compare(name, before, after, args.n_re)
    header = ["set", "mixtures", "N_re", "before", "after", "change", "95 % interval"]
    text = table([*header, "worse before", "worse after"], rows)
    sys.stdout.write(text)
    if args.page:
        record(args.page, SECTION, text)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", help="model: a folder, weights or a bundled name")
    parser.add_argument("after", help="the same model after fine-tuning")
    parser.add_argument(
        "--data", type=_named, action="append", required=True, metavar="NAME=DIR", help="a test set"
    )
    parser.add_argument("--n_re", type=count, nargs="+", default=[1, 2, 3, 4], help="depths")
    parser.add_argument("--mixtures", type=count, help="of each set at most [all]")
    parser.add_argument("--threads", type=count, default=2, help="of the CPU [%(default)s]")
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    args.n_re = sorted(set(args.n_re))
    return args


def _named(text: str) -> tuple[str, Path]:
    """Read a data set's name and folder from the command line: a type for argparse."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR; got {text!r}")
    return name, Path(folder)


def score(model: SeparateSpeech, data: Path, depths: Sequence[int], most: int | None) -> Gains:
    """Return a model's improvements on a set, or on evenly spread mixtures of it.

    Raises:
        TisdissError: a mixture cannot be scored.
    """
    mixtures = find_mixtures(data, model.num_spk)
    if most and most < len(mixtures):
        mixtures = [mixtures[number * len(mixtures) // most] for number in range(most)]
    gains: Gains = {}
    for one in score_mixtures(model, mixtures, depths):
        if one.status == "failed":
            raise TisdissError(one.reason)
        if one.status == "done":
            gains[one.mixture.name] = {each.n_re: each.si_snri for each in one.scores}
    return gains


def compare(name: str, before: Gains, after: Gains, depths: Sequence[int]) -> list[list[str]]:
    """Return a row of the table for each depth."""
    rows = []
    for n_re in depths:
        old, new = (_at(gains, n_re) for gains in (before, after))
        low, high = _interval(new - old)
        rows.append(
            [
                *(name, str(len(old)), str(n_re)),
                *(f"{old.mean():.2f}", f"{new.mean():.2f}", f"{(new - old).mean():+.2f}"),
                f"[{low:+.2f}, {high:+.2f}]",
                *(f"{np.mean(values < 0):.0%}" for values in (old, new)),
            ]
        )
    return rows


def _at(gains: Mapping[str, Mapping[int, float]], n_re: int) -> np.ndarray:
    return np.array([by_depth[n_re] for _, by_depth in sorted(gains.items())])


def _interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over the mixtures."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    found = bootstrap((differences,), np.mean, rng=np.random.default_rng(0), method="percentile")
    return found.confidence_interval


if __name__ == "__main__":
    run_main(main)
