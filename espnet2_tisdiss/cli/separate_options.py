"""The options of ``tisdiss separate`` that no other subcommand has."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from espnet2_tisdiss.choices import MOST_AT_ONCE, Channel, Scale

# panels of the help text
_DEPTH: dict[str, Any] = {"rich_help_panel": "Depth"}
_AUDIO: dict[str, Any] = {"rich_help_panel": "Audio"}
_OUTPUT: dict[str, Any] = {"rich_help_panel": "Output"}

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE|DIR|GLOB|SCP...",
        help="Recordings: files, folders, patterns in quotes, or Kaldi lists (*.scp); - is "
        "standard input.",
    ),
]
BatchOption = Annotated[
    int, typer.Option(min=1, max=MOST_AT_ONCE, help="Chunks to separate at once.")
]
JobsOption = Annotated[
    int, typer.Option(min=1, max=MOST_AT_ONCE, help="Parallel processes, which share the cores.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Separate on a Dask cluster: the address of its scheduler, such as tcp://host:8786. "
        "Its workers need the same files at the same paths.",
        show_default="this machine",
    ),
]

NReOption = Annotated[
    str | None,
    typer.Option(
        help="Repetitions (depth); several (1,2,4) write a set of files each. With the options "
        "below: the maximum.",
        show_default="as trained",
        **_DEPTH,
    ),
]
AllDepthsOption = Annotated[
    bool, typer.Option("--all-depths", help="Write every depth up to --n-re.", **_DEPTH)
]
RtfOption = Annotated[
    float | None,
    typer.Option(
        help="Go as deep as this real-time factor (seconds of computation per second of audio) "
        "allows, chunk by chunk; at most a third deeper than in training.",
        **_DEPTH,
    ),
]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        help="Go as deep as this many seconds of computation in total allow; same limit as --rtf.",
        **_DEPTH,
    ),
]
StopDbOption = Annotated[
    float | None,
    typer.Option(
        help="Stop when a repetition changes the estimate by less than this, in dB relative to it, "
        "such as -10; see the column change of tisdiss sweep.",
        **_DEPTH,
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        metavar="DB",
        help="Stop when a chunk has probably reached this SI-SNR, such as 10dB, as predicted from "
        "its estimates; for models with a calibration.yaml (tisdiss calibrate).",
        **_DEPTH,
    ),
]
ProbabilityOption = Annotated[
    float,
    typer.Option(min=0.01, max=0.99, help="Probability that --until is reached.", **_DEPTH),
]

ShiftsOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=MOST_AT_ONCE,
        help="Separate this many shifted copies of each chunk and average them: 2 are better than "
        "1 and take twice the time; more gain little.",
        **_DEPTH,
    ),
]

RunCommandsOption = Annotated[
    bool,
    typer.Option(
        "--run-commands",
        help="Run the commands in lists (sph2pipe x.sph |) with your rights; only for lists that "
        "you trust.",
        **_AUDIO,
    ),
]
ChannelOption = Annotated[
    Channel, typer.Option(help="What to separate in files with several channels.", **_AUDIO)
]
ScaleOption = Annotated[
    Scale,
    typer.Option(
        help="Level of the output: as estimated, a peak of 0.9, the level in the mixture, or "
        "a level at which the speakers sum to the mixture, including noise.",
        **_AUDIO,
    ),
]
ChunkOption = Annotated[
    float | None,
    typer.Option(
        help="Length in seconds of the chunks that longer recordings are cut into.",
        show_default="8",
        **_AUDIO,
    ),
]
OverlapOption = Annotated[
    float | None,
    typer.Option(
        help="Overlap of neighbouring chunks in seconds.",
        show_default="a quarter of a chunk",
        **_AUDIO,
    ),
]

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.", **_OUTPUT)]
PatternOption = Annotated[
    str | None,
    typer.Option(
        help="File names, made from {name}, {ext}, {speaker}, {channel} and {n_re}.",
        show_default="{name}_spk{speaker}",
        **_OUTPUT,
    ),
]
FormatOption = Annotated[
    Literal["wav", "flac", "mp3", "ogg", "opus"],
    typer.Option("--format", help="Format of the files.", **_OUTPUT),
]
BitsOption = Annotated[
    Literal["16", "24", "float"] | None,
    typer.Option(
        help="Sample format of wav and flac files.", show_default="float; 24 for flac", **_OUTPUT
    ),
]
RateOption = Annotated[
    str,
    typer.Option(
        metavar="same|model|HZ",
        help="Sample rate of the files: that of the recording, of the model, or in Hz.",
        **_OUTPUT,
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing files.", **_OUTPUT)
]
SkipExistingOption = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Skip recordings whose output files all exist.", **_OUTPUT
    ),
]
