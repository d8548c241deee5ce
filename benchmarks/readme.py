"""Make the picture and the table of the README, with the default model.

    python benchmarks/readme.py --page README.md --picture docs/images/example.png

draws spectrograms of the example's mixture and of the two separated voices, and writes the table of
quality, from the model card, and speed, measured here, by depth. The time is CPU time with one
thread, so that other work on the machine hardly affects it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from measuring import begin, count, run_main
from results import check_page, machine, record, table

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.cli.models import described
from espnet2_tisdiss.evaluate.pictures import draw_spectrograms
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, example
from espnet2_tisdiss.recipes.signals import read_signal

MEASURED_SECONDS = 4.0
THREADS = 1


def picture(model: SeparateSpeech) -> bytes:
    """Return spectrograms of the example and of the two voices separated from it."""
    (path,) = (example() / "mix").iterdir()
    mixture = read_signal(str(path)).samples
    voices = model.recording(mixture, model.sample_rate)
    signals = {"recording of two voices": mixture}
    signals |= {f"voice {number}, separated": one for number, one in enumerate(voices, start=1)}
    return draw_spectrograms([signals], model.sample_rate)


def rtfs(model: SeparateSpeech, depths: Sequence[int], repeats: int) -> dict[int, float]:
    """Return the real-time factor at each depth: median seconds of one core per second of audio."""
    mixture = speech_shaped_noise(MEASURED_SECONDS, model.sample_rate)[None]
    times: dict[int, list[float]] = {n_re: [] for n_re in depths}
    model(mixture, fs=model.sample_rate, n_re=max(depths))  # the first run is slower
    for _ in range(repeats):
        for n_re, taken in times.items():
            began = time.process_time()
            model(mixture, fs=model.sample_rate, n_re=n_re)
            taken.append(time.process_time() - began)
    return {n_re: statistics.median(taken) / MEASURED_SECONDS for n_re, taken in times.items()}


def speed_table(scores: Sequence[Sequence[str]], measured: Mapping[int, float]) -> str:
    """Return the table of a model card, header first, with the speed at each of its depths."""
    header, *rows = scores
    lines = [[*row, f"{1 / measured[int(row[0])]:.0f}"] for row in rows]
    return table([*header, "times real time"], lines)


def main(argv: list[str] | None = None) -> None:
    """Draw the picture and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=count, default=5, help="timed runs [%(default)s]")
    parser.add_argument("--picture", type=Path, help="file of the picture, *.png [none]")
    parser.add_argument("--page", type=Path, help="page to write the table to, *.md [none]")
    args = parser.parse_args(argv)
    check_page(args.page, DEFAULT_MODEL)
    begin(THREADS, "cpu")
    model = SeparateSpeech.from_pretrained(dtype="auto")
    if args.picture:
        write_atomically(args.picture, picture(model))
    scores = described(DEFAULT_MODEL)["scores"]
    measured = rtfs(model, [int(row[0]) for row in scores[1:]], args.repeats)
    text = f"{speed_table(scores, measured)}\n{machine(torch.device('cpu'))}"
    if args.page:
        record(args.page, DEFAULT_MODEL, text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    run_main(main)
