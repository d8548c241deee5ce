"""Compare exported models with PyTorch: quality, speed, start, size.

    python benchmarks/exported.py voices DATA --limit 20 --page docs/deployment.md

exports a model in every precision and separates the mixtures of a data set (as for tisdiss sweep)
with all ways to run it, in alternation. It reports the mean SI-SNRi in dB by depth, and the
real-time factor, seconds of computation per second of sound. Then it times complete processes, from
the command to the files on the disk, for one second of sound: warm, with their files in memory, and
cold, reading from the disk, which needs root.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from measuring import begin, count, mixtures_parser, run_main, seconds_of, spread
from results import check_page, machine, number, record, table
from run_progress import RunProgress
from startup import TISDISS, drop_page_cache, times

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.choices import PRECISIONS
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals
from espnet2_tisdiss.onnx.export import export_model
from espnet2_tisdiss.onnx.model import OnnxModel
from espnet2_tisdiss.separate.any_length import RecordingSeparator

SECTION = "exported"
SOUND_SECONDS = 1.0  # of the timed commands


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    parser = mixtures_parser(__doc__)
    parser.add_argument("--threads", type=count, default=1, help="of the CPU [%(default)s]")
    parser.add_argument("--repeats", type=count, default=5, help="timed starts [%(default)s]")
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    check_page(args.page, SECTION)
    begin(args.threads, "cpu")
    with tempfile.TemporaryDirectory() as name:
        folders = {precision: Path(name, precision) for precision in PRECISIONS}
        model = SeparateSpeech.from_pretrained(args.model)
        for precision, folder in folders.items():
            export_model(model, folder, precision)
        ways: dict[str, RecordingSeparator] = {"PyTorch, float32": model}
        ways["PyTorch, auto"] = SeparateSpeech.from_pretrained(args.model, dtype="auto")
        for precision, folder in folders.items():
            ways[f"ONNX Runtime, {precision}"] = OnnxModel(folder, args.threads)
        text = quality(ways, args, [args.model, args.model, *map(str, folders.values())])
        starts = {"PyTorch": args.model} | {
            f"ONNX Runtime, {precision}": str(folder) for precision, folder in folders.items()
        }
        text += f"\n{start_table(starts, args, Path(name), model.sample_rate)}"
    text = f"{machine(torch.device('cpu'))}\n{text}"
    sys.stdout.write(text)
    if args.page:
        record(args.page, SECTION, text)


def quality(
    ways: Mapping[str, RecordingSeparator], args: argparse.Namespace, models: Sequence[str]
) -> str:
    """Return the table of SI-SNRi by depth, real-time factors and sizes.

    Args:
        ways: name -> a model that runs in this way.
        args: the benchmark's.
        models: of each way, its name or folder.
    """
    first, *_ = ways.values()
    deepest = first.resolve_depth(args.n_re)
    depths = sorted({1, *range(2, deepest + 1, 2), deepest})
    gains: dict[str, list[list[float]]] = {name: [] for name in ways}
    seconds: dict[str, list[list[float]]] = {name: [] for name in ways}
    total = 0.0
    mixtures = spread(find_mixtures(args.data, first.num_spk), args.limit)
    with RunProgress.shown(len(mixtures), "exported") as progress:
        for mixture in mixtures:
            signals = read_signals((mixture.path, *mixture.references), first.sample_rate)
            total += signals.shape[1] / first.sample_rate
            for name, way in ways.items():
                took, found = seconds_of(partial(way.depths, signals[:1], depths))
                shallow, _ = seconds_of(partial(way.depths, signals[:1], [1]))
                seconds[name].append([shallow, took])
                gains[name].append([improvement(signals, found[n_re][0]) for n_re in depths])
            progress.advance(1)
    header = ["run by", *(f"N_re {n_re}" for n_re in depths)]
    header += [f"RTF at {n_re}" for n_re in (1, deepest)] + ["MB"]
    rows = [
        [
            name,
            *(f"{gain:.2f}" for gain in np.mean(gains[name], axis=0)),
            *(f"{factor:.3f}" for factor in np.sum(seconds[name], axis=0) / total),
            number(_megabytes(model)),
        ]
        for name, model in zip(ways, models, strict=True)
    ]
    about = f"SI-SNRi in dB of `{args.model}`, {len(mixtures)} mixtures; RTF: real-time factor.\n\n"
    return about + table(header, rows)


def start_table(
    models: Mapping[str, str], args: argparse.Namespace, folder: Path, rate: int
) -> str:
    """Return the table of seconds from the command to the file.

    Args:
        models: name of a way -> the model's name or folder.
        args: the benchmark's.
        folder: to write to.
        rate: sample rate of the sound in Hz.
    """
    sound = np.random.default_rng(0).normal(0, 0.1, round(SOUND_SECONDS * rate))
    soundfile.write(folder / "sound.wav", sound, rate)
    words = [str(folder / "sound.wav"), "-o", str(folder / "out"), "--overwrite", "--n-re", "1"]
    programs = {name: [TISDISS, "separate", "-m", model, *words] for name, model in models.items()}
    is_cold = drop_page_cache()
    with RunProgress.shown((1 + is_cold) * args.repeats * len(programs), "start") as progress:
        warm = times(programs, args, lambda: None, progress.advance)
        cold = times(programs, args, drop_page_cache, progress.advance) if is_cold else {}
    states = {"warm, s": warm} | ({"cold, s": cold} if cold else {})
    rows = [[name, *(number(found[name]) for found in states.values())] for name in models]
    missing = "" if cold else "\nNot measured cold: only root may drop the page cache.\n"
    about = f"From the command to the files, {SOUND_SECONDS:g} s of sound at N_re 1:\n\n"
    return about + table(["run by", *states], rows) + missing


def _megabytes(model: str) -> float:
    """Return the size of a model's folder, or of the weights of a model of the package."""
    path = Path(model)
    if not path.is_dir():
        from espnet2_tisdiss.pretrained.finding import find_model

        path = Path(find_model(model)["model_file"])
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    run_main(main)
