"""``tisdiss profile``: measure the cost of each depth of a model on this machine."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from espnet2_tisdiss.cli.common_options import (
    DebugOption,
    DepthsOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelArgument,
    ThreadsOption,
    check_seconds,
    parse_depths,
)
from espnet2_tisdiss.cli.console import (
    WorkProgress,
    csv_file,
    machine,
    messages,
    print_facts,
    print_json,
    print_table,
    require_folder,
)
from espnet2_tisdiss.cli.model_loading import (
    depths_of_interest,
    load_for_command,
    reporting_torch_errors,
    set_threads,
)
from espnet2_tisdiss.evaluate.pictures import draw_by_depth, require_matplotlib
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.evaluate.cost import DepthCost
    from espnet2_tisdiss.separate.speech import SeparateSpeech

EXAMPLES = """
[bold]Examples[/bold]

tisdiss profile exp/enh_train

tisdiss profile exp/enh_train --n-re 1,2,4,8 --seconds 8 --out profile

tisdiss profile model.zip --device cpu --threads 1 --json
"""


def command(
    model_name: ModelArgument = DEFAULT_MODEL,
    n_re: DepthsOption = None,
    seconds: Annotated[float, typer.Option(help="Length of the mixture in seconds.")] = 4.0,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each depth.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for profile.csv and the plots (PNG)."),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure parameters, multiply-adds, real-time factor and peak memory by depth.

    The real-time factor (RTF) is seconds of computation per second of audio. Peak memory does not
    include the loaded model; on a CPU it is sampled.
    """
    depths = parse_depths(n_re)
    check_seconds(seconds)
    if out is not None:
        require_matplotlib()
        require_folder(out)
    set_threads(threads)
    model = load_for_command(model_name, device, dtype, None)
    costs = _measure(model, depths or depths_of_interest(model), seconds, repeats)
    about = _about(model, model_name, seconds, repeats)
    if not as_json:
        _print(costs, about)
    files = [] if out is None else _write(out, costs, about)
    if as_json:
        rows = [dataclasses.asdict(cost) for cost in costs]
        print_json({**about, "depths": rows, "files": files})
    for file in files:
        messages.print(f"written: {file}", markup=False, highlight=False)


def _measure(
    model: "SeparateSpeech", depths: Sequence[int], seconds: float, repeats: int
) -> list["DepthCost"]:
    """Measure the cost of the depths, with a progress bar."""
    from espnet2_tisdiss.evaluate.cost import measure

    total = (1 + repeats) * sum(depths)
    done = itertools.cycle(depths)  # the order of the runs
    with reporting_torch_errors(), WorkProgress.shown(total, "profiling") as progress:
        return measure(model, seconds, depths, repeats, lambda: progress.advance(next(done)))


def _about(model: "SeparateSpeech", name: str, seconds: float, repeats: int) -> dict[str, Any]:
    """Return the model and the conditions of the measurement."""
    from espnet2_tisdiss.evaluate.conditions import Conditions
    from espnet2_tisdiss.evaluate.cost import parameters

    conditions = Conditions.of(model)
    return {
        "model": name,
        "structure": model.separator.config.structure,
        "parameters": parameters(model.enh_model),
        "device": conditions.device,
        "threads": conditions.threads,
        "dtype": conditions.dtype,
        "seconds": seconds,
        "repeats": repeats,
    }


def _print(costs: Sequence["DepthCost"], about: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print_facts(
        {
            "model": f"{about['model']}, {about['structure']}",
            "parameters": f"{about['parameters'] / 1e6:.2f} M",
            "measured on": f"{machine(about)}, {about['seconds']:g} s of audio",
        }
    )
    rows = [
        [
            str(cost.n_re),
            f"{cost.macs_per_s / 1e9:.2f}",
            f"{cost.rtf:.3g}",
            f"{1 / cost.rtf:.3g}",
            f"{cost.peak_bytes / 1e6:.0f}",
        ]
        for cost in costs
    ]
    print_table(["N_re", "GMAC/s", "RTF", "times real time", "peak memory [MB]"], rows)


def _write(out: Path, costs: Sequence["DepthCost"], about: dict[str, Any]) -> list[Path]:
    """Write the table and the plots to a folder; return their files."""
    title = f"{about['structure']}, {about['seconds']:g} s of audio\n{machine(about)}"
    n_re = [cost.n_re for cost in costs]
    contents = {
        "profile.csv": csv_file(dataclasses.asdict(cost) for cost in costs),
        "rtf_by_n_re.png": draw_by_depth(
            n_re, [cost.rtf for cost in costs], "real-time factor", title, {"real time": 1.0}
        ),
        "memory_by_n_re.png": draw_by_depth(
            n_re,
            [cost.peak_bytes / 1e6 for cost in costs],
            "peak memory above the loaded model [MB]",
            title,
        ),
    }
    from espnet2_tisdiss.atomic import write_atomically

    for name, content in contents.items():
        write_atomically(out / name, content)
    return [out / name for name in contents]
