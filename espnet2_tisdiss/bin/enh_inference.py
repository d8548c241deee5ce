"""ESPnet's ``espnet2.bin.enh_inference`` with the plugin registered, and several depths in one run.

Without ``--n_re`` this is ESPnet's command. ``--n_re 1 3 8`` separates at each of these depths at
the cost of the deepest. The files that ESPnet writes to ``<output_dir>`` then go to
``<output_dir>/re1``, ``re3`` and ``re8``, and a batch may hold several mixtures.
Axis letters: b batch, j speaker, c channel, n sample.
"""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from espnet2.bin import enh_inference
from espnet2.fileio.sound_scp import SoundScpWriter
from espnet2.tasks.enh import EnhancementTask
from espnet2.utils.types import str2bool
from torch import Tensor
from torch.utils.data import DataLoader

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.audio.archive_writing import ArchiveWriter
from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.bin.commands import add_depths, run_at_depths, run_locked
from espnet2_tisdiss.errors import TisdissError

PEAK = 0.9  # peak of normalised files, as in ESPnet

Writers = dict[int, list[SoundScpWriter | ArchiveWriter]]  # depth -> one writer per speaker


def get_parser() -> argparse.ArgumentParser:
    """Return ESPnet's parser with the option ``--n_re`` added."""
    parser = enh_inference.get_parser()
    group = add_depths(
        parser,
        "Separate at each of these numbers of reconstructor repetitions in one run; the results "
        "go to <output_dir>/re<N>, with --output_format ark as one archive per speaker",
    )
    group.add_argument(
        "--remove_rumble",
        type=str2bool,
        default=False,
        help="With --n_re, remove everything below 20 Hz, such as an offset, from the mixtures, as "
        "`tisdiss separate` does",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command with the options of the command line, or of ``cmd``."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if args.n_re is not None:
        run_at_depths("enh_inference", args, check_options, separate_at_depths)
        return
    if args.remove_rumble:
        parser.error("--remove_rumble needs --n_re")
    run_locked("enh_inference", args.output_dir, lambda: enh_inference.main(cmd))


def check_options(args: argparse.Namespace) -> None:
    """Check the options that depend on ``--n_re``.

    Raises:
        TisdissError: an option cannot be combined with ``--n_re``, or lacks its library.
    """
    if args.segment_size is not None or args.hop_size is not None:
        raise TisdissError("--segment_size and --hop_size cannot be combined with --n_re")
    if args.output_format == "ark" and find_spec("kaldiio") is None:
        raise TisdissError(
            "--output_format ark needs kaldiio: pip install 'espnet2_tisdiss[recipes]'"
        )


def separate_at_depths(args: argparse.Namespace) -> None:
    """Separate every mixture at the depths ``args.n_re``, and write the files and their lists.

    Raises:
        TisdissError: the model is not a TISDiSS model, or a mixture cannot be separated, such as
            one of several channels without ``--ref_channel``.
    """
    model = build_model(args)
    with open_writers(args, model.num_spk) as writers:
        for keys, batch in load_data(args, model):
            for key in keys:
                logging.info("Enhancing %s", key)
            mixtures = waveforms(keys, batch, args.ref_channel)
            rates = [int(rate) for rate in batch.get("utt2fs", [args.fs] * len(keys))]
            if args.remove_rumble:
                pairs = zip(mixtures, rates, strict=True)
                mixtures = [
                    torch.from_numpy(without_rumble(wave.numpy(), rate)) for wave, rate in pairs
                ]
            with errors_naming(keys):
                depths = model.depths(mixtures, args.n_re, scale="estimate")
            for depth, separated in depths.items():
                for key, rate, waves in zip(keys, rates, separated, strict=True):
                    write(writers[depth], key, rate, waves, args.normalize_output_wav)


@contextmanager
def errors_naming(keys: Sequence[str]) -> Iterator[None]:
    """Prefix errors in the block with the names of the mixtures."""
    try:
        yield
    except TisdissError as error:
        raise TisdissError(f"{', '.join(keys)}: {error}") from None


def build_model(args: argparse.Namespace) -> SeparateSpeech:
    """Load the model that the options describe.

    Raises:
        TisdissError: the model does not exist, cannot be loaded, or is not a TISDiSS model.
    """
    return SeparateSpeech.from_pretrained(
        args.model_tag,
        train_config=args.train_config,
        model_file=args.model_file,
        inference_config=args.inference_config,
        device="cuda" if args.ngpu else "cpu",
        dtype=args.dtype,
        enh_s2t_task=args.enh_s2t_task,
    )


def load_data(args: argparse.Namespace, model: SeparateSpeech) -> DataLoader:
    """Return batches as in training.

    Args:
        args: options of the command line.
        model: the loaded model.

    Returns:
        An iterable of keys and a dict with padded tensors (b, n) or (b, n, c) by name, and their
        lengths (b,) by ``<name>_lengths``.
    """
    return EnhancementTask.build_streaming_iterator(
        args.data_path_and_name_and_type,
        dtype=model.dtype,  # float32 in half precision, where the input keeps full precision
        batch_size=args.batch_size,
        key_file=args.key_file,
        num_workers=args.num_workers,
        preprocess_fn=build_preprocess_fn(model.enh_train_args),
        collate_fn=EnhancementTask.build_collate_fn(model.enh_train_args, False),
        allow_variable_data_keys=args.allow_variable_data_keys,
        inference=True,
    )


def build_preprocess_fn(
    train_args: argparse.Namespace,
) -> Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]] | None:
    """Return the preprocessing of the training; None for dynamic mixing.

    Dynamic mixing has no effect outside of training, but would read the lists of the training data,
    which may be missing here.
    """
    if getattr(train_args, "preprocessor", None) == "dynamic_mixing":
        return None
    return EnhancementTask.build_preprocess_fn(train_args, False)


@contextmanager
def open_writers(args: argparse.Namespace, num_spk: int) -> Iterator[Writers]:
    """Open the writers for every depth and speaker, and close them after the block."""
    output_dir = Path(args.output_dir).expanduser().resolve()
    with ExitStack() as stack:
        yield {
            depth: [
                stack.enter_context(_writer(output_dir / f"re{depth}", speaker, args.output_format))
                for speaker in range(1, num_spk + 1)
            ]
            for depth in args.n_re
        }


def _writer(folder: Path, speaker: int, output_format: str) -> SoundScpWriter | ArchiveWriter:
    """Return the writer of a speaker's waveforms and of their list."""
    scp = folder / f"spk{speaker}.scp"
    if output_format == "ark":
        return ArchiveWriter(folder / f"spk{speaker}.ark", scp)
    return SoundScpWriter(folder / f"wavs/{speaker}", scp, format=output_format)


def waveforms(
    keys: Sequence[str], batch: dict[str, Tensor], ref_channel: int | None
) -> list[Tensor]:
    """Return the mixtures (n,) of a batch without their padding.

    Args:
        keys: names of the mixtures.
        batch: ``speech_mix`` (b, n) or (b, n, c) and ``speech_mix_lengths`` (b,).
        ref_channel: the channel to use, from 0, if there are several.

    Raises:
        TisdissError: the mixtures have several channels, and ``ref_channel`` is not one of them.
    """
    mixtures = batch["speech_mix"]
    if mixtures.dim() == 3:
        channels = mixtures.shape[2]
        if ref_channel is None or not 0 <= ref_channel < channels:
            raise TisdissError(
                f"{keys[0]}: has {channels} channels, but the model takes one: "
                f"choose it with --ref_channel (0 to {channels - 1})"
            )
        mixtures = mixtures[:, :, ref_channel]
    lengths = batch["speech_mix_lengths"].tolist()
    return [mixture[:length] for mixture, length in zip(mixtures, lengths, strict=True)]


def write(
    writers: Sequence[SoundScpWriter | ArchiveWriter],
    key: str,
    rate: int,
    waves: np.ndarray,
    normalize: bool,
) -> None:
    """Write the waveforms of the speakers of one mixture.

    Args:
        writers: one per speaker.
        key: name of the mixture.
        rate: sample rate in Hz.
        waves: waveforms (j, n).
        normalize: scale each speaker to the peak ``PEAK``, as ESPnet does.
    """
    for writer, wave in zip(writers, waves, strict=True):
        peak = np.abs(wave).max(initial=0)
        if normalize and peak > 0:
            wave = wave / peak * PEAK
        writer[key] = rate, wave


if __name__ == "__main__":
    main()
