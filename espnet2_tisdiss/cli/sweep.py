"""``tisdiss sweep``: measure quality and speed of a model at every depth on a data set."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from espnet2_tisdiss.cli.common_options import (
    MODEL_HELP,
    MODEL_VARIABLE,
    DebugOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    KeepRumbleOption,
    ModelRateOption,
    ThreadsOption,
    parse_depths,
)
from espnet2_tisdiss.cli.console import (
    csv_file,
    machine,
    messages,
    print_facts,
    print_json,
    print_table,
    require_folder,
)
from espnet2_tisdiss.cli.model_loading import load_for_command, set_threads
from espnet2_tisdiss.cli.scoring import (
    BatchOption,
    LimitOption,
    ResampleOption,
    RunCommandsOption,
    count_text,
    mixtures_of,
    score_all,
)
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import (
    MULTIPLY_ADDS,
    Quality,
    draw_quality,
    require_matplotlib,
)
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, bundled_models

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.evaluate.by_depth import MixtureScores
    from espnet2_tisdiss.evaluate.means import DepthResult
    from espnet2_tisdiss.evaluate.mixtures import EvalMixture
    from espnet2_tisdiss.separate.speech import SeparateSpeech

EXAMPLES = """
[bold]Examples[/bold]

tisdiss sweep exp/enh_train dump/raw/test

tisdiss sweep exp/enh_train 2speakers/wav8k/min/tt --limit 100 --sdr --out sweep_tt

tisdiss sweep model.zip Libri2Mix/wav16k/min/test/mix_clean --n-re 1,2,4,8 --resample --json
"""


PlacesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="[MODEL] DATA",
        help=f"MODEL: {MODEL_HELP} DATA: data directory (wav.scp, spk1.scp, ...), or folder "
        "with mix/ (or mix_clean/, mix_both/), s1/, s2/, ...",
    ),
]
NReOption = Annotated[str, typer.Option(help="Repetitions.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the tables (CSV) and plots (PNG).",
        show_default="sweep/MODEL_DATA",
    ),
]
SdrOption = Annotated[bool, typer.Option("--sdr", help="Compute the SDR of BSS-eval as well.")]


def command(
    places: PlacesArgument,
    n_re: NReOption = "1,2,3,4,5,6,7,8",
    limit: LimitOption = None,
    out: OutOption = None,
    sdr: SdrOption = False,
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
    """Score a model at every depth on a data set, with one run per mixture.

    SI-SNR, the scale-invariant signal-to-noise ratio in dB, is computed on zero-mean signals with
    the speakers in the best order, and averaged over the speakers, then over the mixtures. SI-SNRi
    is its improvement over the mixture. The real-time factor (RTF) is seconds of computation per
    second of audio. For each depth it includes the time of the shallower estimates of the run.
    """
    model_name, data = _model_and_data(places)
    depths = parse_depths(n_re)
    require_matplotlib()
    title = f"{_title_of(model_name)} {data.resolve().name}"
    out = Path("sweep", title.replace(" ", "_")) if out is None else out
    require_folder(out)
    set_threads(threads)
    model = load_for_command(model_name, device, dtype, model_rate)
    mixtures = mixtures_of(data, model, limit, resample, run_commands)
    options = dict(batch_size=batch, with_sdr=sdr, resample=resample, keep_rumble=keep_rumble)
    scored = score_all(model, mixtures, depths=depths, **options)
    done = [result for result in scored if result.status == "done"]
    if not done:
        raise TisdissError(f"{data}: no mixture could be scored; the first: {scored[0].reason}")
    results, best = _results(model, depths, done)
    about = _about(model, model_name, data, mixtures, scored, batch) | best
    _report(results, about, _write(out, title, results, done), as_json)
    if len(scored) < len(mixtures):
        raise KeyboardInterrupt
    if about["failed"]:
        raise typer.Exit(1)


def _model_and_data(places: Sequence[str]) -> tuple[str, Path]:
    """Return the model and the data set from the arguments ``[MODEL] DATA``.

    Raises:
        typer.BadParameter: there are more than two arguments, or the only one is a model's name.
    """
    *models, data = places
    if len(models) > 1:
        raise typer.BadParameter(f"expected a model and a data set; got {' '.join(places)}")
    if data in bundled_models() and not Path(data).exists():
        raise typer.BadParameter(f"{data} is a model; the data set is missing")
    return models[0] if models else os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL, Path(data)


def _title_of(model_name: str) -> str:
    """Return the name of a model for files and plots; for weights, it includes their folder."""
    path = Path(model_name)
    if path.suffix == ".pth":
        return f"{path.resolve().parent.name}_{path.stem}"
    return path.stem if path.suffix == ".zip" else path.resolve().name


def _results(
    model: "SeparateSpeech", depths: Sequence[int], done: Sequence["MixtureScores"]
) -> tuple[list["DepthResult"], dict[str, int | None]]:
    """Return the means at each depth, and the best depths by the names that JSON has for them."""
    from espnet2_tisdiss.evaluate.cost import count_cost
    from espnet2_tisdiss.evaluate.means import best_depth, enough_depth, summarise

    results = summarise(done, count_cost(model, depths))
    return results, {"best_n_re": best_depth(results), "enough_n_re": enough_depth(results)}


def _about(
    model: "SeparateSpeech",
    model_name: str,
    data: Path,
    mixtures: Sequence["EvalMixture"],
    scored: Sequence["MixtureScores"],
    batch: int,
) -> dict[str, Any]:
    """Return the model, the data set and the conditions of the measurement."""
    from espnet2_tisdiss.evaluate.conditions import Conditions

    conditions = Conditions.of(model)
    done = [one for one in scored if one.status == "done"]
    reasons = {
        status: [one.reason for one in scored if one.status == status]
        for status in ("left out", "failed")
    }
    return {
        "model": model_name,
        "structure": model.separator.config.structure,
        "data": data,
        "done": len(done),
        "left_out": reasons["left out"],
        "failed": reasons["failed"],
        "not_reached": len(mixtures) - len(scored),
        "seconds": sum(one.mixture.seconds for one in done),
        "device": conditions.device,
        "threads": conditions.threads,
        "dtype": conditions.dtype,
        "batch": batch,
    }


def _report(
    results: Sequence["DepthResult"], about: dict[str, Any], files: Sequence[Path], as_json: bool
) -> None:
    """Print the figures and the files that were written."""
    if as_json:
        rows = [dataclasses.asdict(result) for result in results]
        print_json({**about, "depths": rows, "files": files})
        return
    _print(results, about)
    for file in files:
        messages.print(f"written: {file}", markup=False, highlight=False)


def _print(results: Sequence["DepthResult"], about: dict[str, Any]) -> None:
    """Print the figures as a table."""
    from espnet2_tisdiss.evaluate.cost import COUNTED_SECONDS
    from espnet2_tisdiss.evaluate.means import ENOUGH_DB

    others = {
        "left out (silent)": len(about["left_out"]),
        "failed": len(about["failed"]),
        "not reached": about["not_reached"],
    }
    counts = [f"{count_text(about['done'])}, {about['seconds']:.0f} s"]
    counts += [f"{count} {what}" for what, count in others.items() if count]
    print_facts(
        {
            "model": f"{about['model']}, {about['structure']}",
            "data": f"{about['data']}: {'; '.join(counts)}",
            "measured on": f"{machine(about)}, {about['batch']} at once",
            "units": "dB, except GMAC/s and RTF; 10 % and 90 %: percentiles of SI-SNRi; change: by "
            f"the last repetition, as for --stop-db; GMAC/s: counted on {COUNTED_SECONDS:g} s",
        }
    )
    notes = {about["enough_n_re"]: "enough", about["best_n_re"]: "best"}
    has_sdr = results[0].sdri is not None
    rows = []
    for result in results:
        scores = [result.si_snr, result.si_snri, result.si_snri_10, result.si_snri_90]
        if result.sdri is not None:
            scores.append(result.sdri)
        row = [str(result.n_re), *(f"{score:.2f}" for score in scores)]
        row.append("" if result.change is None else f"{result.change:.1f}")
        row += [f"{result.gmacs_per_s:.2f}", f"{result.rtf:.3g}", notes.get(result.n_re, "")]
        rows.append(row)
    columns = ["SI-SNR", "SI-SNRi", "10 %", "90 %", *["SDRi"] * has_sdr]
    print_table(["N_re", *columns, "change", "GMAC/s", "RTF", ""], rows)
    if "enough" in notes.values():
        typer.echo(f"enough: no deeper setting gains {ENOUGH_DB:g} dB or more")


def _write(
    out: Path, title: str, results: Sequence["DepthResult"], done: Sequence["MixtureScores"]
) -> list[Path]:
    """Write the tables and the plots to a folder; return their files."""
    n_re = [result.n_re for result in results]
    gmacs, rtf = ([getattr(r, cost) for r in results] for cost in ("gmacs_per_s", "rtf"))
    scores = zip(*(one.scores for one in done), strict=True)
    gains = [[score.si_snri for score in of_depth] for of_depth in scores]
    pictures = {
        "quality_by_cost.png": (MULTIPLY_ADDS, gmacs),
        "quality_by_rtf.png": ("real-time factor", rtf),
    }
    contents = {
        "sweep.csv": csv_file(dataclasses.asdict(result) for result in results),
        "mixtures.csv": csv_file(_rows(done)),
        **{
            file: draw_quality({title: Quality(n_re, costs, gains)}, label)
            for file, (label, costs) in pictures.items()
        },
    }
    from espnet2_tisdiss.atomic import write_atomically

    for file, content in contents.items():
        write_atomically(out / file, content)
    return [out / file for file in contents]


def _rows(done: Iterable["MixtureScores"]) -> Iterable[Mapping[str, Any]]:
    """Yield one row per mixture and depth."""
    for one in done:
        mixture = one.mixture
        for score in one.scores:
            order = " ".join(map(str, score.order))
            row = {**dataclasses.asdict(score), "order": order}
            yield {"mixture": mixture.name, "seconds": mixture.seconds, **row}
