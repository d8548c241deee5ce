"""Prepare WSJ0-2mix (or -3mix) and its data directories: stage 1 of the recipe.

An existing tree is used unchanged.  Otherwise the mixtures are made from WSJ0 and the mixing lists;
finished files are kept, so an interrupted run can be repeated.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.recipes.corpora.data_sets import (
    AudioCheck,
    DataSet,
    check_plan,
    make_data_dirs,
    write_data_dir,
)
from espnet2_tisdiss.recipes.corpora.files import do_all, find_root, location
from espnet2_tisdiss.recipes.corpora.options import RATES, add_speech_options, add_version_options
from espnet2_tisdiss.recipes.corpora.transcripts import (
    check_full_length,
    named_utterances,
    single_set,
    unpadded,
    with_transcripts,
)
from espnet2_tisdiss.recipes.data_directories import LEVELS_LIST, MEASURED_LEVELS
from espnet2_tisdiss.recipes.program import data_parser, run_main
from espnet2_tisdiss.recipes.signals import frames_of
from espnet2_tisdiss.recipes.wsj0_2mix.levels import published_powers, settle_powers, settle_way
from espnet2_tisdiss.recipes.wsj0_2mix.lists import (
    KNOWN_COUNTS,
    SPLITS,
    Mixture,
    all_sources,
    entries,
    find_list,
    mixture_of_name,
    read_list,
)
from espnet2_tisdiss.recipes.wsj0_2mix.mixtures import Job, Kind, Precision, make_mixture
from espnet2_tisdiss.recipes.wsj0_2mix.singles import levelled_set, longest_sources
from espnet2_tisdiss.recipes.wsj0_2mix.speech import WSJ0_RATE, find_utterances
from espnet2_tisdiss.recipes.wsj0_2mix.transcripts import read_transcripts

LISTS_COMMIT = "1261845ec47fc8d56ee4575dba163f0aa6ddddb6"  # what is downloaded is fixed
LISTS_URL = f"https://raw.githubusercontent.com/mpariente/pywsj0-mix/{LISTS_COMMIT}/metadata"
WSJ0 = "WSJ0 (LDC93S6A)"
MADE_BEFORE = "WSJ0-2mix made before (then: WSJ0_2MIX or --corpus)"
DATA = Path("data")


def prepare(args: argparse.Namespace) -> str:
    """Make everything requested by the options; return a line for each set."""
    precision: Precision = "float32" if args.as_pywsj0_mix else "float64"
    kind = Kind(RATES[args.fs], args.min_or_max, args.num_spk, precision)
    tree = location(args.corpus, "--corpus", "WSJ0_2MIX")
    if args.transcripts and args.dynamic_mixing:
        raise TisdissError("--transcripts is for mixtures; leave out --dynamic_mixing")
    for name in ("measure_levels", "as_pywsj0_mix"):
        if tree and getattr(args, name):
            raise TisdissError(
                f"--{name} says how mixtures are made, but those of {tree} (--corpus, WSJ0_2MIX) "
                "are used as they are: leave one of the two out"
            )
    texts = {}
    if args.transcripts:  # before hours of work
        check_full_length(args.min_or_max)
        needed = f"{WSJ0}, for its transcripts"
        texts = read_transcripts(find_root(args.wsj0, "--wsj0", "WSJ0", needed))
    sets = use_tree(tree, kind, args) if tree else make_tree(kind, args)
    if texts:
        sets = [with_transcripts(part, named_utterances, texts) for part in sets]
    audio = AudioCheck(kind.rate, tuple(kind.lists)[1:])
    made = make_data_dirs(DATA, sets, audio, args.nj, args.allow_subset, [kind.set_name("tt")])
    for split, part in zip(SPLITS, sets, strict=False):
        if texts and split != "tt":
            name = kind.set_name(f"{split}_singles")
            singles = single_set(name, part, named_utterances, texts)
            singles = unpadded(singles, args.out / "singles" / name, kind.rate, args.nj)
            write_data_dir(DATA / name, singles)
    return made


def wanted_splits(args: argparse.Namespace) -> list[str]:
    """Return the splits whose mixtures are needed; with dynamic mixing, not that of training."""
    return [split for split in SPLITS if split != "tr" or not args.dynamic_mixing]


def plan_sets(
    folder: Path, kind: Kind, mixtures: Mapping[str, Sequence[Mixture]], args: argparse.Namespace
) -> list[DataSet]:
    """Describe the mixtures' data directories; all splits are checked before hours of work.

    Args:
        folder: the tree's folder of this version; its files need not exist yet.
        kind: the version.
        mixtures: split -> its mixtures.
        args: the options.

    Returns:
        Those that are wanted.
    """
    sets = {}
    for split in SPLITS:
        described = entries(kind, folder / split, mixtures[split])
        levels = dict.fromkeys((entry.key for entry in described), MEASURED_LEVELS)
        lists = {LEVELS_LIST: levels} if args.measure_levels else {}
        sets[split] = DataSet(kind.set_name(split), described, KNOWN_COUNTS[split], lists)
    check_plan(list(sets.values()), [kind.set_name("tt")], args.allow_subset)
    return [sets[split] for split in wanted_splits(args)]


def use_tree(tree: Path, kind: Kind, args: argparse.Namespace) -> list[DataSet]:
    """Describe the sets of an existing tree."""
    folder = kind.find(tree, "tt", SPLITS)
    mixtures = {
        split: [
            mixture_of_name(folder / split / "mix", name, kind.num_spk)
            for name in kind.mixtures(folder / split)
        ]
        for split in SPLITS
    }
    sets = plan_sets(folder, kind, mixtures, args)
    if args.dynamic_mixing:
        files = longest_sources(folder / "tr", kind, mixtures["tr"], args.nj)
        sets.append(levelled_set(kind, files, kind.rate, {}, args.out, args.nj))
    return sets


def make_tree(kind: Kind, args: argparse.Namespace) -> list[DataSet]:
    """Make the mixtures from WSJ0 and the lists, and describe their sets."""
    wsj0 = find_root(args.wsj0, "--wsj0", "WSJ0", f"{WSJ0}, or {MADE_BEFORE}")
    given = location(args.lists, "--lists", "WSJ0_MIX_LISTS")
    kept = args.out / "lists"
    mixtures = {
        split: read_list(find_list(split, kind.num_spk, given, kept, args.lists_url), kind.num_spk)
        for split in SPLITS
    }
    sources = all_sources(mixtures.values())
    folder = args.out / kind.folder
    sets = plan_sets(folder, kind, mixtures, args)
    published = None
    if not args.measure_levels:  # before hours of conversion
        published = published_powers(sources, given or kept, kept, args.lists_url)
    files = find_utterances(wsj0, sources, args.out, args.nj)
    counted = do_all(partial(frames_of, rate=WSJ0_RATE), list(files.values()), args.nj, "WSJ0")
    frames = dict(zip(files, counted, strict=True))
    levels = MEASURED_LEVELS if args.measure_levels else "published"
    settle_way(args.out, {"levels": levels, "arithmetic": kind.precision})
    powers = settle_powers(files, published, args.out, args.nj)
    jobs = [
        Job(
            mixture,
            tuple(files[utterance] for utterance in mixture.utterances),
            tuple(frames[utterance] for utterance in mixture.utterances),
            tuple(powers[utterance] for utterance in mixture.utterances),
            folder / split,
        )
        for split in wanted_splits(args)
        for mixture in mixtures[split]
    ]
    do_all(partial(make_mixture, kind), jobs, args.nj, "mixtures")
    if args.dynamic_mixing:
        spoken = {utterance: files[utterance] for utterance in all_sources([mixtures["tr"]])}
        sets.append(levelled_set(kind, spoken, WSJ0_RATE, powers, args.out, args.nj))
    return sets


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = data_parser(
        "Make the data directories data/{tr,cv,tt}_<min,max>_<8k,16k> of WSJ0-2mix "
        "(data/tr_3spk_... of WSJ0-3mix), and its missing files."
    )
    add = parser.add_argument
    add("--corpus", type=Path, help="existing WSJ0-2mix [WSJ0_2MIX of db.sh]")
    add("--wsj0", type=Path, help="WSJ0, to make it from [WSJ0 of db.sh]")
    add(
        "--lists",
        type=Path,
        help="folder of mix_2_spk_*.txt and, there or in its folder activlev, activlev_*.txt "
        "[WSJ0_MIX_LISTS of db.sh]; what is missing is downloaded",
    )
    add(
        "--measure_levels",
        action="store_true",
        help="measure the active levels instead: mixtures differ in level from the published ones",
    )
    add(
        "--as_pywsj0_mix",
        action="store_true",
        help="resample in float32: files equal to pywsj0-mix's to the bit",
    )
    add("--lists_url", default=LISTS_URL, help="downloads come from [%(default)s]")
    add_version_options(parser)
    add("--num_spk", type=int, choices=[2, 3], default=2, help="[%(default)s]")
    add_speech_options(parser, "WSJ0", "tr_single_... in place of data/tr_...")
    return parser


def main() -> None:
    """Run the command line; stdout says what was made."""
    args = get_parser().parse_args()
    with holding(DATA), holding(args.out):
        print(prepare(args))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
