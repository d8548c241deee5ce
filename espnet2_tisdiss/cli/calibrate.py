"""``tisdiss calibrate``: measure the speed of each depth on this machine, for ``--rtf``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from espnet2_tisdiss.cli.console import (
    DebugOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelArgument,
    ThreadsOption,
    WorkProgress,
    check_seconds,
    depths_of_interest,
    load_for_command,
    machine,
    messages,
    print_facts,
    print_json,
    print_table,
    reporting_torch_errors,
    require_folder,
    set_threads,
)
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.separate.budget import Calibration
    from espnet2_tisdiss.separate.speech import SeparateSpeech

BUDGETS = (1.0, 0.5, 0.25)  # real-time factors; the first is real time

EXAMPLES = """
[bold]Examples[/bold]

tisdiss calibrate exp/enh_train

tisdiss calibrate exp/enh_train --seconds 4 --out this_machine.json

tisdiss separate -m exp/enh_train talk.wav --rtf 0.5
"""


def command(
    model_name: ModelArgument = DEFAULT_MODEL,
    seconds: Annotated[
        float, typer.Option(help="Seconds of audio: the length of the chunks to separate.")
    ] = 8.0,
    n_re: Annotated[int, typer.Option(min=2, help="Repetitions N_re of each run.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File (JSON) to save a copy in.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure how long each depth takes on this machine, for `separate --rtf`.

    The result is saved for this structure of the model, machine, number of threads, dtype and
    seconds of audio. The real-time factor (RTF) is seconds of computation per second of audio.
    """
    check_seconds(seconds)
    if out is not None:
        if out.is_dir():
            raise TisdissError(f"--out {out}: is a folder; give a file, such as {out}/rtf.json")
        require_folder(out.parent)
    set_threads(threads)
    model = load_for_command(model_name, device, dtype, None)
    from espnet2_tisdiss.separate.budget import CalibrationStore, calibrate

    store = CalibrationStore()
    require_folder(store.path.parent)
    total = (1 + repeats) * n_re
    with reporting_torch_errors(), WorkProgress.shown(total, "calibrating") as progress:
        found = calibrate(model, seconds, n_re, repeats, on_step=lambda: progress.advance(1))
    if out is not None:
        found.save(out)
    store.put(found)
    result = {"model": model_name, **dataclasses.asdict(found), **predictions(found, model)}
    files = [store.path] if out is None else [store.path, out]
    if as_json:
        print_json({**result, "files": files})
    else:
        _print(result)
        for file in files:
            messages.print(f"saved: {file}", markup=False, highlight=False)


def predictions(calibration: "Calibration", model: "SeparateSpeech") -> dict[str, Any]:
    """Return the speed of a model by depth that a calibration predicts.

    Returns:
        ``rtf``: real-time factor by N_re, up to a third beyond that of the training;
        ``n_re_within``: by real-time factor, the deepest of these depths that stays within it;
        None if one repetition exceeds it.
    """
    depths = depths_of_interest(model)
    rtf = {n_re: calibration.predict(n_re) for n_re in depths}
    within = {
        budget: max((n_re for n_re in depths if rtf[n_re] <= budget), default=None)
        for budget in BUDGETS
    }
    return {"rtf": rtf, "n_re_within": within}


def _print(result: dict[str, Any]) -> None:
    """Print the result as text."""
    line = f"{result['base_rtf']:.3g} + {result['rtf_per_repetition']:.3g} x N_re"
    print_facts(
        {
            "model": result["model"],
            "measured on": f"{machine(result['conditions'])}, {result['seconds']:g} s of audio",
            "RTF": f"{line}; 90 % of the times within {result['spread']:.0%} of it",
        }
    )
    print_table(
        ["N_re", "RTF", "times real time"],
        [[str(n_re), f"{rtf:.3g}", f"{1 / rtf:.3g}"] for n_re, rtf in result["rtf"].items()],
    )
    deepest = max(result["rtf"])
    notes = {None: "out of reach", deepest: f"{deepest}, the deepest of an automatic choice"}
    print_table(
        ["--rtf", "N_re"],
        [
            [f"{budget:g}", notes.get(n_re, str(n_re))]
            for budget, n_re in result["n_re_within"].items()
        ],
    )
    messages.print(
        "These figures are for one chunk; the overlapping chunks of long recordings cost more."
    )
