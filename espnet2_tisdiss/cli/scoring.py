"""Scoring the mixtures of a data set, for the subcommands that measure a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from espnet2_tisdiss.choices import MOST_AT_ONCE
from espnet2_tisdiss.cli.console import AudioProgress

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.evaluate.by_depth import MixtureScores
    from espnet2_tisdiss.evaluate.mixtures import EvalMixture
    from espnet2_tisdiss.separate.speech import SeparateSpeech

LimitOption = Annotated[
    int | None,
    typer.Option(min=1, help="Use only this many mixtures, evenly spread.", show_default="all"),
]
ResampleOption = Annotated[
    bool, typer.Option("--resample", help="Convert files at other rates to the model's.")
]
RunCommandsOption = Annotated[
    bool,
    typer.Option(
        "--run-commands",
        help="Run the commands in the lists (sph2pipe x.sph |) with your rights; only for "
        "lists that you trust.",
    ),
]
BatchOption = Annotated[
    int, typer.Option(min=1, max=MOST_AT_ONCE, help="Mixtures to separate at once.")
]


def mixtures_of(
    data: Path, model: "SeparateSpeech", limit: int | None, resample: bool, run_commands: bool
) -> list["EvalMixture"]:
    """Return the mixtures of a data set with their lengths, ``limit`` at most."""
    from espnet2_tisdiss.evaluate.mixtures import find_mixtures, with_length

    mixtures = find_mixtures(data, model.num_spk, run_commands)
    if limit is not None and limit < len(mixtures):
        mixtures = [mixtures[index * len(mixtures) // limit] for index in range(limit)]
    rate = None if resample else model.sample_rate
    return [with_length(mixture, rate) for mixture in mixtures]


def score_all(
    model: "SeparateSpeech", mixtures: Sequence["EvalMixture"], **options: Any
) -> list["MixtureScores"]:
    """Score the mixtures, with a progress bar; return the scores in the order of the mixtures.

    After an interrupt, the mixtures that were not reached are missing.

    Args:
        model: the model.
        mixtures: to score.
        **options: of :func:`~espnet2_tisdiss.evaluate.by_depth.score_mixtures`.
    """
    from espnet2_tisdiss.evaluate.by_depth import score_mixtures

    scored: dict[EvalMixture, MixtureScores] = {}
    total = sum(mixture.seconds for mixture in mixtures)
    with AudioProgress.shown(total, count_text(len(mixtures))) as progress:
        try:
            for one in score_mixtures(model, mixtures, **options, on_progress=progress.advance):
                scored[one.mixture] = one
                if one.status != "done":
                    style = "red" if one.status == "failed" else "yellow"
                    progress.print(f"{one.status}: {one.reason}", style)
        except KeyboardInterrupt:
            if not scored:
                raise
    return [scored[mixture] for mixture in mixtures if mixture in scored]


def count_text(mixtures: int) -> str:
    """Return a number of mixtures in words."""
    return f"{mixtures} mixture{'s' * (mixtures != 1)}"
