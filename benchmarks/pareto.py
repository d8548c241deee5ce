"""Quality against computing time: how a model gets cheaper, and what other separators reach.

    python benchmarks/pareto.py train --minutes 30 --voices DIR --noise DIR
    python benchmarks/pareto.py measure --page docs/performance.md

The first command trains small separators by the recipe voices_2mix: the structure of the package's
model at N_re 3, and Conv-TasNet, DPRNN and TF-GridNet as ESPnet has them, at sizes of about the
same cost. All start from random weights and train on the same mixtures for the same time, which is
converted to steps by a short trial. When the same command is given again, finished trainings are
skipped and an interrupted one continues. Options that are not listed here are passed to run.sh.

The second command separates mixtures of the recipe's validation set, alternating between the
package's model at every depth in float32, bfloat16 and int8, with the depth chosen for each mixture
(--stop-db), and with only its lowest bands; and the trained separators. It writes a table and a
picture of mean SI-SNRi against the real-time factor, with the Pareto front: the settings that no
other one surpasses at the same or lower cost.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import yaml
from candidates import CONFIG, RECIPE, run_recipe, seconds_a_step
from measuring import begin, count, run_main, spread
from results import check_page, machine, record, table
from run_progress import RunProgress
from scaling import steps_args
from separators import RIVALS, learned
from torch import Tensor, nn

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals
from espnet2_tisdiss.evaluate.pictures import Curve, draw_curves
from espnet2_tisdiss.network.blocks.bands import BandProject
from espnet2_tisdiss.network.separator import TISDiSSSeparator
from espnet2_tisdiss.onnx.export import export_model
from espnet2_tisdiss.onnx.model import OnnxModel
from espnet2_tisdiss.recipes.stages import draw_training
from espnet2_tisdiss.recipes.stages.check_training import build, training_options
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:  # importing ESPnet takes seconds
    import espnet2.bin.enh_inference

SECTION = "pareto"
PICTURE = "pareto.png"
EXP = RECIPE / "exp/default_0/pareto"
DATA = RECIPE / "data/valid_default_0"
WEIGHTS = "valid.loss.ave.pth"
N_RE = 3  # of the training of TISDiSS
TRIAL_STEPS = 30
STOPS_DB = (-6, -8, -10, -12, -14, -16)
LOW_BANDS = (16, 24)  # of the model's 32

GRIDNET = RIVALS["TF-GridNet"].config
# Conv-TasNet and DPRNN at published sizes, with windows of 2 ms; a smaller TF-GridNet
OTHERS: dict[str, dict[str, Any]] = {
    "Conv-TasNet": {**RIVALS["Conv-TasNet"].config, **learned(512, 32)},
    "DPRNN": {**RIVALS["DPRNN-16"].config, **learned(64, 32)},
    "TF-GridNet": {
        **GRIDNET,
        "separator_conf": GRIDNET["separator_conf"]
        | {"n_fft": 512, "stride": 256, "n_layers": 4, "lstm_hidden_units": 64}
        | {"emb_dim": 32, "emb_hs": 4},
    },
}
TRAINED = ("TISDiSS", *OTHERS)

# separates a mixture (1, n): yields the name of a setting and an estimate (j, n), or several such
# pairs if the computation of each continues that of the previous one
Way = Callable[[np.ndarray], Iterator[tuple[str, np.ndarray]]]


class Point(NamedTuple):
    """The cost and the quality of a setting.

    Attributes:
        rtf: real-time factor.
        gain: mean SI-SNRi in dB.
    """

    rtf: float
    gain: float


def main(argv: Sequence[str] | None = None) -> None:
    """Train the separators, or measure and print the table."""
    args, options = _parser().parse_known_args(argv)
    if args.action == "train":
        train_all(args, options)
    else:
        if options:
            _parser().error(f"unknown options: {' '.join(options)}")
        check_page(args.page, SECTION)
        measure(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="train the separators", allow_abbrev=False)
    train.add_argument("--minutes", type=count, default=30, help="of each [%(default)s]")
    train.add_argument("--only", nargs="+", choices=TRAINED, help="some of them")
    measuring = actions.add_parser("measure", help="measure quality and time", allow_abbrev=False)
    measuring.add_argument("--limit", type=count, default=40, help="mixtures [%(default)s]")
    measuring.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    return parser


# --- training


def config_of(name: str) -> dict[str, Any]:
    """Return the training configuration of one of ``TRAINED``."""
    config = read_yaml(CONFIG)
    if name == "TISDiSS":
        config["separator_conf"]["reconstructor_repeat_times"] = N_RE
        return config
    config["criterions"][0] |= {"wrapper": "pit", "wrapper_conf": {}}
    return config | OTHERS[name] | {"valid_every_depth": False}


def train_all(args: argparse.Namespace, options: Sequence[str]) -> None:
    """Train the separators, each for the same time.

    Raises:
        TisdissError: a training failed.
    """
    names = args.only or TRAINED
    run = ["./run.sh", "--python", sys.executable, *options]
    run_recipe([*run, "--stop_stage", "5"], "the corpus could not be prepared")
    with RunProgress.shown(2 * len(names), "pareto") as progress:
        for name in names:
            config = config_of(name)
            written = EXP / f"{name}.yaml"
            write_atomically(written, yaml.safe_dump(config).encode())
            train(name, run, EXP / f"{name}_trial", steps_args(TRIAL_STEPS, TRIAL_STEPS))
            progress.advance(1)
            steps = round(60 * args.minutes / seconds_a_step(EXP / f"{name}_trial"))
            train(name, run, EXP / name, steps_args(steps, config["num_iters_per_epoch"]))
            progress.advance(1)


def train(name: str, run: Sequence[str], folder: Path, enh_args: Sequence[str]) -> None:
    """Train a separator in a folder, unless that was done."""
    words = ["--enh_config", str(EXP / f"{name}.yaml"), "--enh_exp", str(folder)]
    words += ["--enh_args", " ".join(enh_args), "--stage", "6", "--stop_stage", "6"]
    run_recipe([*run, *words], f"the training of {name} failed")


# --- measuring


def measure(args: argparse.Namespace) -> None:
    """Measure every way, print the table, and write the section and the picture."""
    begin(1, "cpu")
    with chdir(RECIPE), tempfile.TemporaryDirectory() as folder:  # its lists have relative paths
        mixtures = spread(find_mixtures(str(DATA), 2), args.limit)
        ways = {**ways_of_the_model(Path(folder)), **ways_of_the_trained()}
        points = measured(ways, mixtures)
    front = pareto_front({key: point for key, point in points.items() if key[0] not in TRAINED})
    text = f"{machine(torch.device('cpu'))}\n{report(points, front, len(mixtures))}{trainings()}"
    sys.stdout.write(text)
    if args.page:
        record(args.page, SECTION, text)
        write_atomically(args.page.parent / "images" / PICTURE, draw(points, front))


def ways_of_the_model(folder: Path) -> dict[str, Way]:
    """Return the ways to separate with the package's model, by name.

    Args:
        folder: empty; the exported model is written to it.
    """
    model = SeparateSpeech.from_pretrained()
    export_model(model, folder / "int8", "int8")
    ways = {
        "float32": by_depth(model),
        "bfloat16": by_depth(SeparateSpeech.from_pretrained(dtype="bfloat16")),
        "int8": by_depth(OnnxModel(folder / "int8", threads=1)),
    }
    for bands in LOW_BANDS:
        pruned = SeparateSpeech.from_pretrained()
        keep_low_bands(pruned.separator, bands)
        ways[f"float32, {bands} bands"] = by_depth(pruned)
    for stop_db in STOPS_DB:
        # one line in the plot, whose settings do not share their computation
        ways[f"float32, --stop-db {stop_db}"] = until_stable(model, stop_db)
    return ways


def ways_of_the_trained() -> dict[str, Way]:
    """Return the separators that :func:`train_all` has trained, by name."""
    found: dict[str, Way] = {}
    rate = read_yaml(CONFIG)["separator_conf"]["sample_rate"]
    for name in trained():
        files = {"train_config": EXP / name / "config.yaml", "model_file": EXP / name / WEIGHTS}
        if name == "TISDiSS":
            found[name] = by_depth(SeparateSpeech(**files))
            continue
        from espnet2.bin.enh_inference import SeparateSpeech as Original  # deferred: takes seconds

        found[name] = at_once(Original(**{key: str(file) for key, file in files.items()}), rate)
    return found


def by_depth(model: DepthSeparator) -> Way:
    """Separate with a model at every useful depth."""

    def run(mixture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        for n_re, estimate in enumerate(model.anytime(mixture, model.usual_n_re), start=1):
            yield f"N_re {n_re}", estimate.waves[0]

    return run


def until_stable(model: DepthSeparator, stop_db: float) -> Way:
    """Separate with a model until another repetition changes little."""

    def run(mixture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        yield "", model.until_stable(mixture, stop_db).waves[0]

    return run


def at_once(model: "espnet2.bin.enh_inference.SeparateSpeech", rate: int) -> Way:
    """Separate with a model of ESPnet, whose depth is fixed."""

    def run(mixture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        yield "", np.concatenate(model(mixture, fs=rate))

    return run


class LowEmbed(nn.Module):
    """An embedding of which only the lowest bands are used.

    Args:
        embed: of a band-split front end.
        bands: their number.
    """

    def __init__(self, embed: nn.Module, bands: int):
        super().__init__()
        self.embed, self.bands = embed, bands

    def forward(self, spectrum: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embed ``spectrum`` (b, t, f, 2) as (b, t, band, h)."""
        x, frames = self.embed(spectrum, frames)
        return x[:, :, : self.bands], frames


class LowProject(nn.Module):
    """A projection of the lowest bands to masks; above them the speakers share the mixture evenly.

    Args:
        project: of a band-split front end whose estimates are masks.
        num_spk: number of speakers.
    """

    def __init__(self, project: BandProject, num_spk: int):
        super().__init__()
        self.project, self.num_spk = project, num_spk

    def forward(self, x: Tensor, frames: Tensor | None, n_frames: int) -> Tensor:
        """Project ``x`` (b, t, band, h) to masks (b, t, f, 2)."""
        part, bands = self.project, x.shape[2]
        weight, bias = part.weight[:bands], part.bias.view(part.layout.n_bands, -1)
        masks = torch.einsum("btkh,khw->btkw", x, weight) + bias[:bands]
        even = torch.tensor([1 / self.num_spk, 0.0]).repeat(part.layout.width)
        shape = (*masks.shape[:2], part.layout.n_bands - bands, len(even))
        return part.layout.merge(torch.cat([masks, even.expand(shape)], dim=2))


def keep_low_bands(separator: TISDiSSSeparator, bands: int) -> None:
    """Make a separator with bands and masks process only its lowest bands.

    Raises:
        TypeError: it has no bands.
    """
    project = separator.reconstructor_deconv
    if not isinstance(project, BandProject):
        raise TypeError("a separator without bands")
    separator.conv = LowEmbed(separator.conv, bands)
    separator.reconstructor_deconv = LowProject(project, separator.num_spk)


def measured(ways: Mapping[str, Way], mixtures: Sequence) -> dict[tuple[str, str], Point]:
    """Separate the mixtures, alternating between the ways; return points by way and setting."""
    rate = SeparateSpeech.from_pretrained().sample_rate
    seconds: dict[tuple[str, str], float] = {}
    gains: dict[tuple[str, str], list[float]] = {}
    total = 0.0
    with RunProgress.shown(len(mixtures), "pareto") as progress, torch.inference_mode():
        for index, mixture in enumerate(mixtures):
            signals = read_signals((mixture.path, *mixture.references), rate)
            total += signals.shape[1] / rate
            for name, way in ways.items():
                if index == 0:  # PyTorch's one-time work must not count
                    list(way(signals[:1]))
                for setting, taken, estimate in timed(way, signals[:1]):
                    key = name, setting
                    seconds[key] = seconds.get(key, 0.0) + taken
                    gains.setdefault(key, []).append(improvement(signals, estimate))
            progress.advance(1)
    return {key: Point(seconds[key] / total, float(np.mean(gains[key]))) for key in seconds}


def timed(way: Way, mixture: np.ndarray) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield each setting, the seconds of computation until then, and the estimate."""
    elapsed, began = 0.0, time.perf_counter()
    for setting, estimate in way(mixture):
        elapsed += time.perf_counter() - began
        yield setting, elapsed, estimate
        began = time.perf_counter()


def pareto_front[K](points: Mapping[K, Point]) -> list[K]:
    """Return the points that no other one surpasses at the same cost or less, cheapest first."""
    front: list[K] = []
    best = -np.inf
    for key in sorted(points, key=lambda key: (points[key].rtf, -points[key].gain)):
        if points[key].gain > best:
            front.append(key)
            best = points[key].gain
    return front


def report(
    points: Mapping[tuple[str, str], Point], front: Sequence[tuple[str, str]], number: int
) -> str:
    """Return the table of the points; those of the front are bold."""
    rows = []
    for key, point in points.items():
        cells = [" ".join(key).strip(), f"{point.rtf:.3f}", f"{point.gain:.2f}"]
        rows.append([cells[0], *(f"**{cell}**" if key in front else cell for cell in cells[1:])])
    about = f"{number} mixtures, one thread. Bold: the Pareto front of the package's model.\n\n"
    return about + table(["separator", "RTF", "SI-SNRi, dB"], rows)


def trainings() -> str:
    """Return a table of the trainings of the other separators and TISDiSS; empty without any."""
    rows = []
    for name in trained():
        epochs = draw_training.read_epochs(EXP / name).values()
        ends = [0, *(epoch["train"]["total_count"] for epoch in epochs)]
        seconds = sum(
            epoch["train"]["train_time"] * (end - start)
            for epoch, start, end in zip(epochs, ends, ends[1:], strict=False)
        )
        model = build(training_options(EXP / f"{name}.yaml", []))
        parameters = sum(each.numel() for each in model.parameters())
        rows.append([name, f"{parameters / 1e6:.2f}", str(ends[-1]), f"{seconds / 60:.0f}"])
    if not rows:
        return ""
    header = ["trained from random weights", "M parameters", "steps", "minutes"]
    return f"\n{table(header, rows)}"


def trained() -> list[str]:
    """Return those of ``TRAINED`` whose training has finished."""
    return [name for name in TRAINED if (EXP / name / WEIGHTS).exists()]


def draw(points: Mapping[tuple[str, str], Point], front: Sequence[tuple[str, str]]) -> bytes:
    """Draw SI-SNRi against the real-time factor: a line for each family, and the front."""
    curves: dict[str, Curve] = {}
    for (name, _), point in points.items():
        family = name.rpartition(" -")[0] + " -..." if "--stop-db" in name else name
        curves.setdefault(family, Curve()).add(*point)
    curves["Pareto front"] = Curve(*map(list, zip(*(points[key] for key in front), strict=True)))
    title = "Quality against computing time"
    return draw_curves(curves, "real-time factor, one thread", "mean SI-SNRi [dB]", title)


if __name__ == "__main__":
    run_main(main)
