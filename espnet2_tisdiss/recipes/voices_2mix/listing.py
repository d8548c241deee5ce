"""List recordings and their speakers: the two layouts of a folder, and the splits of speakers."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from espnet2_tisdiss.audio.folders import audio_files as find_audio_files
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.bank import SPLITS, Spoken
from espnet2_tisdiss.recipes.corpora.tables import read_rows

SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "?": "?", "": "?"}
HELD_OUT_SHARE = 0.06
MIN_SPEAKERS = 2  # speakers of a split: a mixture needs two


@dataclass(frozen=True)
class Part:
    """A file, or the stretch of it between two times in seconds."""

    path: Path
    start: float = 0.0
    stop: float = math.inf


@dataclass(frozen=True)
class Recording(Spoken):
    """Speech of one speaker, in one file or in several that are joined.

    The split is empty until it is assigned.
    """

    parts: tuple[Part, ...]


@dataclass
class Listing:
    """Recordings in the order of their names, a line for each unusable one, and remarks."""

    recordings: list[Recording]
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def list_voices(folder: Path) -> Listing:
    """List the recordings of a folder, by its ``utterances.tsv`` or by its speakers' folders."""
    table = folder / "utterances.tsv"
    listing = _list_table(folder, table) if table.is_file() else _list_folders(folder)
    return settled(listing, table if table.is_file() else folder)


def settled(listing: Listing, where: Path) -> Listing:
    """Sort a listing, and leave out speakers who are listed with two sexes or in two splits."""
    found: dict[str, set[tuple[str, str]]] = {}
    for recording in listing.recordings:
        found.setdefault(recording.speaker, set()).add((recording.sex, recording.split))
    torn = {speaker for speaker, facts in found.items() if len(facts) > 1}
    for speaker in sorted(torn):
        facts = " and ".join(sorted("/".join(filter(None, pair)) for pair in found[speaker]))
        listing.faults.append(
            f"{where}: speaker {speaker} is {facts}: give each speaker one sex and one split"
        )
    kept = (recording for recording in listing.recordings if recording.speaker not in torn)
    return replace(listing, recordings=sorted(kept, key=lambda recording: recording.name))


# --- a table ----------------------------------------------------------------------------------


def read_tabs(table: Path, needed: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Read a tab-separated table; a row that is too short has empty columns at its end."""
    form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "restval": "", "restkey": "more"}
    return read_rows(table, needed, **form)


def speaker_facts(row: Mapping[str, str]) -> tuple[str, str, float]:
    """Return sex, split and signal-to-noise ratio of a row; missing ones are ``?``, empty and NaN.

    Raises:
        ValueError: one of them cannot be understood.
    """
    # F* is a guess; a wrong one does no harm
    sex = row.get("sex", "").strip().removesuffix("*").lower()
    if sex not in SEXES:
        raise ValueError(f"sex is {row['sex']!r}, not F, M or ?")
    split = row.get("split", "").strip()
    if "split" in row and split not in SPLITS:
        raise ValueError(f"split is {split!r}, not train, valid or test")
    snr = row.get("snr_db", "").strip()
    try:
        snr_db = float(snr) if snr not in ("", "?") else math.nan
    except ValueError:
        raise ValueError(f"snr_db is {snr!r}, not a number") from None
    return SEXES[sex], split, snr_db


def _list_table(folder: Path, table: Path) -> Listing:
    listing = Listing([])
    first_place: dict[str, str] = {}
    for place, row in read_tabs(table, ("path", "speaker")):
        try:
            recording = _table_recording(folder, row)
        except ValueError as error:
            listing.faults.append(f"{place}: {error}")
            continue
        if recording.name in first_place:
            line = first_place[recording.name].rpartition(":")[2]
            listing.faults.append(f"{place}: {recording.name} is in line {line} already")
            continue
        first_place[recording.name] = place
        if not recording.parts[0].path.is_file():
            listing.faults.append(f"{place}: {recording.parts[0].path}: no such file")
            continue
        listing.recordings.append(recording)
    if not first_place and not listing.faults:
        raise TisdissError(f"{table}: lists no recording")
    return listing


def _table_recording(folder: Path, row: Mapping[str, str]) -> Recording:
    for column in ("path", "speaker"):
        if not row[column].strip():
            raise ValueError(f"{column} is empty")
    sex, split, snr_db = speaker_facts(row)
    source, speaker = row.get("source", "").strip(), row["speaker"].strip()
    path = row["path"].strip()
    # the same names of speakers may occur in another data set
    unique = f"{source}/{speaker}" if source else speaker
    return Recording(path, unique, sex, source, split, snr_db, (Part(folder / path),))


# --- a folder for each speaker ----------------------------------------------------------------


def _list_folders(folder: Path) -> Listing:
    listing = Listing([])
    sexes = _read_sexes(folder / "speakers.tsv", listing.faults)
    for path in audio_files(folder, listing.remarks):
        name = path.relative_to(folder).as_posix()
        speaker, slash, _ = name.partition("/")
        if slash:
            sex = sexes.get(speaker, "?")
            listing.recordings.append(
                Recording(name, speaker, sex, "", "", math.nan, (Part(path),))
            )
    if not listing.recordings:
        raise TisdissError(
            f"{folder}: holds neither utterances.tsv nor recordings such as <speaker>/1.wav"
        )
    return listing


def audio_files(folder: Path, remarks: list[str]) -> list[Path]:
    """Return the audio files anywhere below a folder, in the order of their names.

    Args:
        folder: the folder.
        remarks: receives a line if files are left out that look like audio.
    """
    found = find_audio_files(folder)
    if found.left_out:
        remarks.append(f"{folder}: {found.notice()}; convert them")
    return sorted(found.files)


def _read_sexes(table: Path, faults: list[str]) -> dict[str, str]:
    """Read the sex of each speaker, if the table exists."""
    sexes: dict[str, str] = {}
    if not table.is_file():
        return sexes
    for place, row in read_tabs(table, ("speaker", "sex")):
        try:
            sexes[row["speaker"].strip()] = speaker_facts({"sex": row["sex"]})[0]
        except ValueError as error:
            faults.append(f"{place}: {error}")
    return sexes


# --- splits -----------------------------------------------------------------------------------


def shuffled_speakers(recordings: Iterable[Recording], seed: int) -> list[str]:
    """Order the speakers by a hash of their names, the sexes evenly mixed.

    So any first part of the list has about the same shares of the sexes as the entire list.
    """
    sex = {recording.speaker: recording.sex for recording in recordings}
    ordered = sorted(sex, key=lambda speaker: hash_of(f"{seed}/{speaker}"))
    total, so_far = Counter(sex.values()), Counter[str]()
    place = {}
    for speaker in ordered:
        place[speaker] = (so_far[sex[speaker]] + 0.5) / total[sex[speaker]]
        so_far[sex[speaker]] += 1
    return sorted(ordered, key=lambda speaker: (place[speaker], sex[speaker]))


def hash_of(text: str) -> str:
    """Return a hash that is the same in every process and on every machine."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def assign_splits(recordings: Sequence[Recording], seed: int) -> list[Recording]:
    """Assign splits to recordings without one, by speaker: about 6 % valid and 6 % test."""
    if all(recording.split for recording in recordings):
        return list(recordings)
    speakers = shuffled_speakers(recordings, seed)
    if len(speakers) < MIN_SPEAKERS * len(SPLITS):
        raise TisdissError(
            f"there are {len(speakers)} speakers ({', '.join(sorted(speakers))}), but at least 6 "
            "are needed: two to train on, two to validate and two to test with"
        )
    held_out = max(MIN_SPEAKERS, round(HELD_OUT_SHARE * len(speakers)))
    split = dict.fromkeys(speakers, "train")
    split |= dict.fromkeys(speakers[:held_out], "test")
    split |= dict.fromkeys(speakers[held_out : 2 * held_out], "valid")
    return [replace(recording, split=split[recording.speaker]) for recording in recordings]


def check_splits(recordings: Iterable[Recording]) -> None:
    """Check that each split has two speakers."""
    speakers: dict[str, set[str]] = {split: set() for split in SPLITS}
    for recording in recordings:
        speakers[recording.split].add(recording.speaker)
    for split, members in speakers.items():
        if len(members) < MIN_SPEAKERS:
            raise TisdissError(
                f"split {split} has {len(members)} speakers with usable recordings, but at least "
                f"{MIN_SPEAKERS} are needed: add speakers to it"
            )
