"""``tisdiss separate``: recordings into one file for each speaker."""

import contextlib
import dataclasses
import heapq
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
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
    load_model,
    messages,
    parse_depths,
    print_json,
    print_table,
    refuse_together,
    require_folder,
    set_threads,
)
from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:  # these bring PyTorch and ESPnet, which takes seconds
    from espnet2_tisdiss.files import Options, Outcome, Task
    from espnet2_tisdiss.inference import SeparateSpeech
    from espnet2_tisdiss.recordings import Depths
    from espnet2_tisdiss.stitching import Chunking

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
    refuse_together(
        {
            "--rtf": rtf is not None,
            "--seconds": seconds is not None,
            "--stop-db": stop_db is not None,
            "--all-depths": all_depths,
        }
    )
    _check_numbers(LEAST_S, {"--chunk": chunk})
    _check_numbers(0, {"--rtf": rtf, "--seconds": seconds, "--overlap": overlap})
    _check_numbers(-math.inf, {"--stop-db": stop_db})
    wanted = parse_depths(n_re)
    if len(wanted) > 1 and (all_depths, rtf, seconds, stop_db) != (False, None, None, None):
        raise TisdissError(
            "several --n-re go with none of --all-depths, --rtf, --seconds, --stop-db"
        )
    from espnet2_tisdiss.audio import OutputFormat
    from espnet2_tisdiss.cli.inputs import find_tasks, without_separated
    from espnet2_tisdiss.files import Options, full_pattern
    from espnet2_tisdiss.scaling import DEFAULT_SCALE
    from espnet2_tisdiss.stitching import CHUNK_SECONDS, Chunking

    output = OutputFormat(container, bits or ("float" if container == "wav" else "24"))
    names = full_pattern(pattern, channel, len(wanted) > 1 or all_depths)
    tasks = without_separated(find_tasks(sources, out), names, output.suffix, skip_existing)
    require_folder(out)
    durations = _durations(tasks, channel)
    if batch > 1 or jobs > 1:  # like to like in a batch, and no long one last
        tasks.sort(key=durations.__getitem__, reverse=True)
    separator = load_model(model, device, dtype, model_rate)
    chunking = Chunking.in_seconds(separator.sample_rate, chunk or CHUNK_SECONDS, overlap)
    scale = scale or DEFAULT_SCALE
    existing = "overwrite" if overwrite else "skip" if skip_existing else "refuse"
    depths = _depths(separator, wanted, all_depths, stop_db)
    options = Options(depths, chunking, channel, scale, output, names, existing, batch)
    to_do = _to_do(durations, options, separator.num_spk)
    jobs = max(1, min(jobs, len(to_do)))  # no process, and no share of threads, without work
    _share_threads(threads, jobs)
    if (rtf, seconds) != (None, None):
        budget = {"rtf": rtf, "seconds": seconds, "most": max(wanted, default=None)}
        depths = _depth_within(separator, to_do, chunking, jobs, budget)
        options = dataclasses.replace(options, depths=depths)
    total = sum(map(sum, durations.values()))
    loading = {"name": model, "device": separator.device, "dtype": dtype, "sample_rate": model_rate}
    report = _Report(separator.sample_rate, channel, depths, scale)
    with report.shown_at_the_end(as_json), AudioProgress.shown(total, _files(tasks)) as progress:
        separated = _separated(separator, loading, tasks, options, jobs, progress.advance)
        with contextlib.closing(separated):
            for outcome in separated:
                progress.tell(report.add(outcome), _STYLES[outcome.status])
    if report.count("failed"):
        raise typer.Exit(1)


def _check_numbers(least: float, options: dict[str, float | None]) -> None:
    """Raise TisdissError if an option that is given is no number, or is less than ``least``."""
    for name, value in options.items():
        if value is not None and not least <= value < math.inf:
            raise TisdissError(f"{name} {value:g}: expected a number from {least:g} on")


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


def _work(
    durations: Sequence[Sequence[float]], chunking: "Chunking", rate: int, jobs: int
) -> float:
    """Return how many seconds a process separates for a second of the audio there is in all.

    More than 1, as what chunks share is separated twice; but several processes share the files,
    the longest first.
    """
    loads = [0.0] * jobs
    each = (sum(chunking.separated(rate * one) / rate for one in file) for file in durations)
    for seconds in sorted(each, reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    total = sum(map(sum, durations))
    return max(loads) / total if total else 1.0


def _depths(
    separator: "SeparateSpeech",
    wanted: Sequence[int],
    all_depths: bool,
    stop_db: float | None,
) -> "Depths":
    """Return the depths that the options ask for, apart from a budget of time."""
    from espnet2_tisdiss.recordings import Depths

    last = separator.resolve_depth(max(wanted, default=None))
    if all_depths:
        return Depths(tuple(range(1, last + 1)))
    return Depths(tuple(wanted or [last]), stop_db)


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


def _depth_within(
    separator: "SeparateSpeech",
    to_do: Sequence[Sequence[float]],
    chunking: "Chunking",
    jobs: int,
    budget: dict[str, Any],
) -> "Depths":
    """Return the depth that fits a time.

    Args:
        separator: the model.
        to_do: seconds of each channel of the files to be separated.
        chunking: how they are cut.
        jobs: processes.
        budget: ``rtf``, ``seconds`` and ``most``, as for the model's method.
    """
    from espnet2_tisdiss.recordings import Depths

    rate = separator.sample_rate
    if budget["seconds"] is not None:
        budget = {**budget, "duration": max(sum(map(sum, to_do)), LEAST_S)}
    work = _work(to_do, chunking, rate, jobs)
    with messages.status("calibrating, once for this model and machine"):
        chunk = chunking.length / rate
        return Depths((separator.depth_within(**budget, work=work, chunk_seconds=chunk),))


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


_STYLES = {"done": None, "skipped": "dim", "failed": "red"}


class _Report:
    """What is told of the files: a line of each, and a summary.

    Args:
        model_rate: the model's sample rate in Hz.
        channel: what was separated of several channels.
        depths: how deep they were separated.
        scale: how loud the separated files are.
    """

    def __init__(self, model_rate: int, channel: str, depths: "Depths", scale: str):
        self._model_rate, self._channel = model_rate, channel
        self._depths, self._scale = depths, scale
        self._is_interrupted = False
        self._outcomes: list[Outcome] = []
        self._began = time.monotonic()

    def add(self, outcome: "Outcome") -> str:
        """Take what became of a file, and say it in one line."""
        self._outcomes.append(outcome)
        return printable(self._line(outcome))

    def count(self, status: str) -> int:
        """Return the number of files that this became of."""
        return sum(outcome.status == status for outcome in self._outcomes)

    @contextlib.contextmanager
    def shown_at_the_end(self, as_json: bool) -> Iterator[None]:
        """Show the report at the end of the block, and when it is interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            self._is_interrupted = True
            raise
        finally:
            self._show(as_json)

    def _show(self, as_json: bool) -> None:
        """Print the summary, or everything as JSON."""
        done = [outcome for outcome in self._outcomes if outcome.status == "done"]
        audio = sum(outcome.seconds * outcome.separated_channels for outcome in done)
        summary = {status: self.count(status) for status in _STYLES}
        summary |= {"seconds_of_audio": audio, "seconds_of_work": time.monotonic() - self._began}
        if as_json:
            files = [dataclasses.asdict(outcome) for outcome in self._outcomes]
            summary |= {"n_re": self._depths.n_re, "interrupted": self._is_interrupted}
            print_json({"files": files, "summary": summary})
            return
        speed = audio / max(summary["seconds_of_work"], 1e-3)
        counts = [str(summary[status]) for status in _STYLES]
        times = [f"{audio:.1f} s", f"{summary['seconds_of_work']:.1f} s", f"{speed:.1f}x real time"]
        print_table([*_STYLES, "audio", "time", "speed", "N_re"], [[*counts, *times, self._used()]])
        if any(outcome.peak > 1 and outcome.gain == 1 for outcome in done):
            choice = "--scale level, or peak" if self._scale == "estimate" else "--scale peak"
            messages.print(f"Samples go beyond full scale; to listen: {choice}.")
        stop_db, last = self._depths.stop_db, self._depths.n_re[-1]
        if stop_db is not None and done and min(n for one in done for n in one.n_re) == last > 1:
            messages.print(
                f"--stop-db {stop_db:g} stopped nothing before N_re {last}; "
                "tisdiss sweep tells by how many dB each repetition changes the estimates."
            )

    def _line(self, outcome: "Outcome") -> str:
        """Say what became of a file."""
        if outcome.status == "failed":
            return f"failed: {outcome.reason}"
        if outcome.status == "skipped":
            return f"skipped: {outcome.source}: {outcome.outputs[0]} is there"
        parts = [f"{outcome.seconds:.1f} s", f"N_re {_span(outcome.n_re)}"]
        if outcome.channels > 1:
            parts.append(f"{self._channel} of {outcome.channels} channels")
        if outcome.rate != self._model_rate:
            parts.append(f"resampled from {outcome.rate} to {self._model_rate} Hz and back")
            if outcome.rate > self._model_rate:
                parts[-1] += f", nothing above {self._model_rate / 2000:g} kHz"
        if outcome.gain < 1:
            parts.append(f"turned down by {_decibels(1 / outcome.gain):.1f} dB, not to clip")
        elif outcome.peak > 1:
            parts.append(f"peak {_decibels(outcome.peak):+.1f} dB over full scale")
        more = len(outcome.outputs) - 1
        return f"{outcome.source} -> {outcome.outputs[0]} and {more} more: {', '.join(parts)}"

    def _used(self) -> str:
        """Say which repetitions were run."""
        if len(self._depths.n_re) > 1:
            return ", ".join(map(str, self._depths.n_re))
        return _span([n_re for outcome in self._outcomes for n_re in outcome.n_re])


def _span(numbers: Sequence[int]) -> str:
    """Return ``3``, or ``2 to 5``; nothing of none."""
    return " to ".join(map(str, sorted({min(numbers), max(numbers)}))) if numbers else ""


def _decibels(ratio: float) -> float:
    return 20 * math.log10(ratio)


def printable(text: str) -> str:
    """Return a text in one line that every terminal can show: file names may hold anything."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
