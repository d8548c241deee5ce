"""``tisdiss separate``: separate recordings into one file per speaker."""

import contextlib
import dataclasses
import functools
import math
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from espnet2_tisdiss.choices import DEFAULT_PROBABILITY, DEFAULT_SCALE, Existing
from espnet2_tisdiss.cli.backends import BackendOption, ModelSource
from espnet2_tisdiss.cli.common_options import (
    LEAST_S,
    DebugOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    KeepRumbleOption,
    ModelOption,
    ModelRateOption,
    ThreadsOption,
    check_numbers,
    parse_decibels,
    parse_depths,
    parse_rate,
    refuse_together,
)
from espnet2_tisdiss.cli.console import AudioProgress, messages, printable, require_folder
from espnet2_tisdiss.cli.report import STYLES, SeparationReport
from espnet2_tisdiss.cli.separate_options import (
    AllDepthsOption,
    BatchOption,
    BitsOption,
    ChannelOption,
    ChunkOption,
    FormatOption,
    JobsOption,
    NReOption,
    OutOption,
    OverlapOption,
    OverwriteOption,
    PatternOption,
    ProbabilityOption,
    RateOption,
    RtfOption,
    RunCommandsOption,
    ScaleOption,
    SchedulerOption,
    SecondsOption,
    ShiftsOption,
    SkipExistingOption,
    SourcesArgument,
    StopDbOption,
    UntilOption,
)
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL
from espnet2_tisdiss.processes import Interruption, terminations

if TYPE_CHECKING:  # importing NumPy takes long
    from espnet2_tisdiss.separate.any_length import RecordingSeparator
    from espnet2_tisdiss.separate.budget import TimeBudget
    from espnet2_tisdiss.separate.file_result import FileResult
    from espnet2_tisdiss.separate.input_files import InputFile
    from espnet2_tisdiss.separate.options import FileOptions

# options of Python by the parameter of the command that gives them
_OPTION_OF = {"chunk_seconds": "chunk", "overlap_seconds": "overlap", "batch_size": "batch"}
_OPTION_OF |= {name: name for name in ("stop_db", "probability", "rtf", "seconds", "all_depths")}
_OPTION_OF |= {name: name for name in ("channel", "scale", "keep_rumble", "shifts", "pattern")}

EXAMPLES = """
[bold]Examples[/bold]

tisdiss separate talk.wav

tisdiss separate -m exp/enh_train recordings/ -o voices --rtf 0.5

tisdiss separate -m model.zip "calls/**/*.wav" --n-re 1,2,4 --scale peak --format flac

tisdiss separate talk.wav --until 10dB --probability 0.9

tisdiss separate -m exp/enh_train wav.scp --stop-db -10 --jobs 4 --skip-existing
"""


def command(
    context: typer.Context,
    sources: SourcesArgument,
    model_name: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    model_rate: ModelRateOption = None,
    batch: BatchOption = 1,
    jobs: JobsOption = 1,
    scheduler: SchedulerOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    n_re: NReOption = None,
    all_depths: AllDepthsOption = False,
    rtf: RtfOption = None,
    seconds: SecondsOption = None,
    stop_db: StopDbOption = None,
    until: UntilOption = None,
    probability: ProbabilityOption = DEFAULT_PROBABILITY,
    shifts: ShiftsOption = 1,
    run_commands: RunCommandsOption = False,
    channel: ChannelOption = "mean",
    scale: ScaleOption = DEFAULT_SCALE,
    chunk: ChunkOption = None,
    overlap: OverlapOption = None,
    keep_rumble: KeepRumbleOption = False,
    out: OutOption = Path("separated"),
    pattern: PatternOption = None,
    container: FormatOption = "wav",
    bits: BitsOption = None,
    rate: RateOption = "same",
    overwrite: OverwriteOption = False,
    skip_existing: SkipExistingOption = False,
) -> None:
    """Separate recordings of any length and sample rate into one file per speaker."""
    from espnet2_tisdiss.separate.input_files import durations_of
    from espnet2_tisdiss.separate.names import with_refusals

    options = _options(context.params)
    refuse_together({"--scheduler": scheduler is not None, "--jobs": jobs > 1})
    refuse_together({"--scheduler": scheduler is not None, "--seconds": seconds is not None})
    inputs = _inputs(context, options)
    durations = durations_of(inputs, channel)
    source = ModelSource.chosen(backend, model_name, device, dtype, model_rate, threads)
    model = source.load_for_command()
    options = options.for_model(model)
    durations = with_refusals(durations, options, model.num_spk)
    separated = _separation(model, source, durations, options, jobs, scheduler)
    report = SeparationReport(model.sample_rate, options)
    with report.printed_at_end(as_json):
        _separate_all(separated, report, len(durations), sum(map(sum, durations.values())))
    if report.count("failed"):
        raise typer.Exit(1)


def _inputs(context: typer.Context, options: "FileOptions") -> list["InputFile"]:
    """Return the files of the command's arguments, with what streams hold copied to files.

    Raises:
        TisdissError: there is nothing to separate, or the folder cannot be written.
    """
    from espnet2_tisdiss.cli.input_arguments import find_inputs, without_separated
    from espnet2_tisdiss.cli.streams import copied_streams

    given = context.params
    out = given["out"]
    if str(out) == "-":
        raise TisdissError("--out -: each speaker becomes a file; give a folder")
    found = find_inputs(given["sources"], out, given["run_commands"])
    for notice in found.notices:
        messages.print(printable(notice), markup=False, highlight=False)
    names, suffix = options.file_names, options.output.suffix
    inputs = without_separated(found.inputs, names, suffix, given["skip_existing"])
    require_folder(out)
    return context.with_resource(copied_streams(inputs, out))


def _separation(
    model: "RecordingSeparator",
    source: ModelSource,
    durations: Mapping["InputFile", list[float]],
    options: "FileOptions",
    jobs: int,
    scheduler: str | None,
) -> Callable[[Callable[[float], None]], Generator["FileResult", None, None]]:
    """Return what separates the files when it is called with what takes the seconds done."""
    from espnet2_tisdiss.separate.input_files import to_separate

    inputs = list(durations)
    # batches of similar lengths; no job is left with a long file at the end
    if options.batch_size > 1 or jobs > 1:
        inputs.sort(key=durations.__getitem__, reverse=True)
    if scheduler is not None:
        files = {item: durations[item] for item in inputs}
        return functools.partial(_on_cluster, scheduler, model, source, files, options)
    to_do = to_separate(durations, options, model.num_spk)
    # a process without work would occupy a share of the threads
    jobs = max(1, min(jobs, len(to_do)))
    budget = options.budget(to_do, model.sample_rate, jobs)
    return functools.partial(_separated, model, source, inputs, options, jobs, budget)


def _options(given: Mapping[str, Any]) -> "FileOptions":
    """Return the options of the separation by their Python names, from those of the command.

    Raises:
        TisdissError: an option is wrong, or options exclude each other.
    """
    from espnet2_tisdiss.audio.writing import OutputFormat
    from espnet2_tisdiss.separate.options import FileOptions

    depths, until_db = parse_depths(given["n_re"]), parse_decibels("--until", given["until"])
    _check_depth_options(depths, given)
    check_numbers(LEAST_S, {"--chunk": given["chunk"]})
    check_numbers(0, {"--overlap": given["overlap"]})
    chosen = {field: given[option] for field, option in _OPTION_OF.items()}
    chosen |= {
        "n_re": depths or None,
        "until_db": until_db,
        "output": OutputFormat(given["container"], given["bits"]),
        "rate": parse_rate(given["rate"]),
        "existing": _existing(given["overwrite"], given["skip_existing"]),
    }
    return FileOptions(**{name: value for name, value in chosen.items() if value is not None})


def _check_depth_options(depths: Sequence[int], given: Mapping[str, Any]) -> None:
    """Raise TisdissError if depth options exclude each other or are out of range."""
    limits = {"--stop-db": given["stop_db"], "--until": given["until"]}
    limits |= {"--rtf": given["rtf"], "--seconds": given["seconds"]}
    chosen = {name: value is not None for name, value in limits.items()}
    chosen["--all-depths"] = given["all_depths"]
    refuse_together(chosen)
    if len(depths) > 1 and any(chosen.values()):
        raise TisdissError(f"several --n-re cannot be combined with {', '.join(sorted(chosen))}")
    check_numbers(0, {name: limits[name] for name in ("--rtf", "--seconds")})
    check_numbers(-math.inf, {"--stop-db": given["stop_db"]})


def _existing(overwrite: bool, skip_existing: bool) -> Existing:
    """Return the value of ``if_exists``, what to do if an output file exists."""
    refuse_together({"--overwrite": overwrite, "--skip-existing": skip_existing})
    if overwrite:
        return "overwrite"
    return "skip" if skip_existing else "refuse"


def _separate_all(
    separated: Callable[[Callable[[float], None]], Generator["FileResult", None, None]],
    report: SeparationReport,
    files: int,
    seconds: float,
) -> None:
    """Report the results of ``separated``, which gets a callback for the seconds done."""
    with (
        Interruption.caught(signal.SIGINT, *terminations()) as interruption,
        AudioProgress.shown(seconds, f"{files} file{'s' * (files != 1)}") as progress,
    ):

        def advance(done: float) -> None:
            interruption.check()
            progress.advance(done)

        with contextlib.closing(separated(advance)) as results:
            for result in results:
                progress.print(report.add(result), STYLES[result.status])


def _on_cluster(
    scheduler: str,
    model: "RecordingSeparator",
    source: ModelSource,
    durations: Mapping["InputFile", list[float]],
    options: "FileOptions",
    on_progress: Callable[[float], None],
) -> Generator["FileResult", None, None]:
    """Separate the files on the cluster of a scheduler; otherwise like :func:`_separated`."""
    from espnet2_tisdiss.cluster import joined
    from espnet2_tisdiss.separate.on_cluster import separate_on_cluster

    load = dataclasses.replace(source, threads=source.share_of_threads(1)).load
    with joined(scheduler) as cluster:
        yield from separate_on_cluster(cluster, model, load, durations, options, on_progress)


def _separated(
    model: "RecordingSeparator",
    source: ModelSource,
    inputs: Sequence["InputFile"],
    options: "FileOptions",
    jobs: int,
    budget: "TimeBudget | None",
    on_progress: Callable[[float], None],
) -> Generator["FileResult", None, None]:
    """Separate the files, in this process or in several.

    Args:
        model: the loaded model, used if there is one job.
        source: loads the model in other processes.
        inputs: files to separate.
        options: options of the separation, for this model.
        jobs: number of processes.
        budget: the time of each process that limits the depth, if any.
        on_progress: called with the seconds of audio done since the last call.

    Yields:
        The result of each file.
    """
    from espnet2_tisdiss.separate.files import separate_files
    from espnet2_tisdiss.separate.jobs import separate_in_jobs

    if jobs == 1:
        yield from separate_files(model, inputs, options, budget, on_progress)
        return
    load = dataclasses.replace(source, threads=source.share_of_threads(jobs)).load
    yield from separate_in_jobs(load, inputs, options, jobs, budget, on_progress)
