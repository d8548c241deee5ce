"""ESPnet's ``espnet2.bin.enh_inference`` with the plugin registered, and several depths in one run.

Without ``--n_re`` this is ESPnet's command. ``--n_re 1 3 8`` separates at each of these depths for
the price of the deepest: what ESPnet writes to ``<output_dir>`` then goes to ``<output_dir>/re1``,
``re3`` and ``re8``, and batches of more than one mixture are possible.
Axis letters: b batch, j speaker, c channel, n sample.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from espnet2.bin import enh_inference
from espnet2.fileio.sound_scp import SoundScpWriter
from espnet2.legacy.utils.cli_utils import get_commandline_args
from espnet2.tasks.enh import EnhancementTask
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from torch import Tensor
from torch.utils.data import DataLoader

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.checks import as_list, check_integer
from espnet2_tisdiss.errors import TisdissError

PEAK = 0.9  # of normalised files, as in ESPnet

Writers = dict[int, list[SoundScpWriter]]  # depth -> one for each speaker


def get_parser() -> argparse.ArgumentParser:
    """Return ESPnet's parser with ``--n_re``."""
    parser = enh_inference.get_parser()
    group = parser.add_argument_group("Depth related")
    group.add_argument(
        "--n_re",
        type=int,
        nargs="+",
        metavar="N",
        help="Separate at each of these numbers of reconstructor repetitions, in one run; "
        "results go to <output_dir>/re<N>",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = get_parser().parse_args(cmd)
    if args.n_re is None:
        enh_inference.main(cmd)
        return
    print(get_commandline_args(), file=sys.stderr)
    try:
        check_options(args)
        separate_at_depths(args)
    except TisdissError as error:
        sys.exit(f"enh_inference: {error}")


def check_options(args: argparse.Namespace) -> None:
    """Bring ``n_re`` to a list without repetitions and check what else depends on it.

    Raises:
        TisdissError: a value is out of range, or an option does not go with ``--n_re``.
    """
    try:
        args.n_re = sorted({check_integer("--n_re", depth, 1) for depth in as_list(args.n_re)})
        check_integer("--batch_size", args.batch_size, 1)
    except ValueError as error:
        raise TisdissError(str(error)) from None
    if args.segment_size is not None or args.hop_size is not None:
        raise TisdissError("--segment_size and --hop_size do not go with --n_re: leave them out")
    if args.ngpu > 1:
        raise TisdissError(f"--ngpu {args.ngpu}: one process separates on one GPU; give 0 or 1")


def separate_at_depths(args: argparse.Namespace) -> None:
    """Separate every mixture at the depths ``args.n_re`` and write the files and their lists.

    Raises:
        TisdissError: the model's separator is no TISDiSS, or a mixture is of several channels
            and none was chosen.
    """
    logging.basicConfig(
        level=args.log_level,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    set_all_random_seed(args.seed)
    separate = load_model(args)
    with open_writers(args, separate.num_spk) as writers:
        for keys, batch in load_data(args, separate):
            for key in keys:
                logging.info("Enhancing %s", key)
            mixtures = waveforms(keys, batch, args.ref_channel)
            with naming(keys):
                depths = separate.depths(mixtures, args.n_re, scale="estimate")
            rates = [int(rate) for rate in batch.get("utt2fs", [args.fs] * len(keys))]
            for depth, separated in depths.items():
                for key, rate, waves in zip(keys, rates, separated, strict=True):
                    write(writers[depth], key, rate, waves, args.normalize_output_wav)


@contextmanager
def naming(keys: Sequence[str]) -> Iterator[None]:
    """Put the mixtures' names before what is wrong with them."""
    try:
        yield
    except TisdissError as error:
        raise TisdissError(f"{', '.join(keys)}: {error}") from None


def load_model(args: argparse.Namespace) -> SeparateSpeech:
    """Build the separator that the options describe."""
    return SeparateSpeech.from_pretrained(
        args.model_tag,
        train_config=args.train_config,
        model_file=args.model_file,
        inference_config=args.inference_config,
        device="cuda" if args.ngpu else "cpu",
        dtype=args.dtype,
        enh_s2t_task=args.enh_s2t_task,
    )


def load_data(args: argparse.Namespace, separate: SeparateSpeech) -> DataLoader:
    """Return batches (keys, name -> padded tensor and name_lengths -> lengths), as in training."""
    return EnhancementTask.build_streaming_iterator(
        args.data_path_and_name_and_type,
        dtype=separate.dtype,  # in half precision the model's: its input stays exact
        batch_size=args.batch_size,
        key_file=args.key_file,
        num_workers=args.num_workers,
        preprocess_fn=build_preprocess_fn(separate.enh_train_args),
        collate_fn=EnhancementTask.build_collate_fn(separate.enh_train_args, False),
        allow_variable_data_keys=args.allow_variable_data_keys,
        inference=True,
    )


def build_preprocess_fn(
    train_args: argparse.Namespace,
) -> Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]] | None:
    """Return what training does to its data, but for dynamic mixing.

    That does nothing outside of training, but reads the lists of the training data, which need not
    be where the model is.
    """
    if getattr(train_args, "preprocessor", None) == "dynamic_mixing":
        return None
    return EnhancementTask.build_preprocess_fn(train_args, False)


@contextmanager
def open_writers(args: argparse.Namespace, num_spk: int) -> Iterator[Writers]:
    """Give ESPnet's writers for every depth and speaker; they are closed at the end."""
    output_dir = Path(args.output_dir).expanduser().resolve()
    with ExitStack() as stack:
        yield {
            depth: [
                stack.enter_context(
                    SoundScpWriter(
                        output_dir / f"re{depth}/wavs/{speaker}",
                        output_dir / f"re{depth}/spk{speaker}.scp",
                        format=args.output_format,
                    )
                )
                for speaker in range(1, num_spk + 1)
            ]
            for depth in args.n_re
        }


def waveforms(
    keys: Sequence[str], batch: dict[str, Tensor], ref_channel: int | None
) -> list[Tensor]:
    """Return the mixtures (n,) of a batch without their padding.

    Args:
        keys: the mixtures' names.
        batch: ``speech_mix`` (b, n) or (b, n, c) and ``speech_mix_lengths`` (b,).
        ref_channel: the channel, from 0, to take of several.

    Raises:
        TisdissError: the mixtures have several channels, and ``ref_channel`` is none of them.
    """
    mixtures = batch["speech_mix"]
    if mixtures.dim() == 3:
        channels = mixtures.shape[2]
        if ref_channel is None or not 0 <= ref_channel < channels:
            raise TisdissError(
                f"{keys[0]}: has {channels} channels, and the model takes one: "
                f"choose it with --ref_channel (0 to {channels - 1})"
            )
        mixtures = mixtures[:, :, ref_channel]
    lengths = batch["speech_mix_lengths"].tolist()
    return [mixture[:length] for mixture, length in zip(mixtures, lengths, strict=True)]


def write(
    writers: Sequence[SoundScpWriter], key: str, rate: int, waves: np.ndarray, normalize: bool
) -> None:
    """Write the speakers' waveforms (j, n) of one mixture, sampled at ``rate`` Hz.

    Args:
        writers: one for each speaker.
        key: the mixture's name.
        rate: sample rate in Hz.
        waves: (j, n).
        normalize: whether to bring each speaker to the same peak, as ESPnet does.
    """
    for writer, wave in zip(writers, waves, strict=True):
        peak = np.abs(wave).max(initial=0)
        if normalize and peak > 0:
            wave = wave / peak * PEAK
        writer[key] = rate, wave


if __name__ == "__main__":
    main()
