#!/usr/bin/env python3
"""Check a training configuration before hours of training.

It finds errors that ESPnet would ignore or report with a traceback: wrong options of the separator,
a criterion for a single depth, a sample rate other than the data's, segments that ESPnet would
round, mixtures that cannot be drawn, and initial weights that do not match the model.

With dynamic mixing, ESPnet mixes complete utterances, so the segments of the configuration
(speech_segment) are cut from the mixtures. ESPnet uses utterances that are no longer than a segment
only as the second or a further speaker of a mixture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from espnet2.train.abs_espnet_model import AbsESPnetModel

from espnet2_tisdiss import TISDiSSSeparator
from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet.trainer import depth_of_epoch
from espnet2_tisdiss.espnet.training import ResumableTask
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.mixing.bank import Bank
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.scenes import SceneDrawer
from espnet2_tisdiss.pretrained.finding import read_weights
from espnet2_tisdiss.recipes.data_directories import read_lengths
from espnet2_tisdiss.recipes.program import run_main


def training_options(config: Path, enh_args: Sequence[str]) -> argparse.Namespace:
    """Return the options of enh_train for a configuration and the options that follow it."""
    command = ["--config", str(config), "--output_dir", "none", *enh_args]
    return ResumableTask.get_parser().parse_args(command)


def build(options: argparse.Namespace) -> AbsESPnetModel:
    """Build the model as enh_train would."""
    try:
        return ResumableTask.build_model(options)
    except (ValueError, TypeError) as error:
        raise TisdissError(f"{options.config}: {error}") from None


def check_model(model: AbsESPnetModel, fs: int) -> None:
    """Check the requirements of TISDiSS on the configuration, for data at ``fs`` Hz."""
    separator = model.separator
    if not isinstance(separator, TISDiSSSeparator):
        return
    rate = separator.config.sample_rate
    if rate != fs:
        # inference resamples recordings to this rate, and the bands are placed for it
        raise TisdissError(
            f"the model is for {rate} Hz, but the data has {fs} Hz: set sample_rate in "
            f"separator_conf, or add --fit_args '--separator_conf sample_rate={fs}'"
        )


def check_segments(options: argparse.Namespace) -> None:
    """Check that training uses the segments and batches of the configuration.

    Dynamic mixing uses both unchanged. Batches that will be smaller are logged.
    """
    if not options.speech_segment or options.preprocessor != "enh":
        return
    step = options.sample_rate  # the preprocessor's rate, which does not depend on the data
    if options.speech_segment % step:
        raise TisdissError(
            f"{options.config}: speech_segment {options.speech_segment}: ESPnet takes only "
            f"multiples of {step} samples; write "
            f"{max(1, round(options.speech_segment / step)) * step}"
        )
    if options.batch_type == "folded" and options.iterator_type == "sequence":
        print(
            f"{options.config}: batch_type folded counts the length of mixtures, so batches of "
            f"long ones have fewer than {options.batch_size} segments; batch_type sorted does not",
            file=sys.stderr,
        )


def check_mixing(options: argparse.Namespace, fs: int) -> None:
    """Check the schedule of depths, and mixing while training for data at ``fs`` Hz."""
    try:
        if options.depth_schedule:
            depth_of_epoch(options.depth_schedule, 1)
        if options.iterator_type != "task":
            return
        if not options.num_iters_per_epoch:
            raise ValueError("iterator_type task needs num_iters_per_epoch")
        if options.valid_iterator_type in (None, "task") or options.num_att_plot:
            raise ValueError(
                "iterator_type task makes only training batches: set valid_iterator_type to "
                "sequence, and num_att_plot to 0"
            )
        mixing = MixingConfig.from_options(options.mixing_conf)
        drawer = SceneDrawer(Bank(mixing.bank, "train"), mixing)
        drawer.draw(np.random.default_rng(0))
    except (ValueError, TypeError) as error:
        raise TisdissError(f"{options.config}: {error}") from None
    if drawer.bank.rate != fs:
        raise TisdissError(
            f"{mixing.bank} holds recordings at {drawer.bank.rate} Hz, but the data has {fs} Hz"
        )


def check_weights(model: AbsESPnetModel, weights: Path) -> None:
    """Check that a weights file matches the model, name by name."""
    own = {name: value.shape for name, value in model.state_dict().items()}
    try:
        found = {name: value.shape for name, value in read_weights(weights).items()}
    except TisdissError as error:
        raise TisdissError(f"--init_param {error}") from None
    problems = {
        "missing": own.keys() - found.keys(),
        "left over": found.keys() - own.keys(),
        "of another shape": {
            name for name in own.keys() & found.keys() if own[name] != found[name]
        },
    }
    lines = [f"{what}: {abbreviated(names)}" for what, names in problems.items() if names]
    if lines:
        raise TisdissError(f"--init_param {weights} does not fit the model: {'; '.join(lines)}")


def segment_length(options: argparse.Namespace) -> int:
    """Return the length in samples of a training's segments, given the options of enh_train."""
    segment = options.speech_segment
    if not segment:
        raise TisdissError(
            f"{options.config}: dynamic mixing needs a speech_segment, a number of samples"
        )
    return segment


def check_singles(folder: Path, ref_num: int, segment: int) -> None:
    """Check that there are ``ref_num`` speakers, and utterances longer than ``segment`` samples."""
    speakers = set(read_scp(folder / "utt2spk").values())
    if len(speakers) < ref_num:
        raise TisdissError(
            f"{folder}: {ref_num} speakers are to be mixed, but it has {len(speakers)}"
        )
    lengths = read_lengths(folder).values()
    usable = sum(length > segment for length in lengths)
    if not usable:
        raise TisdissError(
            f"{folder}: no utterance is longer than a segment of {segment} samples "
            "(speech_segment of the configuration)"
        )
    if usable < len(lengths):
        print(
            f"{folder}: {len(lengths) - usable} of {len(lengths)} utterances are no longer than a "
            f"segment of {segment} samples: they are used only as second or further speakers",
            file=sys.stderr,
        )


def check_gpus(ngpu: int) -> None:
    """Check that PyTorch finds the GPUs that the training will use."""
    if ngpu > torch.cuda.device_count():
        raise TisdissError(
            f"--ngpu {ngpu}: PyTorch does not find that many GPUs here; give --ngpu 0 to use the "
            "CPU"
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--fs", type=int, required=True, help="sample rate of the data in Hz")
    add("--singles", type=Path, help="single utterances to mix; prints the length of the segments")
    add("--ref_num", type=int, help="speakers in a mixture")
    add("enh_train", nargs="*", help="options of enh_train, after --")
    args = parser.parse_args()
    options = ResumableTask.get_parser().parse_args(args.enh_train)
    check_gpus(options.ngpu)
    if args.singles:
        segment = segment_length(options)
        check_singles(args.singles, args.ref_num, segment)
        print(segment)
    check_segments(options)
    check_mixing(options, args.fs)
    model = build(options)
    check_model(model, args.fs)
    for weights in options.init_param:
        # file:source:target selects parts; a file alone is the complete model
        if ":" not in weights:
            check_weights(model, Path(weights))


if __name__ == "__main__":
    sys.exit(run_main("check_training", main))
