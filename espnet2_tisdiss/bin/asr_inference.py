"""ESPnet's ``espnet2.bin.asr_inference`` with the plugin registered, and several depths in one run.

Without ``--n_re`` this is ESPnet's command. With ``--n_re 1 3 8`` it recognises the speakers of a
joint model (``enh_s2t``) at each of these depths, and separates each mixture once. The files that
ESPnet writes to ``<output_dir>`` then go to ``<output_dir>/re1``, ``re3`` and ``re8``.
Axis letter: n sample.
"""

import argparse
import inspect
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from espnet2.bin import asr_inference
from espnet2.bin.asr_inference import Speech2Text
from espnet2.fileio.datadir_writer import DatadirWriter
from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import TooShortUttError
from espnet2.tasks.enh_s2t import EnhS2TTask
from torch import Tensor
from torch.utils.data import DataLoader

from espnet2_tisdiss.bin.commands import add_depths, run_at_depths, run_locked
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.network.assembly import check_fit, check_parts
from espnet2_tisdiss.network.separator import TISDiSSSeparator
from espnet2_tisdiss.pretrained.finding import loading, read_weights
from espnet2_tisdiss.user_files import read_yaml

PREFIX = "enh_"  # of the separation part's options
# options that mean another kind of model, or several processes
REFUSED = ("multi_asr", "streaming")

Hypotheses = list[Any]  # ESPnet's n best hypotheses of one speaker


def get_parser() -> argparse.ArgumentParser:
    """Return ESPnet's parser with the option ``--n_re`` added."""
    parser = asr_inference.get_parser()
    add_depths(
        parser,
        "Recognise a joint model's speakers at each of these numbers of reconstructor repetitions "
        "in one run; the results go to <output_dir>/re<N>",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command with the options of the command line, or of ``cmd``."""
    args = get_parser().parse_args(cmd)
    if args.n_re is None:
        run_locked("asr_inference", args.output_dir, lambda: asr_inference.main(cmd))
    else:
        run_at_depths("asr_inference", args, check_options, recognise_at_depths)


def check_options(args: argparse.Namespace) -> None:
    """Check the options that depend on ``--n_re``.

    Raises:
        TisdissError: an option cannot be combined with ``--n_re``.
    """
    for option in REFUSED:
        if getattr(args, option):
            raise TisdissError(f"--{option} cannot be combined with --n_re")
    if args.batch_size != 1:
        raise TisdissError(
            f"--batch_size {args.batch_size}: ESPnet takes one mixture at a time; give 1"
        )


def recognise_at_depths(args: argparse.Namespace) -> None:
    """Recognise the speakers of every mixture at the depths ``args.n_re``, and write the texts.

    Raises:
        TisdissError: the model is not a joint model with a TISDiSS.
    """
    recogniser = build_recogniser(args)
    with ExitStack() as stack:
        writers = {
            depth: stack.enter_context(DatadirWriter(Path(args.output_dir) / f"re{depth}"))
            for depth in args.n_re
        }
        for keys, batch in load_data(args, recogniser):
            logging.info("Recognising %s", keys[0])
            for depth, speakers in by_depth(recogniser, batch["speech"][0], args.n_re):
                asr_inference._write_results(
                    writers[depth],
                    keys[0],
                    speakers,
                    args.nbest,
                    enh_s2t_task=True,
                    multi_asr=False,
                )


def build_recogniser(args: argparse.Namespace) -> Speech2Text:
    """Load the joint model that the options describe.

    Raises:
        TisdissError: it cannot be loaded, or is not a joint model with a TISDiSS.
    """
    if args.model_tag is None:
        check_files(args.asr_train_config, args.asr_model_file)
    known = inspect.signature(Speech2Text.__init__).parameters
    options = {name: value for name, value in vars(args).items() if name in known}
    options |= {"enh_s2t_task": True, "device": "cuda" if args.ngpu else "cpu"}
    with loading(args.model_tag or args.asr_model_file, Exception):
        recogniser = Speech2Text.from_pretrained(args.model_tag, **options)
    separator = recogniser.asr_model.enh_model.separator
    if not isinstance(separator, TISDiSSSeparator):
        raise TisdissError(
            f"--n_re: the model's separator is {type(separator).__name__}, not a TISDiSS"
        )
    return recogniser


def check_files(config_file: str | None, model_file: str | None) -> None:
    """Check a joint model's configuration and weights, which ESPnet would read unchecked.

    Raises:
        TisdissError: one is missing or damaged, or the configuration is not that of a joint model.
    """
    if config_file is None or model_file is None:
        raise TisdissError(
            "give the model: --asr_train_config and --asr_model_file, or --model_tag"
        )
    config = read_yaml(config_file)
    if "subtask_series" not in config:
        raise TisdissError(f"{config_file}: --n_re needs a joint model (enh_s2t)")
    with loading(config_file, OptionError):
        check_parts(config, PREFIX)
        if config[f"{PREFIX}separator"] == "tisdiss":
            check_fit(config, PREFIX)
    read_weights(model_file)


def load_data(args: argparse.Namespace, recogniser: Speech2Text) -> DataLoader:
    """Return batches of one mixture: its key, and a dict with ``speech`` (1, n)."""
    return EnhS2TTask.build_streaming_iterator(
        args.data_path_and_name_and_type,
        dtype=args.dtype,
        batch_size=args.batch_size,
        key_file=args.key_file,
        num_workers=args.num_workers,
        preprocess_fn=EnhS2TTask.build_preprocess_fn(recogniser.asr_train_args, False),
        collate_fn=EnhS2TTask.build_collate_fn(recogniser.asr_train_args, False),
        allow_variable_data_keys=args.allow_variable_data_keys,
        inference=True,
    )


@torch.inference_mode()
def by_depth(
    recogniser: Speech2Text, speech: Tensor, depths: Collection[int]
) -> Iterator[tuple[int, list[Hypotheses]]]:
    """Separate a mixture once, and yield each depth with what each speaker said.

    Args:
        recogniser: with a joint model.
        speech: the mixture (n,).
        depths: numbers of repetitions.

    Yields:
        The depths from shallow to deep, each with the hypotheses of every speaker, as ESPnet's
        class returns them at that depth. If a mixture is too short for the recogniser, they are
        empty, as in ESPnet's command.
    """
    model = recogniser.asr_model
    mixture = speech[None].to(recogniser.device, getattr(torch, recogniser.dtype))
    lengths = torch.tensor([len(speech)], device=mixture.device)
    features, frames = model.enh_model.encoder(mixture, lengths)
    separated = model.enh_model.separator.anytime(features, frames, max(depths))
    for depth, spectra in enumerate(separated):
        if depth not in depths:
            continue
        waves = [model.enh_model.decoder(spectrum, lengths)[0] for spectrum in spectra]
        try:
            yield depth, [_hypotheses(recogniser, wave, lengths) for wave in waves]
        except TooShortUttError as error:
            logging.warning("%s", error)
            yield depth, asr_inference._too_short_result(recogniser.nbest, True, recogniser)


def _hypotheses(recogniser: Speech2Text, wave: Tensor, lengths: Tensor) -> Hypotheses:
    """Return the hypotheses of one speaker's waveform (1, n)."""
    encoded, _ = recogniser.asr_model.s2t_model.encode(wave, lengths)
    if isinstance(encoded, tuple):  # with the results of intermediate layers
        encoded = encoded[0]
    return recogniser._decode_single_sample(encoded[0])


if __name__ == "__main__":
    main()
