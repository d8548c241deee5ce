#!/usr/bin/env python3
"""Drop the utterances of a data directory that are too short or too long (stage 4)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.data_directories import copy_lists, read_lengths
from espnet2_tisdiss.recipes.program import run_main


def filter_lengths(
    data_dir: Path, out_dir: Path, rate: int, min_duration_s: float, max_duration_s: float
) -> tuple[int, int]:
    """Make ``out_dir`` from utterances within the limits; return how many are kept and dropped."""
    durations = {key: samples / rate for key, samples in read_lengths(data_dir).items()}
    kept = {key for key, s in durations.items() if min_duration_s <= s <= max_duration_s}
    if not kept:
        raise TisdissError(
            f"{data_dir}: none of {len(durations)} utterances lasts {min_duration_s:g} to "
            f"{max_duration_s:g} s (--min_wav_duration, --max_wav_duration)"
        )
    with replacing_folder(out_dir) as temporary:
        copy_lists(sorted([*data_dir.glob("*.scp"), *data_dir.glob("utt2*")]), temporary, kept)
    return len(kept), len(durations) - len(kept)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory made by format_audio")
    parser.add_argument("out_dir", type=Path, help="data directory to make")
    parser.add_argument("--fs", type=int, required=True, help="samples per second")
    parser.add_argument("--min_duration", type=float, required=True, help="seconds")
    parser.add_argument("--max_duration", type=float, required=True, help="seconds")
    args = parser.parse_args()
    kept, dropped = filter_lengths(
        args.data_dir, args.out_dir, args.fs, args.min_duration, args.max_duration
    )
    print(
        f"{args.out_dir}: {kept} utterances kept, {dropped} dropped (shorter than "
        f"{args.min_duration:g} s or longer than {args.max_duration:g} s)",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(run_main("filter_lengths", main))
