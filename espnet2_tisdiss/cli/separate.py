"""``tisdiss separate``: recordings into one file for each speaker."""

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from espnet2_tisdiss.cli.console import (
    AudioProgress,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    ModelRateOption,
    load_model,
    messages,
    parse_depths,
    print_json,
    refuse_together,
)
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # these bring PyTorch and ESPnet, which takes seconds
    from espnet2_tisdiss.files import Options, Outcome, Task
    from espnet2_tisdiss.inference import SeparateSpeech
    from espnet2_tisdiss.recordings import Depths

EXAMPLES = """
[bold]Examples[/bold]

tisdiss separate -m exp/enh_train talk.wav

tisdiss separate -m exp/enh_train recordings/ -o voices --rtf 0.5

tisdiss separate -m model.zip "calls/**/*.wav" --n-re 1,2,4 --scale mixture --format flac

tisdiss separate -m exp/enh_train wav.scp --stop-db -30 --jobs 4 --skip-existing
"""


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|GLOB|SCP...",
            help="Recordings: files, folders, patterns in quotes, or Kaldi lists (*.scp).",
        ),
    ],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path(
        "separated"
    ),
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Names of the files, of {name}, {speaker}, {channel} and {n_re}.",
            show_default="{name}_spk{speaker}",
        ),
    ] = None,
    container: Annotated[
        Literal["wav", "flac"], typer.Option("--format", help="Format of the files.")
    ] = "wav",
    bits: Annotated[
        Literal["16", "24", "float"] | None,
        typer.Option(help="Sample format of the files.", show_default="float; 24 for flac"),
    ] = None,
    n_re: Annotated[
        str | None,
        typer.Option(
            help="Repetitions; several (1,2,4) write a set of files for each.",
            show_default="as trained",
        ),
    ] = None,
    all_depths: Annotated[
        bool, typer.Option("--all-depths", help="Write every depth up to the repetitions.")
    ] = False,
    rtf: Annotated[
        float | None,
        typer.Option(help="As deep as fits this many seconds of work for a second of audio."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="As deep as fits this many seconds of work in all.")
    ] = None,
    stop_db: Annotated[
        float | None,
        typer.Option(help="Stop once a repetition changes the estimate by less, e.g. -30."),
    ] = None,
    channel: Annotated[
        Literal["mean", "left", "right", "each"],
        typer.Option(help="What to separate of several channels."),
    ] = "mean",
    scale: Annotated[
        Literal["estimate", "peak", "mixture"],
        typer.Option(help="How loud: as estimated, to a peak of 0.9, or to sum to the mixture."),
    ] = "estimate",
    chunk: Annotated[
        float | None,
        typer.Option(help="Seconds of the chunks that longer recordings are cut into."),
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(help="Seconds that neighbouring chunks share.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    model_rate: ModelRateOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Chunks to separate at once.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave alone what is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Separate recordings of any length and sample rate into one file for each speaker."""
    began = time.monotonic()
    refuse_together({"--overwrite": overwrite, "--skip-existing": skip_existing})
    refuse_together(
        {
            "--rtf": rtf is not None,
            "--seconds": seconds is not None,
            "--stop-db": stop_db is not None,
            "--all-depths": all_depths,
        }
    )
    wanted = parse_depths(n_re)
    from espnet2_tisdiss.audio import OutputFormat

    output = OutputFormat(container, bits or ("float" if container == "wav" else "24"))
    from espnet2_tisdiss.cli.inputs import find_tasks

    tasks = find_tasks(sources, out)
    separator = load_model(model, device, dtype, model_rate)
    loading = {"name": model, "dtype": dtype, "sample_rate": model_rate}
    loading["device"] = separator.device
    from espnet2_tisdiss.files import Options
    from espnet2_tisdiss.stitching import CHUNK_SECONDS, Chunking

    lengths = _lengths(tasks, channel)
    length = CHUNK_SECONDS if chunk is None else chunk
    chunking = Chunking.in_seconds(separator.sample_rate, length, overlap)
    if seconds is not None:
        rtf = seconds / max(sum(lengths), 0.001)
    if rtf is not None:
        # what chunks share is separated twice
        rtf *= chunking.hop / chunking.length if max(lengths) > length else 1
    depths = _depths(separator, wanted, all_depths, rtf, stop_db)
    existing = "overwrite" if overwrite else "skip" if skip_existing else "refuse"
    options = Options(depths, chunking, channel, scale, output, pattern, existing, batch)
    outcomes = _separate(separator, loading, tasks, options, jobs, sum(lengths))
    _report(outcomes, options, time.monotonic() - began, as_json)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _lengths(tasks: Sequence["Task"], channel: str) -> list[float]:
    """Return the seconds of audio in each file; 0 where it cannot be read, which is told later."""
    from espnet2_tisdiss.audio import AudioError, probe

    lengths = []
    for task in tasks:
        try:
            info = probe(task.source)
            lengths.append(info.duration * (info.channels if channel == "each" else 1))
        except AudioError:
            lengths.append(0.0)
    return lengths


def _depths(
    separator: "SeparateSpeech",
    wanted: Sequence[int],
    all_depths: bool,
    rtf: float | None,
    stop_db: float | None,
) -> "Depths":
    """Return the depths that the options ask for."""
    from espnet2_tisdiss.recordings import Depths

    if len(wanted) > 1 and (all_depths or rtf is not None or stop_db is not None):
        raise TisdissError(
            "several --n-re go with none of --all-depths, --rtf, --seconds, --stop-db"
        )
    trained = separator.separator.reconstructor_repeat_times
    last = max(wanted, default=trained)
    if all_depths:
        return Depths(tuple(range(1, last + 1)))
    if rtf is not None:
        with messages.status("calibrating, once for this model and machine"):
            return Depths((separator.depth_within(rtf, most=max(wanted, default=None)),))
    return Depths(tuple(wanted or [last]), stop_db)


def _separate(
    separator: "SeparateSpeech",
    loading: dict[str, Any],
    tasks: Sequence["Task"],
    options: "Options",
    jobs: int,
    total: float,
) -> list["Outcome"]:
    """Separate the files, showing how far it is; tell of each as it is done."""
    from espnet2_tisdiss.files import separate_files
    from espnet2_tisdiss.jobs import separate_in_jobs

    outcomes = []
    with AudioProgress.shown(total, f"{len(tasks)} file{'s' * (len(tasks) != 1)}") as progress:
        if jobs == 1:
            made = separate_files(separator, tasks, options, progress.advance)
        else:
            made = separate_in_jobs(loading, tasks, options, jobs, progress.advance)
        for outcome in made:
            outcomes.append(outcome)
            progress.tell(_line(outcome, separator.sample_rate), _STYLES[outcome.status])
    return outcomes


_STYLES = {"done": None, "skipped": "dim", "failed": "red"}


def _line(outcome: "Outcome", model_rate: int) -> str:
    """Say in one line what became of a file."""
    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    if outcome.status == "skipped":
        return f"skipped: {outcome.source}: {outcome.outputs[0]} is there"
    least, most = min(outcome.n_re), max(outcome.n_re)
    depth = f"N_re {least}" if least == most else f"N_re {least} to {most}"
    parts = [f"{outcome.seconds:.1f} s, {depth}"]
    if outcome.rate != model_rate:
        parts.append(f"resampled from {outcome.rate} to the model's {model_rate} Hz and back")
    decibels = 20 * math.log10(max(outcome.peak, 1e-9))
    if outcome.gain < 1:
        parts.append(f"turned down by {decibels:.0f} dB, so that nothing clips")
    elif outcome.peak > 1:
        parts.append(f"peak {decibels:+.0f} dB over full scale: to listen, --scale mixture")
    return f"{outcome.source} -> {outcome.outputs[0]}, ...: {'; '.join(parts)}"


def _report(
    outcomes: Sequence["Outcome"], options: "Options", elapsed: float, as_json: bool
) -> None:
    """Print the summary, as a line or as JSON."""
    counts = Counter(outcome.status for outcome in outcomes)
    audio = sum(o.seconds * o.channels for o in outcomes if o.status == "done")
    summary = {
        **{status: counts[status] for status in _STYLES},
        "seconds_of_audio": round(audio, 3),
        "seconds_of_work": round(elapsed, 3),
        "depths": options.depths.n_re,
    }
    if as_json:
        files = [dataclasses.asdict(outcome) for outcome in outcomes]
        print_json({"files": files, "summary": summary})
        return
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    messages.print(f"{told}; {audio:.1f} s of audio in {elapsed:.1f} s, loading included")
