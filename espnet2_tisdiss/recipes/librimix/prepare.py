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
    check_plan,
    make_data_dirs,
    write_data_dir,
)
from espnet2_tisdiss.recipes.corpora.files import do_all, location
from espnet2_tisdiss.recipes.corpora.options import RATES, add_speech_options, add_version_options
from espnet2_tisdiss.recipes.corpora.transcripts import (
    check_full_length,
    single_set,
    unpadded,
    with_transcripts,
)
from espnet2_tisdiss.recipes.librimix.metadata import find_metadata, read_metadata
from espnet2_tisdiss.recipes.librimix.mixing import find_librispeech, find_wham_noise, make_mixture
from espnet2_tisdiss.recipes.librimix.transcripts import read_transcripts
from espnet2_tisdiss.recipes.librimix.tree import (
    CONDITIONS,
    KNOWN_COUNTS,
    SUBSETS,
    Task,
    mixtures_in_tree,
    write_mixture_table,
)
from espnet2_tisdiss.recipes.program import data_parser, run_main

UTTERANCE = re.compile(r"(\d+)-\d+-\d+")


def prepare(args: argparse.Namespace) -> str:
    """Make all data directories; return a line for each set of mixtures."""
    task = Task(RATES[args.fs], args.min_or_max, args.num_spk, args.condition)
    names = ("dev", "test", args.train_set)  # small ones first, because they show errors early
    if args.dynamic_mixing and task.noisy:
        raise TisdissError(f"--dynamic_mixing mixes only speakers: not for {task.condition}")
    transcripts = {}
    if args.transcripts:  # before hours of work
        check_full_length(task.version)
        if task.condition == "mix_single":
            raise TisdissError("--transcripts: mix_single has only one speaker")
        librispeech = find_librispeech(args.librispeech, names)
        transcripts = {name: read_transcripts(librispeech / SUBSETS[name]) for name in names}
    if tree := location(args.librimix, "--librimix", "LIBRIMIX"):
        advice = "; without LIBRIMIX the mixtures are made from LIBRISPEECH"
        folder = task.find(tree, "test", names, advice)
        mixtures = {name: mixtures_in_tree(folder, task, name) for name in names}
        sets = _describe(task, folder, mixtures, args.suffix)
    else:
        sets = make_mixtures(task, names, args)
    for name, texts in transcripts.items():
        sets[name] = with_transcripts(sets[name], utterances, texts)
    addends = tuple(task.lists)[1:]
    # each is rounded down, so each lacks up to one step of 16 bits in the sum
    audio = AudioCheck(task.rate, addends, tolerance=len(addends))
    parts, tests = list(sets.values()), [sets["test"].name]
    made = make_data_dirs(args.data, parts, audio, args.nj, args.allow_subset, tests)
    for name, texts in transcripts.items():
        if name != "test":
            write_singles(task, f"{name}_singles", name, sets[name], texts, args)
    if args.dynamic_mixing:
        write_singles(task, f"{args.train_set}_single", args.train_set, parts[-1], {}, args)
    return made


def make_mixtures(task: Task, names: Sequence[str], args: argparse.Namespace) -> dict[str, DataSet]:
    """Make the missing mixtures of the sets below ``args.out``."""
    librispeech = find_librispeech(args.librispeech, names)
    wham_noise = find_wham_noise(args.wham_noise) if task.noisy else None
    given, kept = location(args.metadata, "--metadata", "LIBRIMIX_METADATA"), args.out / "metadata"
    metadata = {
        name: read_metadata(find_metadata(given, kept, task, name), task.num_spk) for name in names
    }
    folder = args.out / task.folder
    mixtures = {name: [mixture.name for mixture in metadata[name]] for name in names}
    sets = _describe(task, folder, mixtures, args.suffix)
    # before hours of work
    check_plan(list(sets.values()), [sets["test"].name], args.allow_subset)
    for name in names:
        make = partial(make_mixture, task, librispeech, wham_noise, folder / name)
        lengths = do_all(make, metadata[name], args.nj, f"mix {name}")
        write_mixture_table(folder, task, name, list(zip(mixtures[name], lengths, strict=True)))
    return sets


def utterances(entry: Entry) -> list[str]:
    """Return the utterances of a mixture."""
    return entry.files["wav.scp"].stem.split("_")


def write_singles(
    task: Task,
    name: str,
    source: str,
    mixtures: DataSet,
    texts: Mapping[str, str],
    args: argparse.Namespace,
) -> None:
    """Write the data directory ``name`` of the utterances of a set, with ``texts`` if any."""
    singles = single_set(f"{name}{args.suffix}", mixtures, utterances, texts)
    if task.version == "max":
        folder = args.out / "singles" / task.folder / source
        singles = unpadded(singles, folder, task.rate, args.nj)
    write_data_dir(args.data / singles.name, singles)


def _describe(
    task: Task, folder: Path, mixtures: dict[str, list[str]], suffix: str
) -> dict[str, DataSet]:
    counts = KNOWN_COUNTS[task.num_spk]
    return {
        name: DataSet(
            f"{name}{suffix}", [_entry(task, folder, name, each) for each in found], counts[name]
        )
        for name, found in mixtures.items()
    }


def _entry(task: Task, sets: Path, name: str, mixture: str) -> Entry:
    utterances = [UTTERANCE.fullmatch(part) for part in mixture.split("_")]
    voices = tuple(utterance[1] for utterance in utterances if utterance)
    if not len(voices) == len(utterances) == task.num_spk:
        raise TisdissError(
            f"{sets / name}: {mixture!r} is not the name of a mixture of {task.num_spk}"
        )
    speaker = "_".join(voices)
    return Entry(f"{speaker}_{mixture}", speaker, voices, task.files(sets / name, mixture))


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = data_parser("Make the data directories of LibriMix, and its missing files.")
    add = parser.add_argument
    add("--librimix", type=Path, metavar="DIR", help="a LibriMix tree, used unchanged (LIBRIMIX)")
    add("--librispeech", type=Path, metavar="DIR", help="folder of LibriSpeech (LIBRISPEECH)")
    add("--metadata", type=Path, metavar="DIR", help="LibriMix's tables (LIBRIMIX_METADATA)")
    add("--wham_noise", type=Path, metavar="DIR", help="folder of WHAM!'s noise (WHAM_NOISE)")
    add("--train_set", choices=("train-360", "train-100"), default="train-360")
    add("--num_spk", type=int, choices=KNOWN_COUNTS, default=2, help="Libri2Mix or Libri3Mix")
    add("--condition", choices=CONDITIONS, default="mix_clean", help="what is in a mixture")
    add_version_options(parser)
    add("--suffix", default="", help="added to the names of the data directories")
    add("--data", type=Path, metavar="DIR", default=Path("data"), help="for the data directories")
    add_speech_options(parser, "LibriSpeech", "<train_set>_single")
    return parser


def main() -> None:
    """Run the command line; stdout says what was made."""
    args = get_parser().parse_args()
    with holding(args.data), holding(args.out):
        print(prepare(args))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
