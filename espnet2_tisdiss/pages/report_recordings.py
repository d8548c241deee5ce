"""The recordings of a report: finding and showing them."""

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from espnet2_tisdiss.audio.folders import audio_files
from espnet2_tisdiss.audio.reading import probe, read_samples
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import draw_spectrograms
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.pages.html import paragraph, picture, player

SHOWN_SECONDS = 8.0
NAME = re.compile(r"(?P<name>.+?)(?:_re(?P<n_re>\d+))?_spk(?P<speaker>\d+)", re.DOTALL)


def show(signals: Mapping[str, Path]) -> list[str]:
    """Return players and spectrograms of the beginnings of files, by their labels.

    Files that cannot be read, or whose rate or length differs from the first, are only named.
    """
    parts: list[str] = []
    waves: dict[str, np.ndarray] = {}
    rate = 0
    for label, path in signals.items():
        try:
            samples, found = beginning(path)
        except TisdissError as error:
            parts.append(paragraph(error))
            continue
        parts.append(player(samples, found, label))
        rate = rate or found
        if found == rate and (not waves or len(samples) == len(next(iter(waves.values())))):
            waves[label] = samples
    if waves:
        drawn = draw_spectrograms([waves], rate)
        parts.append(picture(drawn, f"spectrograms: {', '.join(waves)}"))
    return parts


def beginning(path: Path) -> tuple[np.ndarray, int]:
    """Return the first seconds of a file, channels averaged (n,), and its rate in Hz."""
    rate = probe(path, on_notice=lambda _: None).rate
    samples = read_samples(path, last=round(SHOWN_SECONDS * rate)).mean(axis=1)
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0), rate


def separated_lists(folder: Path, test_set: str, n_re: str) -> list[dict[str, Path]]:
    """Return for each speaker mixture -> file, as listed by stage 7 of the recipes."""
    depth = f"_re{n_re}" if n_re.isdigit() else ""
    named = f"*{depth}_{glob.escape(test_set)}"
    for found in sorted(folder.glob(named)):
        lists = sorted(found.glob("spk*.scp"))
        if lists and (depth or not re.search(r"_re\d+_", found.name)):
            return [_paths(path, folder) for path in lists]
    return []


def mixtures_of(data: Sequence[Path], test_set: str, folder: Path) -> dict[str, Path]:
    """Return mixture -> file of the data directory whose name is the test set's."""
    for place in data:
        if place.name == test_set and (place / "wav.scp").is_file():
            return _paths(place / "wav.scp", folder)
    return {}


def _paths(scp: Path, folder: Path) -> dict[str, Path]:
    """Return the files of a list; its paths may be relative to the recipe's folder."""
    table = read_scp(scp)
    bases = [Path(), *folder.resolve().parents]
    first = next(iter(table.values()), "")
    base = next((base for base in bases if (base / first).is_file()), Path())
    return {key: base / path for key, path in table.items()}


@dataclass(frozen=True)
class Separated:
    """A recording that was separated into files.

    Attributes:
        name: its name.
        n_re: the depth in the files' names; empty without one.
        files: of each speaker.
    """

    name: str
    n_re: str
    files: tuple[Path, ...]


def separated_files(folder: Path) -> list[Separated]:
    """Return the recordings whose separated files are below a folder."""
    groups: dict[tuple[str, str], dict[int, Path]] = {}
    for path in audio_files(folder).files:
        match = NAME.fullmatch(path.stem)
        if match:
            name = str(path.relative_to(folder).with_name(match["name"]))
            groups.setdefault((name, match["n_re"] or ""), {})[int(match["speaker"])] = path
    return [
        Separated(name, n_re, tuple(files[number] for number in sorted(files)))
        for (name, n_re), files in groups.items()
        if len(files) > 1
    ]


def likeness(signals: Sequence[np.ndarray]) -> float:
    """Return the largest likeness of two of the signals (n,), 0 for unrelated, 1 for equal ones."""
    pairs = combinations([one - one.mean() for one in signals], 2)
    return max(
        float(abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b) or 1.0))
        for a, b in ((a[: len(b)], b[: len(a)]) for a, b in pairs)
    )
