"""How each mixture of WHAMR! was made: the tables of its scripts and of the noise corpus.

``mix_2_spk_filenames_<split>.csv`` names the utterances, ``reverb_params_<split>.csv`` the room,
``scaling_<split>.npz`` the levels and the start of the speech within the noise.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.tables import read_table

FILENAME_COLUMNS = ("output_filename", "s1_path", "s2_path")
# fmt: off
ROOM_COLUMNS = (
    "room_x", "room_y", "room_z", "micL_x", "micL_y", "micR_x", "micR_y", "mic_z",
    "s1_x", "s1_y", "s1_z", "s2_x", "s2_y", "s2_z", "T60",
)
# fmt: on
# for 8 kHz and the min version, the only one that is made here
SOURCE_GAINS = "scaling_wsjmix_8k_min"
SPEECH_GAIN = "scaling_wham_speech_8k_min"
NOISE_GAIN = "scaling_wham_noise_8k_min"
SPEECH_START = "speech_start_sample_16k"

type Point = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """A shoebox room with two microphones and two speakers; positions in m from a corner.

    Attributes:
        size: its edges, in m.
        microphones: left and right.
        speakers: first and second.
        t60: reverberation time in s.
    """

    size: Point
    microphones: tuple[Point, Point]
    speakers: tuple[Point, Point]
    t60: float


@dataclass(frozen=True)
class Mixture:
    """How a mixture is made.

    Attributes:
        name: file name without suffix, of the mixture and of its noise.
        sources: the utterances' paths, as in the table, e.g. ``wsj0/si_tr_s/01x/01xo031a.wav``.
        room: the room.
        source_gains: gains of the utterances, before they are rounded to 16 bits.
        speech_gain: gain of both, after that.
        noise_gain: gain of the noise.
        speech_start: start of the speech within the noise, in samples at 16 kHz.
    """

    name: str
    sources: tuple[str, str]
    room: Room
    source_gains: tuple[float, float]
    speech_gain: float
    noise_gain: float
    speech_start: int


def read_split(tables: Path, scaling: Path, split: str) -> list[Mixture]:
    """Read how the mixtures of a split are made.

    Args:
        tables: folder of the csv files.
        scaling: folder of the npz files.
        split: tr, cv or tt.

    Returns:
        The mixtures, in the order of the table.
    """
    rooms_file = tables / f"reverb_params_{split}.csv"
    names_file = tables / f"mix_2_spk_filenames_{split}.csv"
    names = _read_table(names_file, FILENAME_COLUMNS)
    rows = _read_table(rooms_file, ("utterance_id", *ROOM_COLUMNS))
    rooms = {name: _room(where, row) for name, (where, row) in rows.items()}
    levels_file = scaling / f"scaling_{split}.npz"
    levels = read_levels(levels_file)
    mixtures = []
    for name, (where, row) in names.items():
        for path, known in ((rooms_file, rooms), (levels_file, levels)):
            if name not in known:
                raise TisdissError(f"{path}: lacks {name}, which {where} has")
        mixtures.append(Mixture(name, (row["s1_path"], row["s2_path"]), rooms[name], *levels[name]))
    return mixtures


def _name(text: str) -> str:
    return text.removesuffix(".wav")


def _read_table(path: Path, columns: tuple[str, ...]) -> dict[str, tuple[str, dict[str, str]]]:
    """Read a csv file: first column's value, without .wav -> (place in the file, row)."""
    if not path.is_file():
        raise TisdissError(
            f"{path}: no such file; it belongs to the WHAMR! scripts (https://wham.whisper.ai)"
        )
    table: dict[str, tuple[str, dict[str, str]]] = {}
    for where, row in read_table(path, columns):
        name = row[columns[0]]
        if _name(name) in table:
            raise TisdissError(f"{where}: {name} is there twice")
        table[_name(name)] = (where, row)
    return table


def _room(where: str, row: Mapping[str, str]) -> Room:
    try:
        value = {column: float(row[column]) for column in ROOM_COLUMNS}
    except ValueError as error:
        raise TisdissError(f"{where}: {error}") from None
    size = _point(value, "room_x", "room_y", "room_z")
    left, right = (_point(value, f"mic{side}_x", f"mic{side}_y", "mic_z") for side in "LR")
    first, second = (_point(value, f"s{n}_x", f"s{n}_y", f"s{n}_z") for n in (1, 2))
    for point in (left, right, first, second):
        # written so that a NaN does not pass
        if not all(0 < part < edge < math.inf for part, edge in zip(point, size, strict=True)):
            raise TisdissError(f"{where}: {point} is not inside the room {size}")
    if not 0 < value["T60"] < math.inf:
        raise TisdissError(f"{where}: T60 {value['T60']} is no reverberation time")
    return Room(size, (left, right), (first, second), value["T60"])


def _point(value: Mapping[str, float], *columns: str) -> Point:
    x, y, z = (value[column] for column in columns)
    return (x, y, z)


def read_levels(path: Path) -> dict[str, tuple[tuple[float, float], float, float, int]]:
    """Read the levels of a split's mixtures.

    Returns:
        Mixture -> (gain of each source, of both, of the noise, start of the speech).
    """
    columns = ("utterance_id", SOURCE_GAINS, SPEECH_GAIN, NOISE_GAIN, SPEECH_START)
    if not path.is_file():
        raise TisdissError(f"{path}: no such file; it belongs to wham_noise (its folder metadata)")
    try:
        with zipfile.ZipFile(path) as archive:
            names, sources, *others = (_read_array(archive, column) for column in columns)
        sources, *others = (np.asarray(values, np.float64) for values in (sources, *others))
    except (
        Exception
    ) as error:  # which exceptions a damaged archive or pickle raises is not documented
        raise TisdissError(f"{path}: not readable as arrays of numpy: {error}") from None
    count = len(names)
    if sources.shape != (count, 2) or any(values.shape != (count,) for values in others):
        raise TisdissError(f"{path}: its arrays do not have a row for each of {count} mixtures")
    rows = np.column_stack([sources, *others])
    if not np.isfinite(rows).all() or (rows[:, -1] < 0).any():
        raise TisdissError(f"{path}: a level is no finite number, or a start is negative")
    return {
        _name(str(name)): ((first, second), speech, noise, int(start))
        for name, (first, second, speech, noise, start) in zip(names, rows.tolist(), strict=True)
    }


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array of an npz file, which may be pickled.

    ``numpy.load(allow_pickle=True)`` would run any code in the file; see _ArrayUnpickler.
    """
    file = io.BytesIO(archive.read(f"{name}.npy"))
    if npy.read_magic(file) == (1, 0):
        _, _, dtype = npy.read_array_header_1_0(file)
    else:
        _, _, dtype = npy.read_array_header_2_0(file)
    if dtype.hasobject:
        return _ArrayUnpickler(file).load()
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


class _ArrayUnpickler(pickle.Unpickler):
    """Accepts only the parts of numpy arrays, which are harmless."""

    ADMITTED = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),  # bytes, as numpy pickled them until version 1.16
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return a function or class that the pickle names, if allowed."""
        # numpy 2 calls its core _core
        if (module.replace("numpy._core", "numpy.core"), name) not in self.ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
