"""What ESPnet's commands with ``--n_re``, several depths in one run, have in common."""

import argparse
import logging

from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

from espnet2_tisdiss.checks import as_list, check_integer, check_n_re
from espnet2_tisdiss.errors import TisdissError


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


def begin(args: argparse.Namespace) -> None:
    """Set up the log and the random numbers as ESPnet's commands do."""
    logging.basicConfig(
        level=args.log_level,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    set_all_random_seed(args.seed)
