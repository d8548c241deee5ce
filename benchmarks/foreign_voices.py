"""List speakers of languages that the model `voices` was not trained on, for voices_2mix.

    python benchmarks/foreign_voices.py /usr/share/klettres /usr/share/ktuberling/sounds --out words

The folders hold the sounds of KDE's educational programs KLettres and KTuberling (GPL): one folder
for each language, with letters, syllables and words read by a volunteer. The table
words/utterances.tsv is written for the recipe's option --voices. Training, validation and test have
different languages. Languages that `voices` was trained on and files below 16 kHz are left out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from measuring import run_main

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.audio.folders import audio_files
from espnet2_tisdiss.audio.reading import probe
from espnet2_tisdiss.errors import AudioError, TisdissError
from espnet2_tisdiss.recipes.voices_2mix.audio import RATE

HEARD = frozenset({"ar", "de", "en", "en_GB", "fr"})
# folders with the same recordings, or possibly the same person
SAME = {"nn": "nb", "sr@ijekavian": "", "sr@ijekavianlatin": "", "sr@latin": ""}
SPLITS = ("test", "train", "valid", "test", "train", "train")  # of languages, in alphabetical order
FEWEST_FILES, MOST_FILES = 10, 120  # of a speaker


def main(argv: list[str] | None = None) -> None:
    """Write the table, and print a summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="each holds a folder per language")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the table to")
    args = parser.parse_args(argv)
    rows, counts = list_words(args.folders)
    args.out.mkdir(parents=True, exist_ok=True)
    table = args.out / "utterances.tsv"
    write_atomically(table, "".join("\t".join(row) + "\n" for row in rows))
    speakers = ", ".join(f"{counts[name]} {name}" for name in ("train", "valid", "test"))
    print(f"{table}: {len(rows) - 1} files, speakers: {speakers}")


def list_words(folders: list[Path]) -> tuple[list[list[str]], dict[str, int]]:
    """Return the rows of the table, its header first, and the number of speakers in each split.

    Raises:
        TisdissError: a folder is missing, or none holds a language that can be used.
    """
    found = [speaker for folder in folders for speaker in _speakers(folder)]
    if not found:
        raise TisdissError(f"{folders[0]}: has no language folders with sounds at {RATE} Hz")
    languages = sorted({language for language, _, _ in found})
    splits = {name: SPLITS[place % len(SPLITS)] for place, name in enumerate(languages)}
    rows = [["path", "speaker", "split"]]
    counts = dict.fromkeys(SPLITS, 0)
    for language, speaker, files in found:
        counts[splits[language]] += 1
        rows += [[str(path), speaker, splits[language]] for path in files]
    return rows, counts


def _speakers(folder: Path) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield language, speaker and files of each language's folder."""
    if not folder.is_dir():
        raise TisdissError(f"{folder}: no such folder")
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        language = SAME.get(one.name, one.name)
        files = [path.absolute() for path in sorted(audio_files(one).files) if _is_wide(path)]
        if language and language not in HEARD and len(files) >= FEWEST_FILES:
            # evenly spread, since neighbouring files are of one kind
            kept = files[:: -(-len(files) // MOST_FILES)]
            yield language, f"{folder.name}-{one.name}", kept


def _is_wide(path: Path) -> bool:
    """Return whether a file can be read and has the full bandwidth."""
    try:
        return probe(path).rate >= RATE
    except AudioError:
        return False


if __name__ == "__main__":
    run_main(main)
