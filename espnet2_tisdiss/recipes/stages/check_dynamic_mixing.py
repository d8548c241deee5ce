#!/usr/bin/env python3
"""Check what dynamic mixing needs and print the length of its segments in samples (stage 6).

ESPnet mixes whole utterances, so the segments that a configuration asks for (speech_segment) are
cut from the mixtures.  Utterances that are no longer than that are left out by ESPnet, other than
as the further speakers of a mixture.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.stages.check_training import training_options


def segment_length(config: Path, enh_args: Sequence[str]) -> int:
    """Tell how many samples training takes of a mixture.

    Args:
        config: the training configuration.
        enh_args: options of enh_train that come after it.

    Raises:
        TisdissError: the configuration does not say.
    """
    segment = training_options(config, enh_args).speech_segment
    if not segment:
        raise TisdissError(f"{config}: dynamic mixing needs a speech_segment, a number of samples")
    return segment


def check_singles(folder: Path, ref_num: int, segment: int) -> None:
    """Check that there are speakers enough and utterances longer than a segment.

    Args:
        folder: formatted data directory of single utterances.
        ref_num: number of speakers in a mixture.
        segment: in samples.

    Raises:
        TisdissError: there are not.
    """
    speakers = set(read_scp(folder / "utt2spk").values())
    if len(speakers) < ref_num:
        raise TisdissError(
            f"{folder}: {ref_num} speakers are to be mixed, but it has {len(speakers)}"
        )
    lengths = [int(text) for text in read_scp(folder / "utt2num_samples").values()]
    usable = sum(length > segment for length in lengths)
    if not usable:
        raise TisdissError(
            f"{folder}: no utterance is longer than a segment of {segment} samples "
            "(speech_segment of the configuration)"
        )
    if usable < len(lengths):
        print(
            f"{folder}: {len(lengths) - usable} of {len(lengths)} utterances are no longer than a "
            f"segment of {segment} samples: they are only heard as second or further speakers",
            file=sys.stderr,
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="training configuration")
    parser.add_argument("--singles", type=Path, required=True, help="formatted training set")
    parser.add_argument("--ref_num", type=int, required=True, help="speakers in a mixture")
    parser.add_argument("enh_args", nargs="*", help="options of enh_train, after --")
    args = parser.parse_args()
    segment = segment_length(args.config, args.enh_args)
    check_singles(args.singles, args.ref_num, segment)
    print(segment)


if __name__ == "__main__":
    sys.exit(run_main("check_dynamic_mixing", main))
