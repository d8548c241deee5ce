"""``tisdiss separate``: recordings into one file for each speaker."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from espnet2_tisdiss.bundled import DEFAULT_MODEL
from espnet2_tisdiss.cli.console import (
    LEAST_S,
    AudioProgress,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    ModelRateOption,
    ThreadsOption,
    check_numbers,
    load_model,
    parse_depths,
    refuse_together,
    require_folder,
    set_threads,
)
from espnet2_tisdiss.cli.dial import Dial
from espnet2_tisdiss.cli.outcomes import STYLES, Report
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # these bring PyTorch, which takes seconds
    from espnet2_tisdiss.files import Options, Outcome, Task
    from espnet2_tisdiss.inference import SeparateSpeech

EXAMPLES = """
[bold]Examples[/bold]

tisdiss separate talk.wav

tisdiss separate -m exp/enh_train recordings/ -o voices --rtf 0.5

tisdiss separate -m model.zip "calls/**/*.wav" --n-re 1,2,4 --scale peak --format flac

tisdiss separate -m exp/enh_train wav.scp --stop-db -10 --jobs 4 --skip-existing
"""

# panels of the help
DEPTH = {"rich_help_panel": "Depth"}
AUDIO = {"rich_help_panel": "Audio"}
OUTPUT = {"rich_help_panel": "Output"}


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|GLOB|SCP...",
            help="Recordings: files, folders, patterns in quotes, or Kaldi lists (*.scp).",
        ),
    ],
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    model_rate: ModelRateOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Chunks to separate at once.")] = 1,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes side by side, sharing the cores.")
    ] = 1,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    n_re: Annotated[
        str | None,
        typer.Option(
            help="Repetitions; several (1,2,4) write a set of files for each. With the options "
            "below, the most repetitions.",
            show_default="as trained",
            **DEPTH,
        ),
    ] = None,
    all_depths: Annotated[
        bool, typer.Option("--all-depths", help="Write every depth up to --n-re.", **DEPTH)
    ] = False,
    rtf: Annotated[
        float | None,
        typer.Option(
            help="As deep as fits this many seconds of work a second of audio, but at most a third "
            "deeper than trained.",
            **DEPTH,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="As deep as fits this many seconds of work in all; at most as with --rtf.", **DEPTH
        ),
    ] = None,
    stop_db: Annotated[
        float | None,
        typer.Option(
            help="Stop once a repetition changes the estimate by less, e.g. -10 dB; see sweep.",
            **DEPTH,
        ),
    ] = None,
    channel: Annotated[
        Literal["mean", "left", "right", "each"],
        typer.Option(help="What to separate of several channels.", **AUDIO),
    ] = "mean",
    scale: Annotated[
        Literal["estimate", "peak", "level", "mixture"] | None,
        typer.Option(
            help="How loud: as estimated, to a peak of 0.9, at the level in the mixture, or, with "
            "its noise shared out as well, to sum to the mixture.",
            show_default="level",
            **AUDIO,
        ),
    ] = None,
    chunk: Annotated[
        float | None,
        typer.Option(
            help="Seconds of the chunks that longer recordings are cut into.",
            show_default="8",
            **AUDIO,
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Seconds that neighbouring chunks share.", show_default="a quarter", **AUDIO
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.", **OUTPUT)] = Path(
        "separated"
    ),
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Names of the files, of {name}, {speaker}, {channel} and {n_re}.",
            show_default="{name}_spk{speaker}",
            **OUTPUT,
        ),
    ] = None,
    container: Annotated[
        Literal["wav", "flac"], typer.Option("--format", help="Format of the files.", **OUTPUT)
    ] = "wav",
    bits: Annotated[
        Literal["16", "24", "float"] | None,
        typer.Option(
            help="Sample format of the files.", show_default="float; 24 for flac", **OUTPUT
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there.", **OUTPUT)
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Skip recordings whose files are all there.", **OUTPUT
        ),
    ] = False,
) -> None:
    """Separate recordings of any length and sample rate into one file for each speaker."""
    refuse_together({"--overwrite": overwrite, "--skip-existing": skip_existing})
    check_numbers(LEAST_S, {"--chunk": chunk})
    check_numbers(0, {"--overlap": overlap})
    dial = Dial(parse_depths(n_re), all_depths, rtf, seconds, stop_db)
    from espnet2_tisdiss.audio import OutputFormat
    from espnet2_tisdiss.cli.inputs import find_tasks, without_separated
    from espnet2_tisdiss.files import Options, full_pattern
    from espnet2_tisdiss.scaling import DEFAULT_SCALE
    from espnet2_tisdiss.stitching import CHUNK_SECONDS, Chunking

    output = OutputFormat(container, bits or ("float" if container == "wav" else "24"))
    names = full_pattern(pattern, channel, dial.is_several)
    tasks = without_separated(find_tasks(sources, out), names, output.suffix, skip_existing)
    require_folder(out)
    durations = _durations(tasks, channel)
    if batch > 1 or jobs > 1:  # like to like in a batch, and no long one last
        tasks.sort(key=durations.__getitem__, reverse=True)
    separator = load_model(model, device, dtype, model_rate)
    chunking = Chunking.in_seconds(separator.sample_rate, chunk or CHUNK_SECONDS, overlap)
    scale = scale or DEFAULT_SCALE
    existing = "overwrite" if overwrite else "skip" if skip_existing else "refuse"
    depths = dial.depths(separator)
    options = Options(depths, chunking, channel, scale, output, names, existing, batch)
    to_do = _to_do(durations, options, separator.num_spk)
    jobs = max(1, min(jobs, len(to_do)))  # no process, and no share of threads, without work
    _share_threads(threads, jobs)
    if dial.has_budget:
        depths = dial.depths_within(separator, to_do, chunking, jobs)
        options = dataclasses.replace(options, depths=depths)
    total = sum(map(sum, durations.values()))
    loading = {"name": model, "device": separator.device, "dtype": dtype, "sample_rate": model_rate}
    report = Report(separator.sample_rate, channel, depths, scale)
    with report.shown_at_the_end(as_json), AudioProgress.shown(total, _files(tasks)) as progress:
        separated = _separated(separator, loading, tasks, options, jobs, progress.advance)
        with contextlib.closing(separated):
            for outcome in separated:
                progress.tell(report.add(outcome), STYLES[outcome.status])
    if report.count("failed"):
        raise typer.Exit(1)


def _durations(tasks: Sequence["Task"], channel: str) -> dict["Task", list[float]]:
    """Return the seconds of each channel to be separated of each file.

    There are none of a file that cannot be read; why it cannot is told in its turn.
    """
    from espnet2_tisdiss.audio import AudioError, probe

    durations = {}
    for task in tasks:
        durations[task] = []
        with contextlib.suppress(AudioError):
            info = probe(task.source)
            durations[task] = [info.duration] * (info.channels if channel == "each" else 1)
    return durations


def _share_threads(threads: int | None, jobs: int) -> None:
    """Set the threads of a process: as said, or its share of those that PyTorch would take."""
    import torch

    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, torch.get_num_threads() // jobs)
    set_threads(threads)


def _to_do(
    durations: dict["Task", list[float]], options: "Options", num_spk: int
) -> list[list[float]]:
    """Return the seconds of each channel of the files that are going to be separated."""
    work = []
    for task, channels in durations.items():
        numbers = range(1, len(channels) + 1)
        paths = [path for n in numbers for path in options.paths(task, n, num_spk)]
        with contextlib.suppress(TisdissError):  # told in its turn
            if task.clash is None and not options.is_settled(paths):
                work.append(channels)
    return work


def _separated(
    separator: "SeparateSpeech",
    loading: dict[str, Any],
    tasks: Sequence["Task"],
    options: "Options",
    jobs: int,
    on_progress: Callable[[float], None],
) -> Generator["Outcome", None, None]:
    """Separate the files, here or in several processes."""
    import torch

    from espnet2_tisdiss.files import separate_files
    from espnet2_tisdiss.jobs import separate_in_jobs

    if jobs == 1:
        yield from separate_files(separator, tasks, options, on_progress)
    else:
        threads = torch.get_num_threads()
        yield from separate_in_jobs(loading, tasks, options, jobs, threads, on_progress)


def _files(tasks: Sequence["Task"]) -> str:
    return f"{len(tasks)} file{'s' * (len(tasks) != 1)}"
