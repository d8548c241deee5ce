"""Prepare WHAMR! and its data directories: stage 1 of the recipe.

An existing tree is used as it is.  Otherwise the files are made from WSJ0, wham_noise and the
WHAMR! scripts' tables; finished files are kept, so an interrupted run can be repeated.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.recipes.corpora.data_sets import DataSet, check_plan, make_data_dirs
from espnet2_tisdiss.recipes.corpora.files import do_all, find_root, location, require_package
from espnet2_tisdiss.recipes.corpora.options import RATES, add_version_options
from espnet2_tisdiss.recipes.program import absolute_path, data_parser, run_main
from espnet2_tisdiss.recipes.whamr.metadata import Mixture, read_split
from espnet2_tisdiss.recipes.whamr.tree import (
    MIXTURES,
    REFERENCES,
    SPLITS,
    TEST_SPLIT,
    Task,
    data_set,
    find_tree,
    list_mixtures,
)
from espnet2_tisdiss.recipes.wsj0_2mix.speech import find_utterances


def prepare(args: argparse.Namespace) -> str:
    """Make everything that the options ask for.

    Returns:
        A line about what was made.

    Raises:
        TisdissError: something is missing or wrong.
    """
    rate = RATES[args.fs]
    task = Task(args.mixture, args.reference, rate, args.min_or_max)
    if task.reference == "reverb" != task.room:
        raise TisdissError(f"--reference reverb: there is no reverberation in {task.mixture}")
    root = location(args.corpus, "--corpus", "WHAMR")
    sets = use_tree(find_tree(root, task), task) if root else make_tree(task, args)
    tests = [task.set_name(TEST_SPLIT)]
    samples = make_data_dirs(Path("data"), sets, task.audio, args.nj, args.allow_subset, tests)
    return ", ".join(
        f"data/{part.name}: {len(part.entries)} of {samples[part.name] / rate / 3600:.2f} h"
        for part in sets
    )


def use_tree(folder: Path, task: Task) -> list[DataSet]:
    """Describe the data directories of an existing tree.

    Raises:
        TisdissError: it lacks a folder, or has files that are not named as mixtures are.
    """
    return [
        data_set(folder / split, task, split, list_mixtures(folder / split, task))
        for split in SPLITS
    ]


def make_tree(task: Task, args: argparse.Namespace) -> list[DataSet]:
    """Make the files and describe their data directories.

    Raises:
        TisdissError: a corpus, a table or a file is missing or unusable, or one cannot be written.
    """
    if (task.rate, task.version) != (8000, "min"):
        raise TisdissError(
            f"only 8k and min are made from WSJ0; for {task.folder} set WHAMR to a tree that has it"
        )
    what = "WSJ0 (LDC93S6A), or WHAMR! made before (then: WHAMR or --corpus)"
    wsj0 = find_root(args.wsj0, "--wsj0", "WSJ0", what)
    noise = find_root(args.wham_noise, "--wham_noise", "WHAM_NOISE", "wham_noise")
    scripts = find_root(args.scripts, "--scripts", "WHAMR_SCRIPTS", "the WHAMR! scripts' tables")
    require_package("pyroomacoustics", "the rooms", "pyroomacoustics", "pyroomacoustics")
    tables = scripts / "data" if (scripts / "data").is_dir() else scripts
    mixtures = {split: read_split(tables, noise / "metadata", split) for split in SPLITS}
    folder = args.out / "whamr" / task.folder
    sets = [
        data_set(folder / split, task, split, [mixture.name for mixture in members])
        for split, members in mixtures.items()
    ]
    # before hours of work
    check_plan(sets, [task.set_name(TEST_SPLIT)], args.allow_subset)
    make_files(task, mixtures, wsj0, noise, folder, args.out, args.nj)
    return sets


def make_files(
    task: Task,
    mixtures: Mapping[str, Sequence[Mixture]],
    wsj0: Path,
    noise: Path,
    folder: Path,
    kept: Path,
    nj: int,
) -> None:
    """Make all mixtures' files.

    Args:
        task: what is needed.
        mixtures: split -> its mixtures.
        wsj0: folder of WSJ0, as wav files or discs; see :func:`find_utterances`.
        noise: folder that holds ``tr``, ``cv`` and ``tt``.
        folder: the folder of the tree that the splits' folders are made in.
        kept: folder for wav files that are made of the discs' sphere files.
        nj: number of processes.

    Raises:
        TisdissError: a file that they are made of is missing or unusable, or one cannot be written.
    """
    from espnet2_tisdiss.recipes.whamr.mixtures import (  # needs pyroomacoustics
        Job,
        count_frames,
        make_mixture,
    )

    spoken = {
        Path(source).stem: source
        for members in mixtures.values()
        for mixture in members
        for source in mixture.sources
    }
    files = find_utterances(wsj0, spoken, kept, nj)

    def file_of(source: str) -> Path:
        return files[Path(source).stem]

    jobs = [
        Job(
            mixture,
            (file_of(mixture.sources[0]), file_of(mixture.sources[1])),
            noise / split / f"{mixture.name}.wav",
            folder / split,
        )
        for split, members in mixtures.items()
        for mixture in members
    ]
    do_all(count_frames, jobs, nj, "check WSJ0 and noise")
    do_all(partial(make_mixture, task), jobs, nj, "mixtures")


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = data_parser(
        "Make the data directories data/{tr,cv,tt}_mix_both_reverb_min_8k of WHAMR!, and its "
        "missing files."
    )
    parser.add_argument("--corpus", type=Path, help="existing WHAMR! [WHAMR of db.sh]")
    parser.add_argument("--wsj0", type=Path, help="WSJ0, to make it from [WSJ0 of db.sh]")
    parser.add_argument("--wham_noise", type=Path, help="wham_noise [WHAM_NOISE of db.sh]")
    parser.add_argument(
        "--scripts", type=Path, help="folder of the scripts' csv files [WHAMR_SCRIPTS of db.sh]"
    )
    parser.add_argument(
        "--out", type=absolute_path, default="downloads", help="for files made here [%(default)s]"
    )
    parser.add_argument(
        "--mixture", choices=MIXTURES, default=MIXTURES[0], help="input [%(default)s]"
    )
    parser.add_argument(
        "--reference", choices=REFERENCES, default=REFERENCES[0], help="targets [%(default)s]"
    )
    add_version_options(parser)
    return parser


def main() -> None:
    """Run the command line; a line on stdout says what was made."""
    args = get_parser().parse_args()
    with holding("data"), holding(args.out):
        print(prepare(args))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
