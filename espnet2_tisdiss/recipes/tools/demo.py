#!/usr/bin/env python3
"""Separate the package's example with the package's model at several depths, and show the result.

The separated files, the sources and a picture of spectrograms go to a folder; a table shows quality
and speed by depth.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.cli.console import machine, print_facts, print_table, require_folder
from espnet2_tisdiss.cli.model_loading import load_for_command
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.by_depth import Score, score_mixtures
from espnet2_tisdiss.evaluate.conditions import Conditions
from espnet2_tisdiss.evaluate.cost import count_cost
from espnet2_tisdiss.evaluate.mixtures import EvalMixture, find_mixtures
from espnet2_tisdiss.evaluate.pictures import draw_spectrograms
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, example
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.signals import read_signal, write_signal
from espnet2_tisdiss.separate.loudness import headroom_gain

if TYPE_CHECKING:  # loading imports it without ESPnet's messages about optional packages
    from espnet2_tisdiss.separate.speech import SeparateSpeech

DEPTHS = (1, 2, 4, 6)
REPEATS = 5
PICTURE = "spectrograms.png"


def score(model: SeparateSpeech, mixture: EvalMixture) -> list[Score]:
    """Return the mixture's scores by depth, with the median RTF of several runs."""
    results = list(score_mixtures(model, [mixture] * REPEATS, DEPTHS))
    if results[0].status != "done":
        raise TisdissError(results[0].reason)
    by_depth = zip(*(result.scores for result in results), strict=True)
    return [
        dataclasses.replace(scores[0], rtf=median(one.rtf for one in scores)) for scores in by_depth
    ]


def separate(
    model: SeparateSpeech, samples: np.ndarray, scores: Sequence[Score]
) -> dict[int, np.ndarray]:
    """Return the estimates (j, n) by depth from one run, in the order of the sources.

    They are as loud as in the mixture, so that they can be listened to.
    """
    waves = model.depths([samples], DEPTHS)
    return {one.n_re: waves[one.n_re][0][np.array(one.order) - 1] for one in scores}


def write_files(
    out: Path, rate: int, signals: Sequence[np.ndarray], estimates: dict[int, np.ndarray]
) -> None:
    """Write the signals, mixture first, the estimates and the picture into a folder."""
    mixture, *sources = signals
    named = {"mixture": mixture}
    rows = []
    for speaker, source in enumerate(sources, start=1):
        own = {f"source{speaker}": source}
        own |= {f"re{n_re}_spk{speaker}": waves[speaker - 1] for n_re, waves in estimates.items()}
        named |= own
        titles = ["mixture", f"source {speaker}", *(f"N_re {n_re}" for n_re in estimates)]
        rows.append(dict(zip(titles, [mixture, *own.values()], strict=True)))
    for name, samples in named.items():
        fitting = samples * headroom_gain(float(np.abs(samples).max()))
        write_signal(out / f"{name}.wav", fitting, rate, "PCM_16")
    write_atomically(out / PICTURE, draw_spectrograms(rows, rate))


def demonstrate(out: Path) -> None:
    """Separate, write the files and print the table."""
    require_folder(out)
    model = load_for_command(DEFAULT_MODEL, "auto", "float32", None)
    (mixture,) = find_mixtures(example(), model.num_spk)
    scores = score(model, mixture)
    signals = [read_signal(str(path)).samples for path in (mixture.path, *mixture.references)]
    estimates = separate(model, signals[0], scores)
    write_files(out, model.sample_rate, signals, estimates)
    cost = count_cost(model, DEPTHS)
    conditions = dataclasses.asdict(Conditions.of(model))
    print_facts(
        {
            "mixture": f"{mixture.path}, {len(signals[0]) / model.sample_rate:.1f} s",
            "trained at": f"N_re {model.separator.config.reconstructor_repeat_times}; more "
            "repetitions hardly help (the model card has averages over many mixtures)",
            "measured on": machine(conditions),
            "RTF": "seconds of work per second of audio, up to each depth of one run; median of "
            f"{REPEATS} runs after a warm-up",
        }
    )
    print_table(
        ["N_re", "SI-SNRi, dB", "GMAC/s", "RTF", "times real time"],
        [
            [
                str(one.n_re),
                f"{one.si_snri:.2f}",
                f"{cost[one.n_re] / 1e9:.2f}",
                f"{one.rtf:.3g}",
                f"{1 / one.rtf:.3g}",
            ]
            for one in scores
        ],
    )
    print(
        f"to listen to: {out}/mixture.wav, source1.wav, re1_spk1.wav, re{DEPTHS[-1]}_spk1.wav, ..."
    )
    print(f"to look at:   {out / PICTURE}")
    print("your own:     .venv/bin/tisdiss separate FILE")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder to write to")
    demonstrate(parser.parse_args().out)


if __name__ == "__main__":
    sys.exit(run_main("demo", main))
