"""Pack recordings of single speakers for training on their mixtures, and make the fixed sets.

Run by ``local/data.sh`` from the recipe folder.  Finished files are kept, so an interrupted run can
be repeated. The same recordings, size and seed give the same files with any number of processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.mixing.bank import SPLITS, Bank
from espnet2_tisdiss.recipes.corpora.files import location, require_package
from espnet2_tisdiss.recipes.program import data_parser, positive, run_main
from espnet2_tisdiss.recipes.voices_2mix.bank import Material, fill_bank
from espnet2_tisdiss.recipes.voices_2mix.listing import (
    Listing,
    Recording,
    assign_splits,
    audio_files,
    check_splits,
    hash_of,
    list_voices,
)
from espnet2_tisdiss.recipes.voices_2mix.public_voices import list_public
from espnet2_tisdiss.recipes.voices_2mix.sets import make_data_dir, make_sets
from espnet2_tisdiss.recipes.voices_2mix.sizes import SIZES, Size, choose
from espnet2_tisdiss.user_files import read_json

# increased whenever the same recordings, size and seed give other files than before
RECIPE_VERSION = 1
# entries of the record of a corpus
IDENTITY = ("size", "seed", "recipe_version", "recordings", "noises")


@dataclass(frozen=True)
class Sources:
    """The folders of the recordings, and which recordings are used."""

    voices: Path | None = None
    public: Path | None = None
    noise: Path | None = None
    skip_bad: bool = False
    allow_missing: bool = False
    allow_narrow_band: bool = False


def make_voices(
    size: Size,
    seed: int,
    sources: Sources,
    corpus: Path,
    data: Path,
    recipe: Path,
    processes: int,
    suffix: str = "",
) -> str:
    """Make the bank and the sets in ``corpus`` and the sets' data directories in ``data``.

    Paths in the data directories are relative to ``recipe`` if the corpus is inside that folder;
    ``suffix`` is added to their names.

    Returns:
        A line about what was made, and remarks, a line each.
    """
    require_package("pyroomacoustics", "the rooms")
    listing = _list(sources)
    recordings = choose(assign_splits(listing.recordings, seed), size, seed)
    check_splits(recordings)
    noises = _list_noises(sources.noise, listing.remarks)
    remarks = [*listing.remarks, *_remarks(recordings, noises)]
    with holding(data), holding(corpus):
        if not open_corpus(corpus, size, seed, recordings, [name for name, _ in noises]):
            material = Material(recordings, noises, size.rooms, seed, listing.faults)
            remarks += fill_bank(
                corpus, material, processes, sources.skip_bad, sources.allow_narrow_band
            )
        counts = []
        for folder in make_sets(corpus, size.sets(bool(noises)), seed, processes):
            target = data / f"{folder.name}{suffix}"
            counts.append(f"{target} {make_data_dir(folder, target, recipe)}")
    return "\n".join([f"{corpus}: {_summary(corpus / 'bank')} ({', '.join(counts)})", *remarks])


def _list(sources: Sources) -> Listing:
    if sources.voices and sources.public:
        raise TisdissError(
            "--voices (VOICES) and --public (PUBLIC_VOICES) exclude each other: leave one out"
        )
    if sources.public:
        return list_public(sources.public, sources.allow_missing)
    if sources.voices:
        return list_voices(sources.voices)
    raise TisdissError(
        "where are the recordings? Give ./run.sh --voices FOLDER or --public FOLDER, or set VOICES "
        "or PUBLIC_VOICES in db.sh"
    )


def _list_noises(folder: Path | None, remarks: list[str]) -> list[tuple[str, Path]]:
    if folder is None:
        return []
    noises = [(path.relative_to(folder).as_posix(), path) for path in audio_files(folder, remarks)]
    if not noises:
        raise TisdissError(f"--noise {folder}: holds no audio files")
    return noises


def _remarks(recordings: Sequence[Recording], noises: Sequence) -> list[str]:
    """Return remarks about what the recordings lack."""
    remarks = []
    sex = {recording.speaker: recording.sex for recording in recordings}
    if unknown := sum(value == "?" for value in sex.values()):
        remarks.append(
            f"{unknown} of {len(sex)} speakers are of unknown sex, so their pairs are drawn at "
            "random; give the sex in speakers.tsv, or in the column sex of utterances.tsv"
        )
    if not noises:
        remarks.append("without --noise: trained without noise, and there are no noisy mixtures")
    return remarks


def _summary(bank: Path) -> str:
    """Return the size of a bank in words."""
    splits = [Bank(bank, split) for split in SPLITS]
    said = [u for split in splits for speaker in split.speakers for u in speaker.utterances]
    counts = " / ".join(str(len(split.speakers)) for split in splits)
    hours = sum(utterance.length for utterance in said) / splits[0].rate / 3600
    return (
        f"{counts} speakers to train, validate and test with, {len(said)} recordings, "
        f"{hours:.2f} hours"
    )


# --- which corpus a folder holds ----------------------------------------------------------------


def open_corpus(
    corpus: Path, size: Size, seed: int, recordings: Sequence[Recording], noises: Sequence[str]
) -> bool:
    """Record which corpus the folder holds, or check it; return whether its bank is finished.

    While its bank is unfinished, a corpus may restart with other recordings: unusable ones may have
    been corrected or removed.
    """
    # the folder of the recordings does not matter
    rows = [repr((replace(r, parts=()), [(p.start, p.stop) for p in r.parts])) for r in recordings]
    made_of = hash_of("\n".join(rows)), hash_of("\n".join(noises)) if noises else ""
    identity = dict(zip(IDENTITY, (size.name, seed, RECIPE_VERSION, *made_of), strict=True))
    if found := finished_corpus(corpus):
        for name, value in identity.items():
            if found.get(name) != value:
                raise TisdissError(
                    f"{corpus} was made with {_words(name, found.get(name), value)}: remove it "
                    "and what was made of it in data, dump and exp, or take another --seed"
                )
        return True
    shutil.rmtree(corpus / "sets", ignore_errors=True)  # those of a deleted bank
    write_atomically(corpus / "corpus.json", json.dumps(identity) + "\n")
    return False


def finished_corpus(corpus: Path) -> dict[str, object]:
    """Read the record of a corpus; empty unless its bank is finished."""
    note = corpus / "corpus.json"
    if not (corpus / "bank" / "bank.json").exists():
        return {}
    try:
        found = read_json(note)
        return {name: found[name] for name in IDENTITY}
    except (TisdissError, KeyError):
        raise TisdissError(f"{note}: not readable: remove the folder {corpus}") from None


def _words(name: str, found: object, wanted: object) -> str:
    """Return how a corpus differs from the requested one."""
    if name == "noises":
        return "noise" if not wanted else "other noise" if found else "no noise"
    if name == "recordings":
        return "other recordings"
    return f"{name} {found}, not {wanted}"


def plan(size: Size, seed: int, sources: Sources, corpus: Path, suffix: str) -> str:
    """Return the names of the test sets and, in a second line, options for enh_train.

    They are those of the existing corpus, or of the one that would be made. Nothing is made.
    """
    found = finished_corpus(corpus)
    has_noise = bool(found["noises"] if found else sources.noise)
    tests = [s.name + suffix for s in size.sets(has_noise) if s.split == "test"]
    options = ["--iterator_type task --valid_iterator_type sequence --num_att_plot 0"]
    options.append(f"--mixing_conf bank={corpus / 'bank'}")
    if not has_noise:
        options.append("--mixing_conf noise_share=0")
    return f"{' '.join(tests)}\n{' '.join(options)}"


def _parse_arguments() -> argparse.Namespace:
    parser = data_parser(
        "Pack recordings of single speakers into downloads/voices_<size>_<seed>/bank, and make the "
        "validation and test sets and their data directories."
    )
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    add = parser.add_argument
    add("--voices", type=Path, help="recordings by speaker, or utterances.tsv")
    add("--public", type=Path, help="public data sets; see the README")
    add("--noise", type=Path, help="recordings of noise; none: no noisy mixtures")
    add("--size", choices=SIZES, default="default", help="tiny: a test")
    add("--seed", type=int, default=0, help="seed of the random draws")
    add("--nj", type=positive, default=2, help="number of processes")
    add("--suffix", default="", help="added to the names of the data directories")
    for name, meaning in (
        ("skip_bad", "leave out recordings that cannot be used"),
        ("allow_missing", "leave out listed recordings that a public data set lacks"),
        ("allow_narrow_band", "take recordings below 16 kHz"),
        ("plan", "only print the test sets and, in a second line, options of enh_train"),
    ):
        add(f"--{name}", action="store_true", help=meaning)
    return parser.parse_args()


def main() -> None:
    """Run the command line; a line on stdout says what was made."""
    args = _parse_arguments()
    sources = Sources(
        location(args.voices, "--voices", "VOICES"),
        location(args.public, "--public", "PUBLIC_VOICES"),
        location(args.noise, "--noise", "NOISE"),
        args.skip_bad,
        args.allow_missing,
        args.allow_narrow_band,
    )
    size, recipe = SIZES[args.size], Path.cwd()
    corpus = Path("downloads") / f"voices_{args.size}_{args.seed}"
    if args.plan:
        print(plan(size, args.seed, sources, corpus, args.suffix))
        return
    made = (corpus, Path("data"), recipe, args.nj, args.suffix)
    print(make_voices(size, args.seed, sources, *made))


if __name__ == "__main__":
    sys.exit(run_main("local/data.sh", main))
