"""Options that the data preparations of the benchmark corpora have in common."""

import argparse

from espnet2_tisdiss.recipes.program import positive

RATES = {"8k": 8000, "16k": 16000}


def add_version_options(parser: argparse.ArgumentParser) -> None:
    """Add which version of a corpus is prepared, and how: --fs is a key of ``RATES``."""
    add = parser.add_argument
    add("--fs", choices=RATES, default="8k", help="sample rate [%(default)s]")
    add(
        "--min_or_max",
        choices=("min", "max"),
        default="min",
        help="as long as the shortest or the longest utterance [%(default)s]",
    )
    add("--allow_subset", action="store_true", help="accept a part of the corpus")
    add("--nj", type=positive, default=4, help="processes [%(default)s]")
