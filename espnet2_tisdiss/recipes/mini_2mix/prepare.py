"""Make the mini_2mix corpus: two-speaker mixtures of synthesised speech, and its data directories.

Run by ``local/data.sh`` from the recipe folder.  Finished files are kept, so an interrupted run can
be repeated. The same size and seed give the same files with any number of processes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.recipes.corpora.files import Version, require_package
from espnet2_tisdiss.recipes.mini_2mix import festival, flite, voices
from espnet2_tisdiss.recipes.mini_2mix.data_lists import make_data_dirs
from espnet2_tisdiss.recipes.mini_2mix.mixtures import (
    check_mixture,
    make_mixture,
    write_mixture_lists,
)
from espnet2_tisdiss.recipes.mini_2mix.plan import Plan, made_sets, make_plan
from espnet2_tisdiss.recipes.mini_2mix.rooms import make_room
from espnet2_tisdiss.recipes.mini_2mix.sizes import SIZES, Size
from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE
from espnet2_tisdiss.recipes.mini_2mix.synthesis import speak_utterances
from espnet2_tisdiss.recipes.parallel import map_in_processes
from espnet2_tisdiss.recipes.program import data_parser, positive, run_main
from espnet2_tisdiss.user_files import read_json

# increased whenever the same size and seed give other files than before
RECIPE_VERSION = 1

# used if they are installed
ENGINES = {"flite": flite, "festival": festival}


def make_corpus(
    size: Size,
    seed: int,
    corpus: Path,
    data: Path,
    recipe: Path,
    processes: int,
    suffix: str = "",
    mode: Version = "min",
) -> str:
    """Make the corpus in ``corpus`` and its data directories in ``data``.

    Paths in the data directories are relative to ``recipe`` if the corpus is inside that folder;
    ``suffix`` is added to their names. In the mode ``max``, which cuts no words, they include
    transcripts, and there are sets of single utterances.

    Returns:
        A line about what was made, and one for each missing engine.
    """
    require_package("espeakng-loader", "the voices")
    engines = open_corpus(corpus, size, seed)
    plan = make_plan(size, seed, **engines)
    if any(mixture.place for mixture in plan.mixtures):
        require_package("pyroomacoustics", "the rooms")
    seconds = fill_corpus(plan, corpus, seed, processes, mode)
    counts = make_data_dirs(corpus, data, recipe, plan.by_set, suffix, mode)
    sets = ", ".join(f"{data / split} {count}" for split, count in counts.items())
    made = f"{corpus}: {len(plan.voices)} voices, {seconds / 3600:.2f} hours of mixtures ({sets})"
    return "\n".join([made, *_missing_engines(size, engines)])


def _missing_engines(size: Size, engines: Mapping[str, Sequence[str]]) -> list[str]:
    lines = []
    if not engines["flite"]:
        lines.append("without flite: all training voices are from espeak-ng")
    made = made_sets(size, engines.get("festival", ()))
    lines += [f"without festival: {s.name} is not made" for s in size.sets if s not in made]
    return lines


def test_set_names(corpus: Path, size: Size, seed: int, suffix: str) -> list[str]:
    """Return the test sets that a corpus has or would have, without making anything."""
    engines = settled_engines(corpus, size, seed) or installed_engines(size)
    made = made_sets(size, engines.get("festival", ()))
    return [f"{s.name}{suffix}" for s in made if s.split == "test"]


def installed_engines(size: Size) -> dict[str, list[str]]:
    """Ask each engine that may be used for its voices."""
    return {name: ENGINES[name].installed() for name in size.optional_engines}


def open_corpus(corpus: Path, size: Size, seed: int) -> dict[str, list[str]]:
    """Record in the folder which corpus it holds, or check that it holds this one.

    Returns:
        The voices of flite and festival that are used; they are chosen when the folder is new.
    """
    note = corpus / "corpus.json"
    settled = settled_engines(corpus, size, seed)
    present = installed_engines(size)
    if settled is None:
        write_atomically(note, json.dumps(_identity(size, seed) | present) + "\n")
        return present
    for name, begun_with in settled.items():
        if missing := set(begun_with) - set(present[name]):
            raise TisdissError(
                f"{corpus} was begun with {name}'s voices, but {name} no longer has "
                f"{', '.join(sorted(missing))}: install it again, or give another folder with "
                "--corpus"
            )
    return settled


def settled_engines(corpus: Path, size: Size, seed: int) -> dict[str, list[str]] | None:
    """Read which voices of flite and festival a corpus uses; ``None`` if it is new.

    Raises:
        TisdissError: the folder holds another corpus.
    """
    identity = _identity(size, seed)
    note = corpus / "corpus.json"
    if not note.exists():
        return None
    try:
        found = read_json(note)
        engines = {name: found.pop(name) for name in ENGINES if name in found}
    except TisdissError:
        raise TisdissError(f"{note}: not readable: remove the folder {corpus}") from None
    if found != identity:
        raise TisdissError(
            f"{corpus} holds another corpus ({_words(found)}; wanted: {_words(identity)}): "
            "give another folder with --corpus, or remove this one, and what was made of it in "
            "data, dump and exp"
        )
    if engines.keys() != set(size.optional_engines):
        raise TisdissError(f"{note}: not readable: remove the folder {corpus}")
    return engines


def _identity(size: Size, seed: int) -> dict[str, object]:
    return {"size": size.name, "seed": seed, "recipe_version": RECIPE_VERSION}


def _words(identity: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in identity.items())


def fill_corpus(plan: Plan, corpus: Path, seed: int, processes: int, mode: Version) -> float:
    """Make and check what is missing in the corpus folder; return the seconds of mixtures."""
    speak = partial(speak_utterances, corpus, size=plan.size, seed=seed)
    turns = [(voice, plan.utterances[voice.speaker]) for voice in plan.voices]
    text: dict[str, str] = {}
    for said in map_in_processes(speak, turns, processes, "voices"):
        text.update(said)
    rooms = sorted({mixture.place.room for mixture in plan.mixtures if mixture.place})
    list(map_in_processes(partial(make_room, corpus, seed=seed), rooms, processes, "rooms"))
    make = partial(make_mixture, corpus, mode=mode)
    list(map_in_processes(make, plan.mixtures, processes, "mixtures"))
    check = partial(check_mixture, corpus, mode=mode)
    samples = sum(map_in_processes(check, plan.mixtures, processes, "check"))
    write_scp(corpus / "text", text)
    voices.write_voices(corpus / "voices.tsv", list(plan.voices))
    for name, members in plan.by_set.items():
        write_mixture_lists(corpus, name, members)
    return samples / SAMPLE_RATE


def _parse_arguments() -> argparse.Namespace:
    parser = data_parser(
        "Make a two-speaker corpus of synthesised speech and its data directories data/train, "
        "data/valid and data/test (full: several test sets)."
    )
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    sizes = "; ".join(
        f"{name}: {size.voices} voices, {size.train} / {size.valid} / "
        f"{' + '.join([str(size.test)] * len(size.test_sets))} mixtures"
        for name, size in SIZES.items()
    )
    add = parser.add_argument
    add("--size", choices=SIZES, default="default", help=sizes)
    add("--seed", type=int, default=0, help="another seed, another corpus")
    add("--nj", type=positive, default=2, help="number of processes")
    add("--corpus", type=Path, help="folder of the corpus (default: downloads/mini_<size>_<seed>)")
    add(
        "--mode",
        choices=get_args(Version),
        default="min",
        help="length of a mixture: the shorter utterance, or the longer one, with transcripts",
    )
    add("--suffix", default="", help="added to the names of the data directories")
    add(
        "--list_test_sets",
        action="store_true",
        help="only print the names of the test sets that there are or would be",
    )
    return parser.parse_args()


def main() -> None:
    """Run the command line; a line on stdout says what was made."""
    arguments = _parse_arguments()
    recipe = Path.cwd()
    corpus = arguments.corpus or Path("downloads") / f"mini_{arguments.size}_{arguments.seed}"
    size = SIZES[arguments.size]
    data, nj, suffix, mode = Path("data"), arguments.nj, arguments.suffix, arguments.mode
    if arguments.list_test_sets:
        print(*test_set_names(corpus, size, arguments.seed, suffix))
        return
    with holding(data), holding(corpus):
        print(make_corpus(size, arguments.seed, corpus, data, recipe, nj, suffix, mode))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
