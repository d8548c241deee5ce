"""``tisdiss calibrate``: how long each depth takes on this machine, kept for ``--rtf``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from espnet2_tisdiss.bundled import DEFAULT_MODEL
from espnet2_tisdiss.cli.console import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelArgument,
    ThreadsOption,
    WorkProgress,
    check_seconds,
    depths_of_interest,
    load_model,
    machine,
    measuring,
    messages,
    print_facts,
    print_json,
    print_table,
    require_folder,
    set_threads,
)
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # these bring PyTorch, which takes seconds
    from espnet2_tisdiss.budget import Calibration
    from espnet2_tisdiss.inference import SeparateSpeech

BUDGETS = (1.0, 0.5, 0.25)  # real-time factors; the first is real time

EXAMPLES = """
[bold]Examples[/bold]

tisdiss calibrate exp/enh_train

tisdiss calibrate exp/enh_train --seconds 4 --out this_machine.json

tisdiss separate -m exp/enh_train talk.wav --rtf 0.5
"""


def command(
    model: ModelArgument = DEFAULT_MODEL,
    seconds: Annotated[
        float, typer.Option(help="Seconds of audio: those of the chunks to be separated.")
    ] = 8.0,
    n_re: Annotated[int, typer.Option(min=2, help="Repetitions of each run.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File (JSON) to write it to as well.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how long each depth takes here, and keep it for `separate --rtf`.

    It is kept for the model's structure and this machine, number of threads, dtype and seconds
    of audio. The real-time factor (RTF) is seconds of work for a second of audio.
    """
    check_seconds(seconds)
    if out is not None:
        if out.is_dir():
            raise TisdissError(f"--out {out}: is a folder; expected a file, such as {out}/rtf.json")
        require_folder(out.parent)
    set_threads(threads)
    separator = load_model(model, device, dtype, None)
    from espnet2_tisdiss.budget import CalibrationStore, calibrate

    store = CalibrationStore()
    require_folder(store.path.parent)
    total = (1 + repeats) * n_re
    with measuring(), WorkProgress.shown(total, "calibrating") as progress:
        found = calibrate(separator, seconds, n_re, repeats, on_step=lambda: progress.advance(1))
    if out is not None:
        found.save(out)
    store.put(found)
    result = {"model": model, **dataclasses.asdict(found), **predictions(found, separator)}
    files = [store.path] if out is None else [store.path, out]
    if as_json:
        print_json({**result, "files": files})
    else:
        _print(result)
        for file in files:
            messages.print(f"kept in: {file}", markup=False, highlight=False)


def predictions(found: "Calibration", separator: "SeparateSpeech") -> dict[str, Any]:
    """Return what a calibration expects of a model.

    Returns:
        ``rtf``: by N_re, up to a third beyond that of the training. ``n_re_within``: by RTF, the
        deepest of these that keeps it; None where not even one repetition does.
    """
    depths = depths_of_interest(separator)
    rtf = {n_re: found.predict(n_re) for n_re in depths}
    within = {
        budget: max((n_re for n_re in depths if rtf[n_re] <= budget), default=None)
        for budget in BUDGETS
    }
    return {"rtf": rtf, "n_re_within": within}


def _print(result: dict[str, Any]) -> None:
    """Print the result for people."""
    line = f"{result['base_rtf']:.3g} + {result['rtf_per_repetition']:.3g} x N_re"
    print_facts(
        {
            "model": result["model"],
            "measured on": f"{machine(result['conditions'])}, {result['seconds']:g} s of audio",
            "RTF": f"{line}; nine in ten times within {result['spread']:.0%} of it",
        }
    )
    print_table(
        ["N_re", "RTF", "times real time"],
        [[str(n_re), f"{rtf:.3g}", f"{1 / rtf:.3g}"] for n_re, rtf in result["rtf"].items()],
    )
    deepest = max(result["rtf"])
    notes = {None: "out of reach", deepest: f"{deepest}, as deep as it goes by itself"}
    print_table(
        ["--rtf", "N_re"],
        [
            [f"{budget:g}", notes.get(n_re, str(n_re))]
            for budget, n_re in result["n_re_within"].items()
        ],
    )
    messages.print("These are for one chunk; those of longer recordings overlap, which takes more.")
