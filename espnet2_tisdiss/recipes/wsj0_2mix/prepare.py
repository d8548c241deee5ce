"""Prepare WSJ0-2mix (or -3mix) and its data directories: stage 1 of the recipe.

An existing tree is used as it is.  Otherwise the mixtures are made from WSJ0 and the mixing lists;
finished files are kept, so an interrupted run can be repeated.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.recipes.corpora.data_sets import (
    AudioCheck,
    DataSet,
    Entry,
    check_plan,
    make_data_dirs,
)
from espnet2_tisdiss.recipes.corpora.files import do_all, find_root, location
from espnet2_tisdiss.recipes.corpora.options import RATES, add_version_options
from espnet2_tisdiss.recipes.corpora.transcripts import Transcribed, check_full_length
from espnet2_tisdiss.recipes.data_directories import LEVELS_LIST, MEASURED_LEVELS
from espnet2_tisdiss.recipes.program import absolute_path, data_parser, run_main
from espnet2_tisdiss.recipes.signals import frames_of
from espnet2_tisdiss.recipes.wsj0_2mix.lists import (
    KNOWN_COUNTS,
    SPLITS,
    Mixture,
    all_sources,
    find_levels,
    find_list,
    pick_powers,
    read_list,
    read_powers,
)
from espnet2_tisdiss.recipes.wsj0_2mix.mixtures import (
    Job,
    Kind,
    Precision,
    find_tree,
    make_mixture,
    read_tree,
    signal_paths,
)
from espnet2_tisdiss.recipes.wsj0_2mix.singles import (
    Single,
    longest_sources,
    make_single,
    single_entries,
)
from espnet2_tisdiss.recipes.wsj0_2mix.speech import WSJ0_RATE, find_utterances, measure_power
from espnet2_tisdiss.recipes.wsj0_2mix.transcripts import read_transcripts

LISTS_COMMIT = "1261845ec47fc8d56ee4575dba163f0aa6ddddb6"  # what is downloaded is fixed
LISTS_URL = f"https://raw.githubusercontent.com/mpariente/pywsj0-mix/{LISTS_COMMIT}/metadata"
POWERS_NOTE = "levels.txt"
WAY_NOTE = "made_with.txt"
PUBLISHED = "published"
WSJ0 = "WSJ0 (LDC93S6A)"
MADE_BEFORE = "WSJ0-2mix made before (then: WSJ0_2MIX or --corpus)"


@dataclass(frozen=True)
class Corpus:
    """Content of the data directories.

    Attributes:
        sets: the mixtures that are wanted.
        singles: training utterance -> its signal, for dynamic mixing; empty without.
        rate: sample rate of these signals in Hz.
        powers: utterance -> its active level, where that is known.
    """

    sets: Sequence[DataSet]
    singles: Mapping[str, Path]
    rate: int
    powers: Mapping[str, float]


def prepare(args: argparse.Namespace) -> str:
    """Make everything that the options ask for.

    Returns:
        A line about what was made.

    Raises:
        TisdissError: something is missing or wrong.
    """
    precision: Precision = "float32" if args.as_pywsj0_mix else "float64"
    kind = Kind(args.num_spk, RATES[args.fs], args.min_or_max, precision)
    tree = location(args.corpus, "--corpus", "WSJ0_2MIX")
    if args.transcripts and args.dynamic_mixing:
        raise TisdissError("--transcripts is for mixtures; leave out --dynamic_mixing")
    for name in ("measure_levels", "as_pywsj0_mix"):
        if tree and getattr(args, name):
            raise TisdissError(
                f"--{name} says how mixtures are made, but those of {tree} (--corpus, WSJ0_2MIX) "
                "are used as they are: leave one of the two out"
            )
    transcripts = {}
    if args.transcripts:  # before hours of work
        check_full_length(args.min_or_max)
        needed = f"{WSJ0}, for its transcripts"
        transcripts = read_transcripts(find_root(args.wsj0, "--wsj0", "WSJ0", needed))
    corpus = use_tree(tree, kind, args) if tree else make_tree(kind, args)
    sets = list(corpus.sets)
    if args.dynamic_mixing:
        sets.append(single_set(corpus, kind, args))
    audio = AudioCheck(kind.rate, tuple(f"spk{n}.scp" for n in range(1, kind.num_spk + 1)))
    tests = [kind.set_name("tt")]
    samples = make_data_dirs(Path("data"), sets, audio, args.nj, args.allow_subset, tests)
    if transcripts:
        write_transcripts(kind, sets, transcripts, args)
    hours = {name: count / kind.rate / 3600 for name, count in samples.items()}
    return ", ".join(
        f"data/{part.name}: {len(part.entries)} files, {hours[part.name]:.2f} h" for part in sets
    )


def write_transcripts(
    kind: Kind, sets: Sequence[DataSet], texts: Mapping[str, str], args: argparse.Namespace
) -> None:
    """Add what the speakers say, and data directories of single utterances to learn and validate.

    Raises:
        TisdissError: a transcript is missing, or a file cannot be written.
    """
    transcribed = Transcribed(Path("data"), utterances, texts)
    for split, part in zip(SPLITS, sets, strict=True):
        transcribed.add_to(part)
        if split != "tt":
            name = kind.set_name(f"{split}_singles")
            folder = args.out / "singles" / name
            transcribed.write_singles(part, name, folder, kind.rate, args.nj)


def utterances(entry: Entry) -> list[str]:
    """Return the utterances of a mixture, whose name has a level after each."""
    return entry.files["wav.scp"].stem.split("_")[::2]


def wanted_splits(args: argparse.Namespace) -> list[str]:
    """Name the splits whose mixtures are needed: with dynamic mixing not those of training."""
    return [split for split in SPLITS if split != "tr" or not args.dynamic_mixing]


def plan_sets(
    folder: Path, kind: Kind, mixtures: Mapping[str, Sequence[Mixture]], args: argparse.Namespace
) -> list[DataSet]:
    """Describe the mixtures' data directories; all splits are checked before hours of work.

    Args:
        folder: the tree's folder of this version.
        kind: the version.
        mixtures: split -> its mixtures.
        args: the options.

    Returns:
        Those that are wanted.

    Raises:
        TisdissError: a split is wrong.
    """
    marks = {LEVELS_LIST: MEASURED_LEVELS} if args.measure_levels else {}
    sets = {
        split: mixture_set(folder / split, kind, split, mixtures[split], marks) for split in SPLITS
    }
    check_plan(list(sets.values()), [kind.set_name("tt")], args.allow_subset)
    return [sets[split] for split in wanted_splits(args)]


def use_tree(tree: Path, kind: Kind, args: argparse.Namespace) -> Corpus:
    """Describe an existing tree.

    Raises:
        TisdissError: it lacks the requested version, or is not such a tree.
    """
    folder = find_tree(tree, kind)
    mixtures = {split: read_tree(folder, split, kind.num_spk) for split in SPLITS}
    sets = plan_sets(folder, kind, mixtures, args)
    singles = {}
    if args.dynamic_mixing:
        singles = longest_sources(folder / "tr", kind, mixtures["tr"], args.nj)
    return Corpus(sets, singles, kind.rate, {})


def make_tree(kind: Kind, args: argparse.Namespace) -> Corpus:
    """Make the mixtures from WSJ0 and the lists.

    Raises:
        TisdissError: WSJ0, a list or an utterance is missing or unusable, or a file cannot be
            written.
    """
    wsj0 = find_root(args.wsj0, "--wsj0", "WSJ0", f"{WSJ0}, or {MADE_BEFORE}")
    given = location(args.lists, "--lists", "WSJ0_MIX_LISTS")
    kept = args.out / "lists"
    mixtures = {
        split: read_list(find_list(split, kind.num_spk, given, kept, args.lists_url), kind.num_spk)
        for split in SPLITS
    }
    folder = args.out / kind.folder
    sets = plan_sets(folder, kind, mixtures, args)
    published = None
    if not args.measure_levels:  # before hours of conversion
        levels = find_levels(given or kept, kept, args.lists_url)
        published = pick_powers(all_sources(mixtures.values()), read_powers(levels), levels)
    files = find_utterances(wsj0, all_sources(mixtures.values()), args.out, args.nj)
    counted = do_all(partial(frames_of, rate=WSJ0_RATE), list(files.values()), args.nj, "WSJ0")
    frames = dict(zip(files, counted, strict=True))
    settle_way(args.out, {"levels": levels_kind(args), "arithmetic": kind.precision})
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
    singles = {utterance: files[utterance] for utterance in all_sources([mixtures["tr"]])}
    return Corpus(sets, singles, WSJ0_RATE, powers)


def levels_kind(args: argparse.Namespace) -> str:
    """Name the kind of active levels that mixtures are made with."""
    return MEASURED_LEVELS if args.measure_levels else PUBLISHED


def settle_way(out: Path, way: Mapping[str, str]) -> None:
    """Record how the files in ``out`` are made; a later run must make them in the same way.

    Raises:
        TisdissError: the files there were made in another way.
    """
    note = out / WAY_NOTE
    noted = read_scp(note) if note.is_file() else way
    for name, value in way.items():
        if noted.get(name) != value:
            raise TisdissError(
                f"{note}: the files in {out} are made with {name} {noted.get(name)}, not {value}: "
                "remove it, or give another folder with --out"
            )
    write_scp(note, dict(way))


def settle_powers(
    files: Mapping[str, Path], published: Mapping[str, float] | None, out: Path, nj: int
) -> dict[str, float]:
    """Take the published active levels or, without any, measure them.

    The levels are recorded in ``out``, and a later run must use the same ones: mixtures of two
    kinds of levels would look alike.

    Args:
        files: utterance -> its file.
        published: utterance -> its published level, for all of ``files``; None measures.
        out: folder of what is made here.
        nj: number of processes.

    Returns:
        Utterance -> linear power, for all of ``files``.

    Raises:
        TisdissError: a level differs from the noted one, or cannot be measured.
    """
    note = out / POWERS_NOTE
    noted = {name: float(text) for name, text in read_scp(note).items()} if note.is_file() else {}
    if published is not None:
        powers = dict(published)
    else:
        new = [name for name in files if name not in noted]
        measured = do_all(measure_power, [files[name] for name in new], nj, "active levels")
        powers = noted | dict(zip(new, measured, strict=True))
    for name, power in powers.items():
        if noted.get(name, power) != power:
            raise TisdissError(
                f"{note}: {out} was begun with other levels than the published ones that are found "
                f"now (see {name}): remove it, or give another folder with --out"
            )
    write_scp(note, {name: repr(power) for name, power in (noted | powers).items()})
    return powers


def mixture_set(
    folder: Path, kind: Kind, split: str, mixtures: Sequence[Mixture], marks: Mapping[str, str]
) -> DataSet:
    """Describe the data directory of a split.

    Args:
        folder: the split's folder in the tree; its files need not exist yet.
        kind: the version.
        split: tr, cv or tt.
        mixtures: its mixtures.
        marks: lists with one value for all of them.
    """
    lists = ("wav.scp", *(f"spk{number}.scp" for number in range(1, kind.num_spk + 1)))
    entries = []
    for mixture in mixtures:
        paths = signal_paths(folder, kind, mixture.name).values()
        files = dict(zip(lists, paths, strict=True))
        entries.append(Entry(mixture.key, mixture.speaker, mixture.voices, files))
    return DataSet(kind.set_name(split), entries, KNOWN_COUNTS[split], marks)


def single_set(corpus: Corpus, kind: Kind, args: argparse.Namespace) -> DataSet:
    """Make the single utterances of training and describe their data directory.

    Raises:
        TisdissError: an utterance is unusable, or a file cannot be written.
    """
    name = kind.set_name("tr_single")
    targets = {utt: args.out / "singles" / name / f"{utt}.wav" for utt in corpus.singles}
    jobs = [
        Single(source, corpus.rate, targets[utterance], corpus.powers.get(utterance))
        for utterance, source in corpus.singles.items()
    ]
    do_all(partial(make_single, kind.rate), jobs, args.nj, "single utterances")
    return DataSet(name, single_entries(targets))


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = data_parser(
        "Make the data directories data/{tr,cv,tt}_<min,max>_<8k,16k> of WSJ0-2mix "
        "(data/tr_3spk_... of WSJ0-3mix), and its missing files."
    )
    parser.add_argument("--corpus", type=Path, help="existing WSJ0-2mix [WSJ0_2MIX of db.sh]")
    parser.add_argument("--wsj0", type=Path, help="WSJ0, to make it from [WSJ0 of db.sh]")
    parser.add_argument(
        "--lists",
        type=Path,
        help="folder of mix_2_spk_*.txt and, there or in its folder activlev, activlev_*.txt "
        "[WSJ0_MIX_LISTS of db.sh]; what is missing is downloaded",
    )
    parser.add_argument(
        "--measure_levels",
        action="store_true",
        help="measure the active levels instead: mixtures differ in level from the published ones",
    )
    parser.add_argument(
        "--as_pywsj0_mix",
        action="store_true",
        help="resample in float32: files equal to pywsj0-mix's to the bit",
    )
    parser.add_argument("--lists_url", default=LISTS_URL, help="downloads come from [%(default)s]")
    parser.add_argument(
        "--out", type=absolute_path, default="downloads", help="for files made here [%(default)s]"
    )
    add_version_options(parser)
    parser.add_argument("--num_spk", type=int, choices=[2, 3], default=2, help="[%(default)s]")
    parser.add_argument(
        "--transcripts",
        action="store_true",
        help="add what the speakers say, and sets of single utterances; needs WSJ0",
    )
    parser.add_argument(
        "--dynamic_mixing",
        action="store_true",
        help="make data/tr_single_... for training on new mixtures in every epoch, not data/tr_...",
    )
    return parser


def main() -> None:
    """Run the command line; a line on stdout says what was made."""
    args = get_parser().parse_args()
    with holding("data"), holding(args.out):
        print(prepare(args))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
