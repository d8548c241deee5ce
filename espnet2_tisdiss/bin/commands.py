"""What the ESPnet-style commands that write to an output folder have in common.

They hold the folder's lock and report errors in one line. With ``--n_re``, some of them work at
several depths in one run.
"""

import argparse
import logging
import sys
from collections.abc import Callable

from espnet2.legacy.utils.cli_utils import get_commandline_args
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

from espnet2_tisdiss.checks import as_list, check_integer, check_n_re
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.standard_streams import prepare_streams


def run_locked(program: str, output_dir: str, work: Callable[[], object]) -> None:
    """Run a program's work while holding the lock of its output folder.

    A TisdissError, for example because the folder is in use, ends the program with one line.
    """
    prepare_streams()
    try:
        with holding(output_dir):
            work()
    except TisdissError as error:
        sys.exit(f"{program}: {error}")


def run_at_depths(
    program: str,
    args: argparse.Namespace,
    check_options: Callable[[argparse.Namespace], None],
    work: Callable[[argparse.Namespace], None],
) -> None:
    """Run a program that was given ``--n_re``.

    Args:
        program: its name.
        args: the options; ``args.n_re`` is sorted, without duplicates, from then on.
        check_options: checks further options; raises TisdissError.
        work: does the work, after logging and random seeds have been set up as in ESPnet.
    """
    prepare_streams()
    sys.stderr.write(f"{get_commandline_args()}\n")
    try:
        check_depths(args)
        check_options(args)
    except TisdissError as error:
        sys.exit(f"{program}: {error}")
    logging.basicConfig(
        level=args.log_level,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    set_all_random_seed(args.seed)
    run_locked(program, args.output_dir, lambda: work(args))


def add_depths(parser: argparse.ArgumentParser, meaning: str) -> argparse._ArgumentGroup:
    """Add the option ``--n_re`` to a parser; return its group."""
    group = parser.add_argument_group("Depth related")
    group.add_argument("--n_re", type=int, nargs="+", metavar="N", help=meaning)
    return group


def check_depths(args: argparse.Namespace) -> None:
    """Sort ``args.n_re``, remove duplicates, and check the options of a run at several depths.

    Raises:
        TisdissError: a value is out of range.
    """
    try:
        args.n_re = sorted({check_n_re("--n_re", depth) for depth in as_list(args.n_re)})
        check_integer("--batch_size", args.batch_size, 1)
    except ValueError as error:
        raise TisdissError(str(error)) from None
    if args.ngpu > 1:
        raise TisdissError(f"--ngpu {args.ngpu}: a process uses one GPU at most; give 0 or 1")
