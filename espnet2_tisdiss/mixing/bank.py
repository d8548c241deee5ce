"""A bank of recordings: speech of single speakers, noises and rooms, in few memory-mapped files.

A training draws short pieces from thousands of recordings; opening and decoding each file would
take longer than the training step. The folder of a bank contains

    bank.json        the sample rate
    speech.npy       all utterances, concatenated: int16 (n,)
    utterances.tsv   one row for each, with the columns of ``Utterance``
    noise.npy, noises.tsv   noises in the same form
    rooms.npy        impulse responses from several places to a microphone: float32 (room, place, n)
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO, get_args

import numpy as np

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.choices import RATES
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.levels import frame_level
from espnet2_tisdiss.user_files import read_json

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
# The part of each noise, and of the list of rooms, that a split uses; the splits share none.
NOISE_SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.7),
    "valid": (0.7, 0.85),
    "test": (0.85, 1.0),
}

# numeric columns of the tables, and how to parse them
NUMBERS: dict[str, Callable[[str], float]] = {
    "snr_db": float,
    "level": float,
    "start": int,
    "length": int,
}


@dataclass(frozen=True)
class Spoken:
    """The facts about a recording of one speaker.

    Attributes:
        name: unique name of the recording.
        speaker: unique name of the speaker.
        sex: ``F``, ``M`` or ``?``.
        source: data set of the recording.
        split: ``train``, ``valid`` or ``test``.
        snr_db: signal-to-noise ratio of the recording; NaN if unknown.
    """

    name: str
    speaker: str
    sex: str
    source: str
    split: str
    snr_db: float


@dataclass(frozen=True)
class Utterance(Spoken):
    """A recording of one speaker, and its position in ``speech.npy``.

    Attributes:
        level: mean power of the active frames, relative to full scale 1.
        start: first sample.
        length: number of samples.
    """

    level: float
    start: int = 0
    length: int = 0


@dataclass(frozen=True)
class Noise:
    """A noise and its position in ``noise.npy``; see :class:`Utterance`."""

    name: str
    start: int = 0
    length: int = 0


@dataclass(frozen=True)
class Speaker:
    """A speaker and the utterances of one split."""

    name: str
    sex: str
    source: str
    utterances: tuple[Utterance, ...]


class Bank:
    """One split of a bank; samples are read on demand.

    Args:
        folder: the bank's folder.
        split: ``train``, ``valid`` or ``test``.

    Raises:
        TisdissError: the folder is not a bank, a table or an array is damaged, or the split has
            fewer than two speakers.

    Attributes:
        rate: samples per second.
        speakers: in the order of their names.
        noises: this split's part of each noise.
        rooms: impulse responses, float32 (room, place, n); of shape (0, 0, 0) if there are none.
    """

    def __init__(self, folder: Path | str, split: Split):
        folder = Path(folder)
        try:
            self.rate = _read_rate(folder)
            utterances = _read_table(folder / "utterances.tsv", Utterance)
            noises = _read_table(folder / "noises.tsv", Noise)
            self._speech = np.load(folder / "speech.npy", mmap_mode="r", allow_pickle=False)
            self._noise = np.load(folder / "noise.npy", mmap_mode="r", allow_pickle=False)
            rooms = np.load(folder / "rooms.npy", mmap_mode="r", allow_pickle=False)
        except TisdissError:
            raise
        except (OSError, ValueError, TypeError) as error:
            raise TisdissError(f"{folder}: is not a bank of recordings ({error})") from None
        _check_ends(folder / "utterances.tsv", utterances, len(self._speech))
        _check_ends(folder / "noises.tsv", noises, len(self._noise))
        self.speakers = _speakers(u for u in utterances if u.split == split)
        if len(self.speakers) < 2:
            raise TisdissError(f"{folder}: has fewer than two speakers in split {split!r}")
        self.noises = [_share(noise, *NOISE_SHARES[split]) for noise in noises]
        low, high = (round(share * len(rooms)) for share in NOISE_SHARES[split])
        self.rooms = rooms[low:high]

    def speech(self, utterance: Utterance) -> np.ndarray:
        """Return an utterance's samples, float32 (n,), scaled to a power of 1 in active frames."""
        samples = self._speech[utterance.start : utterance.start + utterance.length]
        return samples.astype(np.float32) * np.float32(utterance.level**-0.5 / 32768)

    def noise(self, noise: Noise) -> np.ndarray:
        """Return the samples of a noise, float32 (n,)."""
        samples = self._noise[noise.start : noise.start + noise.length]
        return samples.astype(np.float32) / np.float32(32768)


def write_bank(
    folder: Path,
    rate: int,
    speech: Iterable[tuple[Utterance, np.ndarray]],
    noises: Iterable[tuple[Noise, np.ndarray]],
    rooms: np.ndarray,
) -> None:
    """Write a bank; ``bank.json`` is written last, so that an incomplete bank cannot be read.

    Args:
        folder: the bank's folder, created if needed.
        rate: samples per second.
        speech: utterances and their samples, int16 (n,); start, length and level are filled in.
        noises: noises and their samples, likewise.
        rooms: float32 (room, place, n).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bank.json").unlink(missing_ok=True)
    rows = []
    with replacing(folder / "speech.npy") as temporary:
        for utterance, start, samples in _append(temporary, speech):
            level = frame_level(samples / 32768, rate)
            rows.append(
                asdict(utterance) | {"level": level, "start": start, "length": len(samples)}
            )
    _write_table(folder / "utterances.tsv", Utterance, rows)
    rows = []
    with replacing(folder / "noise.npy") as temporary:
        for noise, start, samples in _append(temporary, noises):
            rows.append(asdict(noise) | {"start": start, "length": len(samples)})
    _write_table(folder / "noises.tsv", Noise, rows)
    with replacing(folder / "rooms.npy") as temporary:
        np.save(temporary, rooms.astype(np.float32))
    with replacing(folder / "bank.json") as temporary:
        temporary.write_text(json.dumps({"rate": rate}) + "\n")


def _append[Item](
    path: Path, recordings: Iterable[tuple[Item, np.ndarray]]
) -> Iterator[tuple[Item, int, np.ndarray]]:
    """Write recordings one by one to an .npy file; yield each with its start in the file."""
    total = 0
    with path.open("wb+") as file:
        _write_header(file, 0)
        for item, samples in recordings:
            yield item, total, samples
            file.write(np.ascontiguousarray(samples, np.int16).tobytes())
            total += len(samples)
        file.seek(0)
        _write_header(file, total)


def _write_header(file: BinaryIO, total: int) -> None:
    """Write the header of an .npy file of ``total`` int16 numbers, padded to a fixed length."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int16)), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, header | {"shape": (total,)})


def read_table[Row: (Utterance, Noise)](
    file: Iterable[str], row: type[Row], name: str | Path
) -> list[Row]:
    """Read a table whose columns are the fields of a dataclass.

    Args:
        file: the lines of the table.
        row: the dataclass.
        name: name of the table, for errors.

    Raises:
        TisdissError: a line is too short, or a numeric field is not a number.
    """
    lines = csv.DictReader(file, delimiter="\t")
    return [_parse(row, line, f"{name}:{lines.line_num}") for line in lines]


def _read_table[Row: (Utterance, Noise)](path: Path, row: type[Row]) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return read_table(file, row, path)


def _parse[Row: (Utterance, Noise)](row: type[Row], line: dict[str, str | None], place: str) -> Row:
    """Return a line of a table as a dataclass; ``place`` names the line in errors."""
    values: dict[str, Any] = {}
    for field in fields(row):
        text = line[field.name]
        try:
            if text is None:
                raise ValueError
            values[field.name] = NUMBERS[field.name](text) if field.name in NUMBERS else text
        except ValueError:
            raise TisdissError(f"{place}: {field.name} is {text!r}; rebuild the bank") from None
    return row(**values)


def _read_rate(folder: Path) -> int:
    """Return the sample rate of a bank."""
    try:
        rate = read_json(folder / "bank.json")["rate"]
        return check_integer("rate", rate, RATES[0], RATES[-1])
    except (TisdissError, KeyError) as error:
        raise TisdissError(f"{folder}: is not a bank of recordings ({error})") from None


def _check_ends(table: Path, rows: Sequence[Utterance | Noise], length: int) -> None:
    """Refuse a table that refers to samples beyond the end of its array."""
    for row in rows:
        if row.start < 0 or row.length < 1 or row.start + row.length > length:
            raise TisdissError(
                f"{table}: {row.name} lies outside the {length} samples of the array; "
                "rebuild the bank"
            )


def write_table(
    file: TextIO, row: type[Utterance] | type[Noise], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows of a table whose columns are the fields of a dataclass."""
    names = [field.name for field in fields(row)]
    writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_table(
    path: Path, row: type[Utterance] | type[Noise], rows: Iterable[Mapping[str, Any]]
) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_table(file, row, rows)


def _speakers(utterances: Iterable[Utterance]) -> list[Speaker]:
    """Group utterances by speaker, both in the order of their names."""
    spoken: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        spoken.setdefault(utterance.speaker, []).append(utterance)
    return [
        Speaker(name, said[0].sex, said[0].source, tuple(sorted(said, key=lambda u: u.name)))
        for name, said in sorted(spoken.items())
    ]


def _share(noise: Noise, low: float, high: float) -> Noise:
    """Return the part of a noise between two fractions of its length."""
    start, stop = (round(share * noise.length) for share in (low, high))
    return Noise(noise.name, noise.start + start, stop - start)
