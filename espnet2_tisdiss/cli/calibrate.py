"""``tisdiss calibrate``: fit a prediction of quality from a model's estimates."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from espnet2_tisdiss.cli.common_options import (
    MODEL_HELP,
    DebugOption,
    DepthsOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    KeepRumbleOption,
    ModelRateOption,
    ThreadsOption,
    parse_depths,
)
from espnet2_tisdiss.cli.console import messages, print_facts, print_json, require_folder
from espnet2_tisdiss.cli.model_loading import depths_of_interest, load_for_command, set_threads
from espnet2_tisdiss.cli.scoring import (
    BatchOption,
    LimitOption,
    ResampleOption,
    RunCommandsOption,
    mixtures_of,
    score_all,
)

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.evaluate.by_depth import MixtureScores
    from espnet2_tisdiss.evaluate.calibrating import Fit

EXAMPLES = """
[bold]Examples[/bold]

tisdiss calibrate exp/enh_train data/valid

tisdiss calibrate model.zip corpus/valid --limit 300 --out calibrated
"""
SHOWN = 0.8  # probability that an error is within the printed interval

OwnModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
SetsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...", help="Validation sets, as for tisdiss sweep; never a test set."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder of calibration.yaml.", show_default="that of the weights"
    ),
]


def command(
    model_name: OwnModelArgument,
    data: SetsArgument,
    n_re: DepthsOption = None,
    limit: LimitOption = None,
    out: OutOption = None,
    resample: ResampleOption = False,
    keep_rumble: KeepRumbleOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    model_rate: ModelRateOption = None,
    threads: ThreadsOption = None,
    run_commands: RunCommandsOption = False,
    batch: BatchOption = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Fit a prediction of SI-SNR from a model's estimates, on mixtures with known sources.

    The fit is written to calibration.yaml in the folder of the weights. With it, tisdiss separate
    prints the expected SI-SNR (signal-to-noise ratio, scale-invariant, in dB) of every recording,
    and can stop at a given one (--until). The printed errors are cross-validated: the fit to each
    half of the mixtures is tested on the other half.
    """
    from espnet2_tisdiss.evaluate.calibrating import calibrate
    from espnet2_tisdiss.pretrained.finding import find_model
    from espnet2_tisdiss.pretrained.layouts import CALIBRATION

    if out is None:
        out = Path(find_model(model_name)["model_file"]).parent
    require_folder(out)
    set_threads(threads)
    model = load_for_command(model_name, device, dtype, model_rate)
    depths = parse_depths(n_re) or depths_of_interest(model)
    options = dict(batch_size=batch, resample=resample, keep_rumble=keep_rumble, audible=True)
    done: list[MixtureScores] = []
    for folder in data:
        mixtures = mixtures_of(folder, model, limit, resample, run_commands)
        scored = score_all(model, mixtures, depths=depths, **options)
        if len(scored) < len(mixtures):
            raise KeyboardInterrupt
        done += [one for one in scored if one.status == "done"]
    found = calibrate(model.fingerprint, done)
    path = out / CALIBRATION
    found.calibration.save(path)
    _print(found, depths, path, as_json)


def _print(found: "Fit", depths: Sequence[int], path: Path, as_json: bool) -> None:
    """Print how accurate a fit is on unseen mixtures."""
    calibration = found.calibration
    low, high = calibration.interval_of_errors(SHOWN)
    facts = {
        "mixtures": calibration.mixtures,
        "n_re": depths,
        "error_db": found.error,
        "correlation": found.correlation,
        "interval_db": [low, high],
        "poor_db": calibration.poor,
        "file": path,
    }
    if as_json:
        print_json(facts)
        return
    print_facts(
        {
            "mixtures": str(calibration.mixtures),
            "N_re": ", ".join(map(str, depths)),
            "mean absolute error": f"{found.error:.2f} dB",
            "correlation": f"{found.correlation:.2f}",
            f"errors of {SHOWN:.0%}": f"from {low:.1f} to {high:+.1f} dB",
            "poor": f"below {calibration.poor:.1f} dB",
        }
    )
    messages.print(f"written: {path}", markup=False, highlight=False)
