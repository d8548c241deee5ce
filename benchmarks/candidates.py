"""Compare candidates for the package's model by short trainings of equal length.

    python benchmarks/candidates.py --voices DIR --noise DIR --page egs2/voices_2mix/enh1/README.md

Each candidate changes one aspect of conf/train_scaling.yaml in the recipe voices_2mix. The recipe
trains all of them for the same number of steps, from the weights of ``mini`` grown to their size
unless the table says otherwise, and compares them on the validation set. When the same command is
given again, finished trainings are skipped and an interrupted one continues. Options that are not
listed here, such as --voices, are passed to run.sh.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from measuring import ROOT, count, run_main
from results import check_page, record, table
from run_progress import RunProgress
from scaling import steps_args
from scaling_report import sample_rate

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages import draw_training
from espnet2_tisdiss.recipes.stages.model_cost import build_model, cost_by_depth, count_parameters
from espnet2_tisdiss.recipes.tools.grow_model import grow_model
from espnet2_tisdiss.user_files import read_yaml

RECIPE = ROOT / "egs2/voices_2mix/enh1"
CONFIG = RECIPE / "conf/train_scaling.yaml"
EXP = RECIPE / "exp/default_0/candidates"
SECTION = "candidates"
N_RE = 3  # of the trainings, unless the candidate changes it


@dataclass(frozen=True)
class Candidate:
    """A model to compare.

    Attributes:
        meaning: what differs from the first candidate.
        separator: changed options of the separator.
        depth_power: of the loss: how fast the weights of the depths grow.
        grown: whether the training starts from the weights of ``mini``.
        normalize_variance: whether mixtures are divided by their standard deviations.
    """

    meaning: str
    separator: Mapping[str, Any] = field(default_factory=dict)
    depth_power: float = 1.0
    grown: bool = True
    normalize_variance: bool = True

    def config(self) -> dict[str, Any]:
        """Return the training configuration."""
        config = read_yaml(CONFIG)
        config["separator_conf"] |= {"reconstructor_repeat_times": N_RE} | dict(self.separator)
        config["criterions"][0]["wrapper_conf"]["depth_power"] = self.depth_power
        config["model_conf"]["normalize_variance"] = self.normalize_variance
        return config


def _width(channels: int) -> dict[str, Any]:
    """Return the options of another width; heads have 16 channels."""
    hidden = 2 * channels
    return {
        "emb_dim": channels,
        "attention_dim": channels,
        "n_heads": channels // 16,
        "ffn_hidden_dim": [hidden, hidden],
    }


CANDIDATES = {
    "package": Candidate("the reference: the size of `voices`, trained at N_re 3"),
    "random": Candidate("starts from random weights", grown=False),
    "channels32": Candidate("32 channels instead of 48", _width(32)),
    "channels64": Candidate("64 channels instead of 48", _width(64)),
    "one_layer": Candidate(
        "the separator layer runs once instead of twice", {"encoder_repeat_times": 1}
    ),
    "bands48": Candidate("48 bands instead of 32", {"num_bands": 48}),
    "equal_losses": Candidate("the losses of all depths have equal weight", depth_power=0.0),
    "splitter_loss": Candidate("a loss after the splitter, too", {"spliter_loss": True}),
    "causal": Candidate(
        "no frame depends on a later one", {"causal": True}, normalize_variance=False
    ),
    "deep": Candidate("trained at N_re 6", {"reconstructor_repeat_times": 6}),
}


def main() -> None:
    """Train the candidates and print the table."""
    args, options = _parser().parse_known_args()
    check_page(args.page, SECTION, ["--only"] * (args.only is not None))
    names = args.only or list(CANDIDATES)
    run = ["./run.sh", "--python", sys.executable, *options]
    run_recipe([*run, "--stop_stage", "5"], "the corpus could not be prepared")
    with RunProgress.shown(len(names), "candidates") as progress:
        for name in names:
            train(name, run, args.steps)
            progress.advance(1)
    text = f"{args.steps} steps each. {report(names)}"
    sys.stdout.write(text)
    if args.page:
        record(args.page, SECTION, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, help="some of the candidates")
    parser.add_argument("--steps", type=count, default=300, help="of each [%(default)s]")
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    return parser


def run_recipe(command: Sequence[str], failed: str) -> None:
    """Run a command in the recipe's folder, with its output on standard error.

    Raises:
        TisdissError: it failed.
    """
    if subprocess.run(command, cwd=RECIPE, stdout=sys.stderr, check=False).returncode:
        raise TisdissError(failed)


def train(name: str, run: Sequence[str], steps: int) -> None:
    """Train a candidate, unless that has been done.

    Raises:
        TisdissError: the training failed.
    """
    candidate, config = CANDIDATES[name], EXP / f"{name}.yaml"
    settings = candidate.config()
    write_atomically(config, yaml.safe_dump(settings).encode())
    words = ["--enh_config", str(config), "--enh_exp", str(EXP / name)]
    words += ["--enh_args", " ".join(steps_args(steps, settings["num_iters_per_epoch"]))]
    if candidate.grown:
        start = EXP / f"{name}_start.pth"
        if not start.exists():
            grow_model("mini", config, start, seed=0)
        words += ["--init_param", str(start)]
    run_recipe(
        [*run, *words, "--stage", "6", "--stop_stage", "6"], f"the training of {name} failed"
    )


def report(names: Sequence[str]) -> str:
    """Return the table of the trained candidates: size, cost, and SI-SNR at the last epoch."""
    rows, depths = [], sorted({n_re for name in names for n_re in validated(EXP / name)})
    for name in names:
        config = read_yaml(EXP / name / "config.yaml")
        deepest = str(config["separator_conf"]["reconstructor_repeat_times"])
        parts = build_model(config, {})
        cost = cost_by_depth(parts, sample_rate(config), [deepest])[deepest]
        found = validated(EXP / name)
        row = [name, CANDIDATES[name].meaning, f"{count_parameters(parts):.2f}"]
        row += [f"{cost:.2f}", f"{seconds_a_step(EXP / name):.2f}"]
        rows.append([*row, *(f"{found[n]:.2f}" if n in found else "" for n in depths)])
    header = ["candidate", "what differs", "M parameters", "GMAC/s", "s a step"]
    header += [f"N_re {n_re}" for n_re in depths]
    return f"SI-SNR in dB of the validation set:\n\n{table(header, rows)}"


def validated(exp: Path) -> dict[int, float]:
    """Return the SI-SNR of the validation set after the last epoch, in dB by N_re."""
    epochs = draw_training.read_epochs(exp)
    first = draw_training.shallowest(read_yaml(exp / "config.yaml"))
    by_depth = draw_training.losses_by_depth(epochs[max(epochs)]["valid"])
    return {first + depth: -loss for depth, loss in by_depth.items() if first + depth}


def seconds_a_step(exp: Path) -> float:
    """Return the duration of a training step, the mean over the last epoch."""
    epochs = draw_training.read_epochs(exp)
    return epochs[max(epochs)]["train"]["train_time"]


if __name__ == "__main__":
    run_main(main)
