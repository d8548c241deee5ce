"""Train the package's model for a number of seconds; weights are saved from the first minute on.

The recipe's learning rate and depth follow the elapsed share of the time instead of steps. The
output is model.pth, with ESPnet's names and for the recipe's configuration, and config.yaml.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from espnet2.torch_utils.initialize import initialize
from noise_bank import write_noises
from torch import Tensor

from espnet2_tisdiss.atomic import replacing, write_atomically
from espnet2_tisdiss.mixing.bank import Bank
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory, draw_mixture
from espnet2_tisdiss.mixing.scenes import SceneDrawer
from gpu.objective import SISNR, optimiser, training_step
from gpu.pipeline import Pipeline
from gpu.report import Report
from gpu.sizes import DEFAULT, Sizes, begin_step, compiling, precision, step_arguments
from gpu.training import STEPS

MOST_STEPS = 50_000  # more than the time allows
VALIDATED = 32
EVERY_S = 60.0
# The learning rate grows with the square root of the batch size, up to this factor.
LARGEST_STEP = 2.0
# A trained model continues at a fraction of the initial learning rate.
CONTINUED_STEP = 0.5


@dataclass(frozen=True)
class Fit:
    """A training.

    Attributes:
        config: of the recipe.
        sizes: of the device.
        seconds: duration.
        out: folder of the weights.
        init: weights to start from; None: random weights.
    """

    config: dict[str, Any]
    sizes: Sizes
    seconds: float
    out: Path
    init: Path | None

    def depth(self, share: float) -> int:
        """Return N_re after a share of the time."""
        if self.init is not None:
            return max(self.config["depth_schedule"].values())
        epoch = 1 + share * self.config["max_epoch"]
        schedule = self.config["depth_schedule"]
        return schedule[max(first for first in schedule if first <= epoch)]

    def rate(self, share: float) -> float:
        """Return the learning rate after a share of the time."""
        stages, largest = self.config["scheduler_conf"], self.config["optim_conf"]["lr"]
        largest *= min(LARGEST_STEP, (self.sizes.fit_batch / self.config["batch_size"]) ** 0.5)
        if self.init is not None:
            largest *= CONTINUED_STEP
        warm, decay = stages["warmup_ratio"], stages["decay_ratio"]
        if share < warm:
            low = stages["init_lr_scale"]
            return largest * (low + (1 - low) * share / warm)
        late = max(0.0, (share - 1 + decay) / decay)
        return largest * math.exp(late * math.log(stages["final_lr_scale"]))


def read_recipe(sizes: Sizes, out: Path) -> dict[str, Any]:
    """Return the recipe's configuration with the options of the fastest measured step."""
    options = {"training_dtype": "bfloat16"} | fastest_way(out)
    return sizes.config(DEFAULT, **options)


def fastest_way(out: Path) -> dict[str, Any]:
    """Return the separator's options of the fastest measured training step."""
    try:
        tables = json.loads((out / "training.json").read_text())["tables"]
    except (OSError, ValueError):
        return {}
    rows = [row for title, found in tables.items() if title.startswith(STEPS) for row in found]
    speed = "audio a second, s"
    rows = [r for r in rows if r["model"] == "default" and r["precision"] == "bfloat16"]
    rows = [row for row in rows if speed in row]
    if not rows:
        return {}
    best = max(rows, key=lambda row: row[speed])
    return {"checkpoint": best["checkpoint"], "compile": best["compiled"] == "true"}


def together(items: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> np.ndarray:
    """Stack the mixtures and sources that :class:`MixtureIterFactory` draws: (3, b, n).

    An array, because processes send it through a pipe; tensors would need shared memory, which may
    be scarce in a container.
    """
    names = ("speech_mix", "speech_ref1", "speech_ref2")
    return np.stack([[signals[name] for _, signals in items] for name in names])


def batches(fit: Fit, mixing: MixingConfig, rate: int) -> Iterator[Tensor]:
    """Yield mixtures and sources (3, b, n) on the device."""
    workers = fit.sizes.workers or max(1, (os.cpu_count() or 2) - 1)
    factory = MixtureIterFactory(
        mixing,
        rate=rate,
        seed=int(time.time()),  # a second run draws other mixtures
        batch_size=fit.sizes.fit_batch,
        num_iters=MOST_STEPS,
        collate=together,
        num_workers=workers,
    )
    for batch in factory.build_iter(1):
        yield torch.from_numpy(batch).to(fit.sizes.device, non_blocking=True)


class Validation:
    """Fixed mixtures of held-out speakers.

    Args:
        mixing: of the drawing.
        device: of the tensors.
    """

    def __init__(self, mixing: MixingConfig, device: str):
        drawer = SceneDrawer(Bank(mixing.bank, "valid"), mixing)
        drawn = [draw_mixture(drawer, (7, number))[1] for number in range(VALIDATED)]
        signals = np.array([[d[name] for d in drawn] for name in ("mix", "s1", "s2")])
        self.signals = torch.from_numpy(signals).to(device)

    def improvement(self, model: Pipeline) -> float:
        """Return the mean SI-SNR improvement in dB, with the better order of the speakers."""
        measure = SISNR()
        mix, first, second = self.signals
        model.eval()
        # not worth another compilation once a minute
        eager = torch.compiler.set_stance("force_eager")
        with eager, torch.no_grad(), precision("float32", mix.device.type):
            one, two = model(mix)
        model.train()
        orders = [measure(first, a) + measure(second, b) for a, b in ((one, two), (two, one))]
        before = measure(first, mix) + measure(second, mix)
        return float((before - torch.minimum(*orders)).mean() / 2)


def train(fit: Fit, bank: Path, report: Report) -> None:
    """Train until the time is up."""
    began = started = time.monotonic()
    options = {"bank": str(bank), "seconds": fit.sizes.train_seconds}
    mixing = MixingConfig.from_options(fit.config["mixing_conf"] | options)
    rate = fit.config["separator_conf"]["sample_rate"]
    torch.manual_seed(fit.config["seed"])
    model = Pipeline(fit.config)
    initialize(model, fit.config["init"])
    if fit.init is not None:
        model.load_state_dict(torch.load(fit.init, map_location="cpu", weights_only=True))
    model.to(fit.sizes.device).train()
    optimizer = optimiser(fit.config, model)
    step = training_step(fit.config, model, optimizer)
    validation = Validation(mixing, fit.sizes.device)
    stream = batches(fit, mixing, rate)
    losses: list[Tensor] = []
    bad = torch.zeros((), device=fit.sizes.device)
    steps, waited, written = 0, 0.0, began
    left = fit.seconds
    while (share := (time.monotonic() - started) / left) < 1:
        asked = time.monotonic()
        mix, *sources = next(stream)
        waited += time.monotonic() - asked
        model.separator.reconstructor_repeat_times = fit.depth(share)
        for group in optimizer.param_groups:
            group["lr"] = fit.rate(share)
        loss, norm = step(mix, torch.stack(sources))
        losses.append(loss)
        bad += ~norm.isfinite()
        steps += 1
        if steps % 20 == 0:
            loss.item()  # how far the CPU may run ahead of the GPU
        if steps == 1:
            loss.item()
            # kernels are compiled: learning rate and depth follow the time from now on
            started = time.monotonic()
            left = max(1.0, began + fit.seconds - started)
        now = time.monotonic()
        if steps == 1 or now - written >= min(EVERY_S, fit.seconds / 3):
            row = _row(fit, losses, now - began, share, steps, waited, int(bad))
            _save(fit, model, validation, report, row)
            losses, written = [], time.monotonic()
    if not losses:  # already written with the last step
        return
    row = _row(fit, losses, time.monotonic() - began, 1.0, steps, waited, int(bad))
    _save(fit, model, validation, report, row)


def _row(
    fit: Fit,
    losses: list[Tensor],
    seconds: float,
    share: float,
    steps: int,
    waited: float,
    bad: int,
) -> dict[str, Any]:
    """Return the columns of the log."""
    audio = steps * fit.sizes.fit_batch * fit.sizes.train_seconds
    return {
        "s": seconds,
        "steps": steps,
        "N_re": fit.depth(min(share, 1 - 1e-9)),
        "loss": float(torch.stack(losses).mean()),
        "audio a second, s": audio / seconds,
        "waiting for mixtures": f"{waited / seconds:.0%}",
        "steps without a number": bad,
    }


def _save(
    fit: Fit, model: Pipeline, validation: Validation, report: Report, row: dict[str, Any]
) -> None:
    """Write the weights and a row of the log."""
    trained = model.separator.reconstructor_repeat_times
    model.separator.reconstructor_repeat_times = max(fit.config["depth_schedule"].values())
    found = {"valid SI-SNRi, dB": validation.improvement(model)}
    model.separator.reconstructor_repeat_times = trained
    with replacing(fit.out / "model.pth") as temporary:
        torch.save(model.state_dict(), temporary)
    report.add("Training", row | found)


def main() -> None:
    """Run the command line."""
    arguments = step_arguments(__doc__)
    arguments.add_argument("--seconds", type=float, required=True, help="duration")
    arguments.add_argument("--bank", type=Path, help="recordings [noise, for the speed alone]")
    arguments.add_argument("--init", type=Path, help="weights to start from")
    args = arguments.parse_args()
    sizes = begin_step(args)
    config = read_recipe(sizes, args.out)
    with tempfile.TemporaryDirectory() as folder:
        bank = args.bank
        if bank is None:
            bank = Path(folder)
            write_noises(bank, config["separator_conf"]["sample_rate"])
        fit = Fit(config, sizes, args.seconds, args.out / "trained", args.init)
        write_atomically(fit.out / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        report = Report(args.out, "fit", args.device)
        with compiling(sizes):
            train(fit, bank, report)


if __name__ == "__main__":
    main()
