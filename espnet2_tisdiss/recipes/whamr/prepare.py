"""Prepare WHAMR! and its data directories: stage 1 of the recipe.

An existing tree is used unchanged.  Otherwise the files are made from WSJ0, wham_noise and the
WHAMR! scripts' tables; finished files are kept, so an interrupted run can be repeated.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.recipes.corpora.data_sets import DataSet, check_plan, make_data_dirs
from espnet2_tisdiss.recipes.corpora.files import do_all, find_root, location, require_package
from espnet2_tisdiss.recipes.corpora.options import RATES, add_version_options
from espnet2_tisdiss.recipes.program import data_parser, run_main
from espnet2_tisdiss.recipes.whamr.metadata import read_split
from espnet2_tisdiss.recipes.whamr.tree import (
    MIXTURES,
    REFERENCES,
    TEST_SPLIT,
    Task,
    data_set,
)
from espnet2_tisdiss.recipes.wsj0_2mix.lists import SPLITS
from espnet2_tisdiss.recipes.wsj0_2mix.speech import find_utterances

DATA = Path("data")


def prepare(args: argparse.Namespace) -> str:
    """Make everything requested by the options; return a line for each set."""
    task = Task(RATES[args.fs], args.min_or_max, args.mixture, args.reference)
    if task.reference == "reverb" != task.room:
        raise TisdissError(f"--reference reverb: there is no reverberation in {task.mixture}")
    if root := location(args.corpus, "--corpus", "WHAMR"):
        tree = task.find(root, TEST_SPLIT, SPLITS)
        sets = [
            data_set(tree / split, task, split, task.mixtures(tree / split)) for split in SPLITS
        ]
    else:
        sets = make_tree(task, args)
    tests = [task.set_name(TEST_SPLIT)]
    return make_data_dirs(DATA, sets, task.audio, args.nj, args.allow_subset, tests)


def make_tree(task: Task, args: argparse.Namespace) -> list[DataSet]:
    """Make the files and describe their data directories."""
    if (task.rate, task.version) != (8000, "min"):
        raise TisdissError(
            f"only 8k and min are made from WSJ0; for {task.folder} set WHAMR to a tree that has it"
        )
    what = "WSJ0 (LDC93S6A), or WHAMR! made before (then: WHAMR or --corpus)"
    wsj0 = find_root(args.wsj0, "--wsj0", "WSJ0", what)
    noise = find_root(args.wham_noise, "--wham_noise", "WHAM_NOISE", "wham_noise")
    scripts = find_root(args.scripts, "--scripts", "WHAMR_SCRIPTS", "the WHAMR! scripts' tables")
    require_package("pyroomacoustics", "the rooms")
    from espnet2_tisdiss.recipes.whamr.mixtures import Job, count_frames, make_mixture

    tables = scripts / "data" if (scripts / "data").is_dir() else scripts
    mixtures = {split: read_split(tables, noise / "metadata", split) for split in SPLITS}
    folder = args.out / "whamr" / task.folder
    sets = [
        data_set(folder / split, task, split, [mixture.name for mixture in members])
        for split, members in mixtures.items()
    ]
    # before hours of work
    check_plan(sets, [task.set_name(TEST_SPLIT)], args.allow_subset)
    spoken = {
        Path(source).stem: source
        for members in mixtures.values()
        for mixture in members
        for source in mixture.sources
    }
    files = find_utterances(wsj0, spoken, args.out, args.nj)
    jobs = [
        Job(
            mixture,
            tuple(files[Path(source).stem] for source in mixture.sources),
            noise / split / f"{mixture.name}.wav",
            folder / split,
        )
        for split, members in mixtures.items()
        for mixture in members
    ]
    do_all(count_frames, jobs, args.nj, "check WSJ0 and noise")
    do_all(partial(make_mixture, task), jobs, args.nj, "mixtures")
    return sets


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = data_parser(
        "Make the data directories data/{tr,cv,tt}_mix_both_reverb_min_8k of WHAMR!, and its "
        "missing files."
    )
    add = parser.add_argument
    add("--corpus", type=Path, help="existing WHAMR! [WHAMR of db.sh]")
    add("--wsj0", type=Path, help="WSJ0, to make it from [WSJ0 of db.sh]")
    add("--wham_noise", type=Path, help="wham_noise [WHAM_NOISE of db.sh]")
    add("--scripts", type=Path, help="folder of the scripts' csv files [WHAMR_SCRIPTS of db.sh]")
    add("--mixture", choices=MIXTURES, default=MIXTURES[0], help="input [%(default)s]")
    add("--reference", choices=REFERENCES, default=REFERENCES[0], help="targets [%(default)s]")
    add_version_options(parser)
    return parser


def main() -> None:
    """Run the command line; stdout says what was made."""
    args = get_parser().parse_args()
    with holding(DATA), holding(args.out):
        print(prepare(args))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
