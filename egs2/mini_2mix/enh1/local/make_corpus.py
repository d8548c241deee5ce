"""Make the mini_2mix corpus: two-speaker mixtures of synthesised speech, and its data directories.

Run by ``local/data.sh`` from the recipe folder.  What is finished is not made again, so an
interrupted run is simply started again; the same size and seed give the same files however many
processes make them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import voices
from corpus_plan import SIZES, Plan, Size, make_plan
from data_lists import make_data_dirs
from datadir import DataError, run_main, write_aside, write_scp
from mixtures import check_mixture, make_mixture, write_mixture_list
from parallel import map_in_processes
from speech_files import SAMPLE_RATE
from synthesis import require_espeak, speak_utterances

# To be raised whenever the same size and seed begin to give other files than before.
RECIPE_VERSION = 1


def make_corpus(
    size: Size, seed: int, corpus: Path, data: Path, recipe: Path, processes: int, suffix: str = ""
) -> str:
    """Make the corpus in ``corpus`` and its data directories in ``data``.

    Paths in the data directories are relative to ``recipe`` if the corpus is inside that folder;
    ``suffix`` is added to their names.

    Returns:
        A line that says what there is now.

    Raises:
        DataError: the folder holds another corpus, or something could not be made.
    """
    require_espeak()
    plan = make_plan(size, seed, flite=open_corpus(corpus, size, seed))
    seconds = fill_corpus(plan, corpus, seed, processes)
    counts = make_data_dirs(corpus, data, recipe, plan.mixtures, suffix)
    sets = ", ".join(f"{data / split} {count}" for split, count in counts.items())
    return f"{corpus}: {len(plan.voices)} voices, {seconds / 3600:.2f} hours of mixtures ({sets})"


def open_corpus(corpus: Path, size: Size, seed: int) -> list[str]:
    """Note in the folder which corpus it holds, or check that it is this one.

    Returns:
        The voices of flite that take part, which is settled when the folder is new.

    Raises:
        DataError: the folder holds another corpus, or was begun with flite, which is gone.
    """
    identity = {"size": size.name, "seed": seed, "recipe_version": RECIPE_VERSION}
    note = corpus / "corpus.json"
    if not note.exists():
        flite = voices.installed_flite_voices()
        with write_aside(note) as aside:
            aside.write_text(json.dumps(identity | {"flite": flite}) + "\n", encoding="utf-8")
        return flite
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        flite = found.pop("flite")
    except (ValueError, KeyError, AttributeError):
        raise DataError(f"{note}: not readable: remove the folder {corpus}") from None
    if found != identity:
        raise DataError(
            f"{corpus} holds another corpus ({_words(found)}; wanted: {_words(identity)}): "
            "give another folder with --corpus, or remove this one"
        )
    if missing := set(flite) - set(voices.installed_flite_voices()):
        raise DataError(
            f"{corpus} was begun with flite's voices, but flite no longer has "
            f"{', '.join(sorted(missing))}: install it again, or give another folder with --corpus"
        )
    return flite


def _words(identity: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in identity.items())


def fill_corpus(plan: Plan, corpus: Path, seed: int, processes: int) -> float:
    """Make and check everything in the corpus folder that is not there yet.

    Returns:
        Seconds of mixtures.

    Raises:
        DataError: something could not be made, or a file does not pass its check.
    """
    speak = partial(speak_utterances, corpus, size=plan.size, seed=seed)
    turns = [(voice, plan.utterances[voice.speaker]) for voice in plan.voices]
    text: dict[str, str] = {}
    for said in map_in_processes(speak, turns, processes, "voices"):
        text.update(said)
    for _ in map_in_processes(partial(make_mixture, corpus), plan.mixtures, processes, "mixtures"):
        pass
    check = partial(check_mixture, corpus)
    samples = sum(map_in_processes(check, plan.mixtures, processes, "check"))
    write_scp(corpus / "text", text)
    voices.write_voices(corpus / "voices.tsv", list(plan.voices))
    for split in voices.SPLITS:
        write_mixture_list(corpus, split, (m for m in plan.mixtures if m.split == split))
    return samples / SAMPLE_RATE


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="local/data.sh",
        description="Make a two-speaker corpus of synthesised speech and its data directories "
        "data/train, data/valid and data/test. A run that was interrupted is simply repeated.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sizes = "; ".join(
        f"{name}: {size.voices} voices, {size.train} / {size.valid} / {size.test} mixtures"
        for name, size in SIZES.items()
    )
    parser.add_argument("--size", choices=SIZES, default="default", help=sizes)
    parser.add_argument("--seed", type=int, default=0, help="another seed, another corpus")
    parser.add_argument("--nj", type=_positive, default=2, help="number of processes")
    parser.add_argument(
        "--corpus", type=Path, help="folder of the corpus (default: downloads/mini_<size>_<seed>)"
    )
    parser.add_argument("--suffix", default="", help="added to the names of the data directories")
    return parser.parse_args()


def main() -> None:
    """Run the command line; a line on stdout says what was made."""
    arguments = _parse_arguments()
    recipe = Path.cwd()
    corpus = arguments.corpus or Path("downloads") / f"mini_{arguments.size}_{arguments.seed}"
    size = SIZES[arguments.size]
    data, nj, suffix = Path("data"), arguments.nj, arguments.suffix
    print(make_corpus(size, arguments.seed, corpus, data, recipe, nj, suffix))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
