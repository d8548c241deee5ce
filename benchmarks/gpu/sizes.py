"""Sizes of the measurements: on a GPU, and much smaller on a CPU, as a dry run."""

import argparse
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import ROOT, begin, read_config
from tiny_model import TINY

from espnet2_tisdiss.pretrained.bundled import MODELS

FULL = ROOT / "conf/train_sep1x2-re1x6.yaml"
DEFAULT = ROOT / "egs2/voices_2mix/enh1/conf/train_default.yaml"
DEFAULT_WEIGHTS = MODELS / "voices/model.pth"


@dataclass(frozen=True)
class Sizes:
    """Sizes of one kind of device.

    Attributes:
        device: cpu or cuda.
        options: of the separators, in place of the configurations'.
        frames: of the compared spectra.
        seconds: of the separated mixture where the length does not vary.
        depths: timed values of N_re.
        batches: pairs of mixtures at once and their seconds.
        timed_s: seconds for which a run is repeated.
        gemm: rows of the square matrices whose product measures the chip's rate.
        copied: bytes of the copy that measures its bandwidth.
        train_batch: mixtures of a training step.
        train_seconds: of each.
        most_batch: upper limit of the search for the largest batch.
        fit_batch: mixtures of a step of the long training.
        workers: processes that mix for it; None: one less than the number of cores.
        most_fit_s: longest duration of the long training.
        rivals: ESPnet's separators to measure, at their full size.
    """

    device: str
    options: dict[str, Any]
    frames: int
    seconds: float
    depths: Sequence[int]
    batches: Sequence[tuple[int, float]]
    timed_s: float
    gemm: int
    copied: int
    train_batch: int
    train_seconds: float
    most_batch: int
    fit_batch: int
    workers: int | None
    most_fit_s: float
    rivals: Sequence[str]

    def config(self, path: Path, **options: Any) -> dict[str, Any]:
        """Return a configuration at this size, with some of the separator's options changed."""
        return read_config(path, **{"training_dtype": "float32"} | self.options | options)


GPU = Sizes(
    device="cuda",
    options={},
    frames=63,
    seconds=4.0,
    depths=(1, 2, 4, 6, 8),
    batches=((1, 1.0), (1, 16.0), (1, 60.0), (8, 4.0), (32, 4.0), (128, 4.0)),
    timed_s=0.4,
    gemm=8192,
    copied=2**31,
    train_batch=8,
    train_seconds=2.0,
    most_batch=256,
    fit_batch=32,
    workers=None,
    most_fit_s=float("inf"),
    rivals=("Conv-TasNet", "DPRNN-16", "DPRNN-2", "TF-GridNet"),
)
CPU = Sizes(
    device="cpu",
    options={**TINY, "encoder_repeat_times": 1},
    frames=11,
    seconds=0.5,
    depths=(1, 2),
    batches=((1, 0.25), (2, 0.5)),
    timed_s=0.01,
    gemm=256,
    copied=2**22,
    train_batch=2,
    train_seconds=0.5,
    most_batch=4,
    fit_batch=2,
    workers=1,
    most_fit_s=8.0,
    rivals=("DPRNN-16",),
)


def sizes_of(device: str) -> Sizes:
    """Return the sizes of a kind of device."""
    return {"cuda": GPU, "cpu": CPU}[device]


def step_arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of a step's command line."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("out", type=Path, help="folder of the results")
    result.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    return result


def begin_step(args: argparse.Namespace) -> Sizes:
    """Prepare this process for a step and return its sizes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    begin(1 if args.device == "cpu" else torch.get_num_threads(), args.device)
    torch.set_default_device(None)  # the steps name the device or use the CPU
    return sizes_of(args.device)


@contextlib.contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Compute in float32, tf32, or in bfloat16 or float16 by autocast."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = name == "tf32"
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name, torch.bfloat16)
    try:
        with torch.autocast(device, half, enabled=name in ("bfloat16", "float16")):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextlib.contextmanager
def compiling(sizes: Sizes) -> Iterator[None]:
    """Let ``torch.compile`` generate kernels on a GPU; on a CPU that would take minutes."""
    if sizes.device == "cuda":
        yield
    else:
        with torch.compiler.set_stance("force_eager"):
            yield
