#!/usr/bin/env python3
"""Prepare the data directories of LibriMix from an existing tree or a new one (stage 1).

Only the requested sets are made. Finished files are kept, so that an interrupted run can be
repeated. db.sh names the folders of the corpora.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.recipes.corpora.data_sets import (
    AudioCheck,
    DataSet,
    Entry,
    check_keys,
    check_plan,
    make_data_dirs,
    write_data_dir,
)
from espnet2_tisdiss.recipes.corpora.files import (
    do_all,
    location,
)
from espnet2_tisdiss.recipes.corpora.options import RATES, add_version_options
from espnet2_tisdiss.recipes.corpora.transcripts import (
    Transcribed,
    check_full_length,
    make_unpadded,
    single_entries,
)
from espnet2_tisdiss.recipes.librimix.metadata import find_metadata, read_metadata
from espnet2_tisdiss.recipes.librimix.mixing import Maker, find_librispeech, find_wham_noise
from espnet2_tisdiss.recipes.librimix.transcripts import read_transcripts
from espnet2_tisdiss.recipes.librimix.tree import (
    CONDITIONS,
    KNOWN_COUNTS,
    SUBSETS,
    Task,
    find_sets,
    mixtures_in_tree,
    write_mixture_table,
)
from espnet2_tisdiss.recipes.program import absolute_path, data_parser, run_main

UTTERANCE = re.compile(r"(\d+)-\d+-\d+")


def prepare(args: argparse.Namespace) -> None:
    """Make the data directories of a training, the validation and the test set.

    Raises:
        TisdissError: something is missing or wrong.
    """
    task = Task(args.num_spk, args.condition, RATES[args.fs], args.min_or_max)
    names = ("dev", "test", args.train_set)  # the small ones first: they show errors soon
    if args.dynamic_mixing and task.noisy:
        raise TisdissError(f"--dynamic_mixing mixes speakers alone: not for {task.condition}")
    transcripts = {}
    if args.transcripts:  # before hours of work
        check_full_length(task.version)
        librispeech = find_librispeech(args.librispeech, names)
        transcripts = {name: read_transcripts(librispeech / SUBSETS[name]) for name in names}
    if tree := location(args.librimix, "--librimix", "LIBRIMIX"):
        sets = find_sets(tree, task, names)
        mixtures = {name: mixtures_in_tree(sets, task, name) for name in names}
        parts = _describe(task, sets, mixtures, args.suffix)
    else:
        parts = make_mixtures(task, names, args)
    addends = tuple(task.lists)[1:]
    # each is rounded down, so their sum lacks up to one step of 16 bits for each
    audio = AudioCheck(task.rate, addends, tolerance=len(addends))
    test_set = f"test{args.suffix}"
    samples = make_data_dirs(args.data, parts, audio, args.nj, args.allow_subset, [test_set])
    for name, part in zip(names, parts, strict=True):
        if name in transcripts:
            write_transcripts(task, name, part, transcripts[name], args)
    if args.dynamic_mixing:
        write_singles(task, parts[-1], f"{args.train_set}_single{args.suffix}", args)
    for part in parts:
        hours = samples[part.name] / task.rate / 3600
        print(f"{args.data / part.name}: {len(part.entries)} mixtures, {hours:.2f} hours")


def make_mixtures(task: Task, names: Sequence[str], args: argparse.Namespace) -> list[DataSet]:
    """Make the missing mixtures of the sets below ``args.output``.

    Raises:
        TisdissError: a corpus, a table or a file is missing or not usable.
    """
    librispeech = find_librispeech(args.librispeech, names)
    wham_noise = find_wham_noise(args.wham_noise) if task.noisy else None
    folder = location(args.metadata, "--metadata", "LIBRIMIX_METADATA")
    metadata = {
        name: read_metadata(
            find_metadata(folder, args.output / "metadata", task, name), task.num_spk
        )
        for name in names
    }
    sets = args.output / task.folder
    mixtures = {name: [mixture.name for mixture in metadata[name]] for name in names}
    parts = _describe(task, sets, mixtures, args.suffix)
    # before hours of work
    check_plan(parts, [f"test{args.suffix}"], args.allow_subset)
    for name in names:
        maker = Maker(task, librispeech, wham_noise, sets, name)
        lengths = do_all(maker, metadata[name], args.nj, f"mix {name}")
        write_mixture_table(sets, task, name, list(zip(mixtures[name], lengths, strict=True)))
    return parts


def write_transcripts(
    task: Task, name: str, part: DataSet, texts: Mapping[str, str], args: argparse.Namespace
) -> None:
    """Add what the speakers say; a set to learn from gets one of its single utterances, too.

    Raises:
        TisdissError: a transcript is missing, or a file cannot be written.
    """
    transcribed = Transcribed(args.data, utterances, texts)
    transcribed.add_to(part)
    if name != "test":
        folder = args.output / "singles" / task.folder / name
        singles = f"{name}_singles{args.suffix}"
        transcribed.write_singles(part, singles, folder, task.rate, args.nj)


def utterances(entry: Entry) -> list[str]:
    """Return the utterances of a mixture."""
    return entry.files["wav.scp"].stem.split("_")


def write_singles(task: Task, train: DataSet, name: str, args: argparse.Namespace) -> None:
    """Write the data directory of dynamic mixing: the training set's sources one by one.

    Args:
        task: which mixtures.
        train: the training set, already checked.
        name: of the data directory.
        args: the options.

    Raises:
        TisdissError: a source is silent, or a file cannot be written.
    """
    singles = single_entries(train, utterances)
    if task.version == "max":
        folder = args.output / "singles" / task.folder / args.train_set
        unpad = partial(make_unpadded, folder, task.rate)
        entries = do_all(unpad, list(singles.values()), args.nj, "single utterances")
    else:
        entries = list(singles.values())
    part = DataSet(name, entries)
    check_keys(part)
    write_data_dir(args.data / name, part)


def _describe(task: Task, sets: Path, mixtures: dict[str, list[str]], suffix: str) -> list[DataSet]:
    counts = KNOWN_COUNTS[task.num_spk]
    return [
        DataSet(f"{name}{suffix}", [_entry(task, sets, name, each) for each in found], counts[name])
        for name, found in mixtures.items()
    ]


def _entry(task: Task, sets: Path, name: str, mixture: str) -> Entry:
    utterances = [UTTERANCE.fullmatch(part) for part in mixture.split("_")]
    voices = tuple(utterance[1] for utterance in utterances if utterance)
    if not len(voices) == len(utterances) == task.num_spk:
        raise TisdissError(
            f"{sets / name}: {mixture!r} is not the name of a mixture of {task.num_spk}"
        )
    speaker = "_".join(voices)
    return Entry(f"{speaker}_{mixture}", speaker, voices, task.files(sets, name, mixture))


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = data_parser("Make the data directories of LibriMix, and its missing files.")
    add = parser.add_argument
    add("--librimix", type=Path, metavar="DIR", help="a LibriMix tree, used as it is (LIBRIMIX)")
    add("--librispeech", type=Path, metavar="DIR", help="folder of LibriSpeech (LIBRISPEECH)")
    add("--metadata", type=Path, metavar="DIR", help="LibriMix's tables (LIBRIMIX_METADATA)")
    add("--wham_noise", type=Path, metavar="DIR", help="folder of WHAM!'s noise (WHAM_NOISE)")
    add(
        "--output",
        type=absolute_path,
        metavar="DIR",
        default="downloads",
        help="folder for the mixtures [downloads]",
    )
    add("--train_set", choices=("train-360", "train-100"), default="train-360")
    add("--num_spk", type=int, choices=KNOWN_COUNTS, default=2, help="Libri2Mix or Libri3Mix")
    add("--condition", choices=CONDITIONS, default="mix_clean", help="what is in a mixture")
    add_version_options(parser)
    add("--suffix", default="", help="added to the names of the data directories")
    add("--data", type=Path, metavar="DIR", default=Path("data"), help="for the data directories")
    add(
        "--transcripts",
        action="store_true",
        help="add what the speakers say, and sets of single utterances; needs LibriSpeech",
    )
    add("--dynamic_mixing", action="store_true", help="also make data/<train_set>_single")
    return parser


def main() -> None:
    """Run the command line."""
    args = get_parser().parse_args()
    with holding(args.data), holding(args.output):
        prepare(args)


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
