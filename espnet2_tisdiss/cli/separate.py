"""``tisdiss separate``: separate recordings into one file per speaker."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from espnet2_tisdiss.cli.console import (
    LEAST_S,
    AudioProgress,
    DebugOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    KeepRumbleOption,
    ModelOption,
    ModelRateOption,
    ThreadsOption,
    check_numbers,
    load_for_command,
    parse_depths,
    parse_rate,
    refuse_together,
    require_folder,
    set_threads,
)
from espnet2_tisdiss.cli.dial import Dial
from espnet2_tisdiss.cli.outcomes import STYLES, SeparationReport
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.separate.files import Options, Outcome, Task
    from espnet2_tisdiss.separate.speech import SeparateSpeech

EXAMPLES = """
[bold]Examples[/bold]

tisdiss separate talk.wav

tisdiss separate -m exp/enh_train recordings/ -o voices --rtf 0.5

tisdiss separate -m model.zip "calls/**/*.wav" --n-re 1,2,4 --scale peak --format flac

tisdiss separate -m exp/enh_train wav.scp --stop-db -10 --jobs 4 --skip-existing
"""

# panels of the help text
DEPTH: dict[str, Any] = {"rich_help_panel": "Depth"}
AUDIO: dict[str, Any] = {"rich_help_panel": "Audio"}
OUTPUT: dict[str, Any] = {"rich_help_panel": "Output"}

Channel = Literal["mean", "left", "right", "each"]
Scale = Literal["estimate", "peak", "level", "mixture"]


def command(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|GLOB|SCP...",
            help="Recordings: files, folders, patterns in quotes, or Kaldi lists (*.scp); - is "
            "standard input.",
        ),
    ],
    model_name: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    model_rate: ModelRateOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Chunks to separate at once.")] = 1,
    jobs: Annotated[
        int, typer.Option(min=1, help="Parallel processes, which share the cores.")
    ] = 1,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    n_re: Annotated[
        str | None,
        typer.Option(
            help="Repetitions; several (1,2,4) write one set of files each. With the options "
            "below: the maximum.",
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
            help="Deepest setting within this real-time factor (seconds of computation per second "
            "of audio), at most a third deeper than trained.",
            **DEPTH,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Deepest setting within this many seconds of computation in total; at most as "
            "with --rtf.",
            **DEPTH,
        ),
    ] = None,
    stop_db: Annotated[
        float | None,
        typer.Option(
            help="Stop when a repetition changes the estimate by less than this many dB, such as "
            "-10; see the column change of tisdiss sweep.",
            **DEPTH,
        ),
    ] = None,
    channel: Annotated[
        Channel,
        typer.Option(help="What to separate in files of several channels.", **AUDIO),
    ] = "mean",
    scale: Annotated[
        Scale | None,
        typer.Option(
            help="Level of the output: as estimated, a peak of 0.9, the level in the mixture, or "
            "such that the speakers sum to the mixture, noise included.",
            show_default="level",
            **AUDIO,
        ),
    ] = None,
    chunk: Annotated[
        float | None,
        typer.Option(
            help="Length in seconds of the chunks that longer recordings are cut into.",
            show_default="8",
            **AUDIO,
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Overlap of neighbouring chunks in seconds.",
            show_default="a quarter of a chunk",
            **AUDIO,
        ),
    ] = None,
    keep_rumble: KeepRumbleOption = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.", **OUTPUT)] = Path(
        "separated"
    ),
    pattern: Annotated[
        str | None,
        typer.Option(
            help="File names, made from {name}, {speaker}, {channel} and {n_re}.",
            show_default="{name}_spk{speaker}",
            **OUTPUT,
        ),
    ] = None,
    container: Annotated[
        Literal["wav", "flac", "mp3", "ogg", "opus"],
        typer.Option("--format", help="Format of the files.", **OUTPUT),
    ] = "wav",
    bits: Annotated[
        Literal["16", "24", "float"] | None,
        typer.Option(
            help="Sample format of wav and flac files.",
            show_default="float; 24 for flac",
            **OUTPUT,
        ),
    ] = None,
    rate: Annotated[
        str,
        typer.Option(
            metavar="same|model|HZ",
            help="Sample rate of the files: that of the recording, of the model, or in Hz.",
            **OUTPUT,
        ),
    ] = "same",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files.", **OUTPUT)
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Skip recordings whose output files all exist.", **OUTPUT
        ),
    ] = False,
) -> None:
    """Separate recordings of any length and sample rate into one file per speaker."""
    refuse_together({"--overwrite": overwrite, "--skip-existing": skip_existing})
    check_numbers(LEAST_S, {"--chunk": chunk})
    check_numbers(0, {"--overlap": overlap})
    if str(out) == "-":
        raise TisdissError("--out -: each speaker becomes a file; give a folder")
    dial = Dial(parse_depths(n_re), all_depths, rtf, seconds, stop_db)
    from espnet2_tisdiss.audio.writing import OutputFormat
    from espnet2_tisdiss.cli.inputs import find_tasks, without_separated
    from espnet2_tisdiss.cli.streams import copied_streams
    from espnet2_tisdiss.separate.chunking import CHUNK_SECONDS, Chunking
    from espnet2_tisdiss.separate.files import Options, full_pattern
    from espnet2_tisdiss.separate.loudness import DEFAULT_SCALE

    output = OutputFormat(container, bits)
    names = full_pattern(pattern, channel, dial.is_several)
    tasks = without_separated(find_tasks(sources, out), names, output.suffix, skip_existing)
    require_folder(out)
    tasks = context.with_resource(copied_streams(tasks, out))
    durations = _durations(tasks, channel)
    if batch > 1 or jobs > 1:  # batches of similar lengths; no job left alone with a long file
        tasks.sort(key=durations.__getitem__, reverse=True)
    model = load_for_command(model_name, device, dtype, model_rate)
    chunking = Chunking.in_seconds(model.sample_rate, chunk or CHUNK_SECONDS, overlap)
    existing: Literal["overwrite", "skip", "refuse"] = (
        "overwrite" if overwrite else "skip" if skip_existing else "refuse"
    )
    depths = dial.depths(model)
    loudness = scale or DEFAULT_SCALE
    options = Options(
        depths,
        chunking,
        channel,
        loudness,
        output,
        parse_rate(rate),
        names,
        existing,
        batch,
        keep_rumble,
    )
    to_do = _to_do(durations, options, model.num_spk)
    jobs = max(1, min(jobs, len(to_do)))  # a process without work would take a share of threads
    _share_threads(threads, jobs)
    if dial.has_budget:
        depths = dial.depths_within(model, to_do, chunking, jobs)
        options = dataclasses.replace(options, depths=depths)
    total = sum(map(sum, durations.values()))
    loading = {
        "model_tag": model_name,
        "device": model.device,
        "dtype": model.precision,
        "sample_rate": model_rate,
    }
    report = SeparationReport(model.sample_rate, channel, depths, loudness)
    with report.printed_at_end(as_json), AudioProgress.shown(total, _files(tasks)) as progress:
        separated = _separated(model, loading, tasks, options, jobs, progress.advance)
        with contextlib.closing(separated):
            for outcome in separated:
                progress.print(report.add(outcome), STYLES[outcome.status])
    if report.count("failed"):
        raise typer.Exit(1)


def _durations(tasks: Sequence["Task"], channel: Channel) -> dict["Task", list[float]]:
    """Return, for each file, the seconds of each channel to separate.

    Unreadable files get an empty list; their error is reported later.
    """
    from espnet2_tisdiss.audio.reading import probe
    from espnet2_tisdiss.errors import AudioError

    durations: dict[Task, list[float]] = {}
    for task in tasks:
        durations[task] = []
        with contextlib.suppress(AudioError):
            info = probe(task.path, on_notice=lambda notice: None)  # reported with the file
            durations[task] = [info.duration] * (info.channels if channel == "each" else 1)
    return durations


def _share_threads(threads: int | None, jobs: int) -> None:
    """Set the threads of each process: as given, or an equal share of PyTorch's default."""
    import torch

    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, torch.get_num_threads() // jobs)
    set_threads(threads)


def _to_do(
    durations: dict["Task", list[float]], options: "Options", num_spk: int
) -> list[list[float]]:
    """Return the seconds of each channel of the files that need to be separated."""
    work = []
    for task, channels in durations.items():
        numbers = range(1, len(channels) + 1)
        paths = [path for n in numbers for path in options.paths(task, n, num_spk)]
        with contextlib.suppress(TisdissError):  # reported later
            if task.clash is None and not options.is_settled(paths):
                work.append(channels)
    return work


def _separated(
    model: "SeparateSpeech",
    loading: dict[str, Any],
    tasks: Sequence["Task"],
    options: "Options",
    jobs: int,
    on_progress: Callable[[float], None],
) -> Generator["Outcome", None, None]:
    """Separate the files, in this process or in several.

    Args:
        model: the loaded model, used if there is one job.
        loading: arguments of ``SeparateSpeech.from_pretrained`` for other processes.
        tasks: files to separate.
        options: options of the separation.
        jobs: number of processes.
        on_progress: called with the seconds of audio done since the last call.

    Yields:
        The outcome of each file.
    """
    import torch

    from espnet2_tisdiss.separate.files import separate_files
    from espnet2_tisdiss.separate.jobs import separate_in_jobs

    if jobs == 1:
        yield from separate_files(model, tasks, options, on_progress)
    else:
        threads = torch.get_num_threads()
        yield from separate_in_jobs(loading, tasks, options, jobs, threads, on_progress)


def _files(tasks: Sequence["Task"]) -> str:
    return f"{len(tasks)} file{'s' * (len(tasks) != 1)}"
