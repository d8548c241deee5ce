"""Find the listed recordings in the public data sets, in the layout of their publishers.

``public_voices.tsv`` lists them by their names there; the README names the data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.voices_2mix.listing import (
    Listing,
    Part,
    Recording,
    read_tabs,
    settled,
    speaker_facts,
)

TABLE = Path(__file__).with_name("public_voices.tsv")


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    ``folder`` is its name below the folder of all data sets; ``find`` gives the parts of a
    recording from the data set's folder, the speaker and the name of the recording there.
    """

    folder: str
    find: Callable[[Path, str, str], tuple[Part, ...]]


def _at(pattern: str) -> Callable[[Path, str, str], tuple[Part, ...]]:
    """Find recordings by a path below the data set's folder, with ``{}`` for their name."""
    return lambda root, speaker, original: (Part(root / pattern.format(original)),)


def _librispeech(root: Path, speaker: str, original: str) -> tuple[Part, ...]:
    """Find ``<subset>/<speaker>/<chapter>/<original>.flac`` in whichever subset has it."""
    chapter = original.split("-")[1]
    below = Path(speaker, chapter, f"{original}.flac")
    for subset in _subfolders(root):
        if (subset / below).is_file():
            return (Part(subset / below),)
    return (Part(root / "*" / below),)


@lru_cache
def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _librivox(root: Path, speaker: str, original: str) -> tuple[Part, ...]:
    """Find a stretch of ``<poem>.mp3``, anywhere in the folder, by ``<poem>@<start>-<stop>``."""
    poem, _, times = original.partition("@")
    start, _, stop = times.partition("-")
    path = _mp3_files(root).get(poem, root / f"{poem}.mp3")
    return (Part(path, float(start), float(stop)),)


@lru_cache
def _mp3_files(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(root.rglob("*.mp3"))}


def _arabic(root: Path, speaker: str, original: str) -> tuple[Part, ...]:
    """Find the words of ``<word>/<file>+<word>/<file>+...``."""
    return tuple(Part(root / "dataset" / f"{word}.wav") for word in original.split("+"))


DATA_SETS = {
    "librispeech": DataSet("LibriSpeech", _librispeech),
    "speechocean762": DataSet("speechocean762", _at("{}")),
    "librivox-fr": DataSet("fleursdumal_librivox", _librivox),
    "arabic-speech-commands": DataSet("arabic-speech-commands-dataset", _arabic),
    "picovoice-s2i": DataSet("speech-to-intent-benchmark", _at("{}")),
    "emodb": DataSet("emodb", _at("wav/{}")),
    "rhasspy-kerstin": DataSet("dataset-voice-kerstin", _at("{}")),
    "vctk": DataSet("Real-Time-Voice-Cloning", _at("samples/{}")),
}


def list_public(folder: Path, allow_missing: bool, table: Path = TABLE) -> Listing:
    """List the recordings of the public data sets that are below a folder.

    Args:
        folder: holds the data sets' folders.
        allow_missing: leave out recordings that a data set lacks.
        table: the recordings by data set.

    Raises:
        TisdissError: none of the data sets is there, or, unless ``allow_missing``, one of them
            lacks recordings.
    """
    listing = Listing([])
    wanted: dict[str, list[dict[str, str]]] = {}
    for _, row in read_tabs(table, ("source", "speaker", "sex", "split", "snr_db", "original")):
        wanted.setdefault(row["source"], []).append(row)
    partly = []
    for source, rows in wanted.items():
        root = folder / DATA_SETS[source].folder
        if not root.is_dir():
            listing.remarks.append(f"{source}: left out: there is no {root}")
            continue
        found = [_recording(root, row) for row in rows]
        lacks = [_missing(recording) for recording in found]
        if missing := [path for path in lacks if path]:
            partly.append(
                f"{source}: {len(missing)} of {len(found)} recordings are missing, such as "
                f"{missing[0]}"
            )
        pairs = zip(found, lacks, strict=True)
        listing.recordings += [recording for recording, path in pairs if not path]
    if partly and not allow_missing:
        raise TisdissError(
            "\n".join([*partly, "complete these data sets, or leave that out with --allow_missing"])
        )
    listing.remarks += partly
    if not listing.recordings:
        folders = ", ".join(data_set.folder for data_set in DATA_SETS.values())
        raise TisdissError(
            f"{folder}: holds none of the public data sets ({folders}); see the README"
        )
    return settled(listing, table)


def _recording(root: Path, row: dict[str, str]) -> Recording:
    source, speaker, original = row["source"], row["speaker"], row["original"]
    sex, split, snr_db = speaker_facts(row)
    unique = f"{source}/{speaker}"
    parts = DATA_SETS[source].find(root, speaker, original)
    return Recording(f"{unique}/{original}", unique, sex, source, split, snr_db, parts)


def _missing(recording: Recording) -> Path | None:
    """Return the first of a recording's files that is missing."""
    return next((part.path for part in recording.parts if not part.path.is_file()), None)
