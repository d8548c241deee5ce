"""Measure how much audio a training processes on a CPU, compared with the CPU's speed.

    python benchmarks/training.py                    # the configurations trained on CPUs here
    python benchmarks/training.py --compile          # torch.compile too, which takes minutes
    python benchmarks/training.py --config conf/train_small.yaml --batch 1

Complete steps are timed, as in the trainer: ESPnet's model with its loss at every depth, the
gradient, its clipping, and the configuration's optimiser. Measures that make a step faster are
added one by one, each in new processes, because a process's memory settings cannot be undone. The
column "of matrix product" compares the step's multiply-adds (convolutions, matrix products and
attention, forward and backward) with those of a large product of the same precision in the same
time, with all threads, in the same run.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from espnet2.train.collate_fn import CommonCollateFn
from measuring import (
    ROOT,
    begin,
    count,
    parser,
    read_config,
    run_main,
    seconds_of,
    teraflop,
)
from noise_bank import write_noises
from results import check_page, machine, number, record, table
from run_progress import RunProgress
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet.memory import keep_freed_memory
from espnet2_tisdiss.espnet.training import ResumableTask
from espnet2_tisdiss.evaluate.cost import build_parts
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory
from espnet2_tisdiss.network.assembly import hop_of

SECTION = "training-cpu"
CONFIGS = (
    ROOT / "egs2/voices_2mix/enh1/conf/train_default.yaml",
    ROOT / "egs2/mini_2mix/enh1/conf/train_full.yaml",
)
DEPTHS = (2, 4, 6)


@dataclass(frozen=True)
class Way:
    """A way to train faster.

    Attributes:
        name: in the tables.
        keeps_memory: whether freed memory stays with the process.
        dtype: the separator's ``training_dtype``.
        shares: whether several processes share the batch, one thread each if the batch has enough
            mixtures; otherwise one process has all threads.
        compiles: whether ``torch.compile`` fuses the blocks.
    """

    name: str
    keeps_memory: bool = True
    dtype: str = "bfloat16"
    shares: bool = True
    compiles: bool = False


# each adds something to the previous one
WAYS = (
    Way("float32, freed memory returned", keeps_memory=False, dtype="float32", shares=False),
    Way("+ freed memory kept", dtype="float32", shares=False),
    Way("+ bfloat16", shares=False),
    Way("+ processes that share the batch"),
)
COMPILED = Way("+ torch.compile", compiles=True)


@dataclass(frozen=True)
class Setting:
    """A training to time.

    Attributes:
        name: in the tables.
        config: training configuration.
        seconds: of each mixture.
        batch: mixtures in a step.
        threads: of the CPU.
        repeats: timed steps.
    """

    name: str
    config: Mapping[str, Any]
    seconds: float
    batch: int
    threads: int
    repeats: int

    @property
    def rate(self) -> int:
        """Return the sample rate in Hz."""
        return self.config["separator_conf"].get("sample_rate", 8000)

    @property
    def n_re(self) -> int:
        """Return the configuration's depth."""
        return self.config["separator_conf"].get("reconstructor_repeat_times", 6)

    def processes(self, way: Way) -> int:
        """Return the number of processes that train, at most one for each mixture."""
        return min(self.threads, self.batch) if way.shares else 1


def read_setting(path: Path, args: argparse.Namespace) -> Setting:
    """Read the conditions of a configuration's training; the command line overrides them."""
    config = read_config(path)
    rate = config["separator_conf"].get("sample_rate", 8000)
    seconds = args.seconds or config.get("mixing_conf", {}).get("seconds")
    place = path.resolve()
    return Setting(
        str(place.relative_to(ROOT)) if place.is_relative_to(ROOT) else path.name,
        config,
        seconds or config.get("speech_segment", 4 * rate) / rate,
        args.batch or config.get("batch_size", 4),
        args.threads,
        args.repeats,
    )


# --- a step ---------------------------------------------------------------------------------------


def build(setting: Setting, way: Way, n_re: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Build ESPnet's model of a configuration and its optimiser."""
    options = {
        "training_dtype": way.dtype,
        "compile": way.compiles,
        "reconstructor_repeat_times": n_re,
    }
    config = {**setting.config, "separator_conf": {**setting.config["separator_conf"], **options}}
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "train.yaml")
        whole.write_text(yaml.safe_dump(config))
        args = ResumableTask.get_parser().parse_args(
            ["--config", str(whole), "--output_dir", folder]
        )
        torch.manual_seed(0)
        model = ResumableTask.build_model(args).train()
        (optimizer,) = ResumableTask.build_optimizers(args, model=model)
    return model, optimizer


def batch_of(setting: Setting, rank: int, processes: int) -> dict[str, Tensor]:
    """Return a process's share of a batch, as ESPnet passes it to its model."""
    mine = range(setting.batch)[rank::processes]
    sources = [
        [speech_shaped_noise(setting.seconds, setting.rate, 2 * item + j) for item in mine]
        for j in (0, 1)
    ]
    first, second = (torch.from_numpy(np.stack(source)) for source in sources)  # (b, n)
    return {
        "speech_mix": first + second,
        "speech_mix_lengths": torch.full((len(mine),), first.shape[1]),
        "speech_ref1": first,
        "speech_ref2": second,
    }


def training_step(setting: Setting, way: Way, n_re: int, rank: int) -> Callable[[], None]:
    """Return a function that runs one step of one of the processes."""
    processes = setting.processes(way)
    model, optimizer = build(setting, way, n_re)
    weights = list(model.parameters())
    batch = batch_of(setting, rank, processes)
    if processes > 1:
        model = nn.parallel.DistributedDataParallel(model)
    clip = setting.config.get("grad_clip", 5.0)

    def run() -> None:
        loss = model(**batch)[0]
        loss.mean().backward()
        nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        optimizer.zero_grad()

    return run


def time_steps(rank: int, setting: Setting, way: Way, n_re: int, folder: str) -> None:
    """Run the steps of one process; the first process writes their times to ``folder``."""
    processes = setting.processes(way)
    begin(setting.threads // processes, "cpu")
    if way.keeps_memory:
        keep_freed_memory()
    if processes > 1:
        torch.distributed.init_process_group(
            "gloo", f"file://{folder}/rendezvous", world_size=processes, rank=rank
        )
    run = training_step(setting, way, n_re, rank)
    run()  # the first step chooses and compiles kernels
    seconds = [seconds_of(run)[0] for _ in range(setting.repeats)]
    if rank == 0:
        Path(folder, "seconds").write_text(json.dumps(statistics.median(seconds)))
    if processes > 1:
        torch.distributed.destroy_process_group()


def step_seconds(setting: Setting, way: Way, n_re: int) -> float:
    """Return the median seconds of a step, in fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            time_steps, (setting, way, n_re, folder), setting.processes(way)
        )
        return json.loads(Path(folder, "seconds").read_text())


def step_macs(setting: Setting, n_re: int) -> float:
    """Return the multiply-adds of a step, counted on tensors without data."""
    options = {"reconstructor_repeat_times": n_re, "training_dtype": "float32"}
    conf = {**setting.config["separator_conf"], **options}
    encoder, separator = build_parts({**setting.config, "separator_conf": conf})
    frames = round(setting.seconds * setting.rate) // hop_of(encoder) + 1
    kind = torch.complex64 if separator.config.segment_size is None else torch.float32
    features = torch.empty((1, frames, separator.input_dim), dtype=kind, device="meta")
    separator.train().to("meta")
    with FlopCounterMode(display=False) as counter:
        estimates = separator(features, None)[0]
        torch.stack(estimates).abs().sum().backward()
    return counter.get_total_flops() / 2 * setting.batch


# --- the mixtures of a step -----------------------------------------------------------------------


def feeding_seconds(setting: Setting) -> float | None:
    """Return the seconds that one process takes to make a step's mixtures; None: it makes none."""
    if not setting.config.get("mixing_conf"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        write_noises(Path(folder), setting.rate)
        options = {"bank": folder, "seconds": setting.seconds, "unsure_sources": []}
        factory = MixtureIterFactory(
            MixingConfig.from_options({**setting.config["mixing_conf"], **options}),
            rate=setting.rate,
            seed=0,
            batch_size=setting.batch,
            num_iters=1 + 8 * setting.repeats,  # these times vary more than steps do
            collate=CommonCollateFn(),
        )
        batches = iter(factory.build_iter(1))
        next(batches)
        taken, _ = seconds_of(lambda: list(batches))
        return taken / (8 * setting.repeats)


# --- the report -----------------------------------------------------------------------------------


def answer(
    setting: Setting, ways: Sequence[Way], depths: Sequence[int], on_step: Callable[[float], None]
) -> str:
    """Time a configuration's training in each way, and by depth in the fastest uncompiled one."""
    products = {"float32": teraflop(), "bfloat16": teraflop(torch.bfloat16)}

    def row(name: str, way: Way, n_re: int, seconds: float) -> tuple[str, ...]:
        teraflops = 2 * step_macs(setting, n_re) / 1e12
        return (
            name,
            number(teraflops / 2 * 1e3),
            number(seconds),
            number(setting.batch * setting.seconds / seconds),
            f"{teraflops * products[way.dtype] / seconds:.0%}",
        )

    taken = {}
    for way in ways:
        taken[way] = step_seconds(setting, way, setting.n_re)
        on_step(1)
    usual = WAYS[-1]
    by_depth = {setting.n_re: taken[usual]}
    for n_re in depths:
        if n_re not in by_depth:
            by_depth[n_re] = step_seconds(setting, usual, n_re)
        on_step(1)
    columns = ("GMAC per step", "seconds per step", "audio seconds per second", "of matrix product")
    title = (
        f"`{setting.name}`: {setting.batch} x {setting.seconds:g} s at {setting.rate} Hz, "
        f"N_re {setting.n_re}; 1 TFLOP takes {products['float32']:.3g} s in float32 and "
        f"{products['bfloat16']:.3g} s in bfloat16"
    )
    parts = [
        title,
        table(("", *columns), [row(w.name, w, setting.n_re, s) for w, s in taken.items()]),
        f'By depth N_re, with the settings of the row "{usual.name}"',
        table(("N_re", *columns), [row(str(n), usual, n, by_depth[n]) for n in depths]),
    ]
    feeding = feeding_seconds(setting)
    if feeding is not None:
        share = feeding / setting.processes(usual)  # each process makes its own mixtures
        parts.append(
            f"One process makes the mixtures of a step in {number(1e3 * feeding)} ms. With "
            f"`num_workers: 0` training waits {share / (share + taken[usual]):.1%} of the time for "
            "them.\n"
        )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, nargs="+", help="trainings [two of egs2/]")
    arguments.add_argument("--seconds", type=float, help="of each mixture [the configuration's]")
    arguments.add_argument("--batch", type=count, help="mixtures in a step [the configuration's]")
    arguments.add_argument("--depths", type=count, nargs="+", help="repetitions N_re [2 4 6]")
    arguments.add_argument("--compile", action="store_true", help="measure torch.compile, too")
    args = arguments.parse_args()
    if args.device != "cpu":
        raise TisdissError(f"--device {args.device}: measures CPUs only")
    begin(args.threads, args.device)
    partial = [f"--{name}" for name in ("config", "seconds", "batch", "depths") if vars(args)[name]]
    check_page(args.page, SECTION, partial)
    _answer(args)


def _answer(args: argparse.Namespace) -> None:
    """Time the trainings, print the tables, and write them to the page, if given."""
    settings = [read_setting(path, args) for path in args.config or CONFIGS]
    ways = (*WAYS, COMPILED) if args.compile else WAYS
    depths = args.depths or DEPTHS
    head = machine(torch.device("cpu"))
    print(head)
    parts = [head]
    with RunProgress.shown(len(settings) * (len(ways) + len(depths)), "training") as progress:
        for setting in settings:
            parts.append(answer(setting, ways, depths, progress.advance))
            print(parts[-1], flush=True)
    if args.page:
        record(args.page, SECTION, "\n".join(parts))


if __name__ == "__main__":
    run_main(main)
