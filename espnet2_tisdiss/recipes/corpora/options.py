"""Options that the data preparations of the benchmark corpora have in common."""

import argparse

from espnet2_tisdiss.recipes.program import absolute_path, positive

RATES = {"8k": 8000, "16k": 16000}


def add_version_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for a corpus's version and location; --fs is a key of ``RATES``."""
    add = parser.add_argument
    add(
        *("--out", "--output"),
        type=absolute_path,
        metavar="DIR",
        default="downloads",
        help="for files made here [%(default)s]",
    )
    add("--fs", choices=RATES, default="8k", help="sample rate [%(default)s]")
    add(
        "--min_or_max",
        choices=("min", "max"),
        default="min",
        help="as long as the shortest or the longest utterance [%(default)s]",
    )
    add("--allow_subset", action="store_true", help="accept a part of the corpus")
    add("--nj", type=positive, default=4, help="processes [%(default)s]")


def add_speech_options(parser: argparse.ArgumentParser, source: str, single_set: str) -> None:
    """Add the options of transcripts and of dynamic mixing.

    Args:
        parser: of the data preparation.
        source: the corpus that has the transcripts.
        single_set: data directory of dynamic mixing.
    """
    parser.add_argument(
        "--transcripts",
        action="store_true",
        help=f"add transcripts, and sets of single utterances; needs {source}",
    )
    parser.add_argument(
        "--dynamic_mixing",
        action="store_true",
        help=f"make data/{single_set}, for training on new mixtures in every epoch",
    )
