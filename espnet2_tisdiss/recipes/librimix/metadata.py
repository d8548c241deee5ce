"""LibriMix's metadata: which utterances and noises are mixed, and with what gains.

One table for each subset of LibriSpeech, ``Libri<N>Mix/libri<n>mix_<subset>.csv``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import fetch
from espnet2_tisdiss.recipes.corpora.tables import positive_number, read_table
from espnet2_tisdiss.recipes.librimix.tree import SUBSETS, Task

COMMIT = "b898ca375c03e4039cdb3dbe3dd485aad58ec7d1"  # what is downloaded is fixed
URL = f"https://raw.githubusercontent.com/JorisCos/LibriMix/{COMMIT}/metadata"
UTTERANCE = re.compile(r"[\w-]+/(\d+)/(\d+)/(\1-\2-\d+)\.flac")
NOISE = re.compile(r"(?:tr|cv|tt)/[^/]+\.wav")


@dataclass(frozen=True)
class Part:
    """One signal of a mixture: a file, as the metadata writes it, and its gain (linear)."""

    path: str
    gain: float


@dataclass(frozen=True)
class Mixture:
    """One row of the metadata: the utterances, one for each speaker, and the noise."""

    name: str
    sources: tuple[Part, ...]
    noise: Part


def find_metadata(folder: Path | None, downloads: Path, task: Task, name: str) -> Path:
    """Return the metadata of a set.

    Args:
        folder: folder of the tables, or of the folders Libri2Mix and Libri3Mix that hold them;
            None downloads what is needed.
        downloads: where downloaded tables are kept.
        task: which mixtures.
        name: the set.
    """
    table = f"libri{task.num_spk}mix_{SUBSETS[name]}.csv"
    corpus = f"Libri{task.num_spk}Mix"
    if folder is None:
        advice = (
            "download LibriMix (https://github.com/JorisCos/LibriMix) and set LIBRIMIX_METADATA in "
            "db.sh to its folder metadata"
        )
        return fetch(downloads / corpus / table, f"{URL}/{corpus}/{table}", advice)
    for path in (folder / corpus / table, folder / table):
        if path.is_file():
            return path
    raise TisdissError(f"{folder}: has neither {corpus}/{table} nor {table}")


def read_metadata(path: Path, num_spk: int) -> list[Mixture]:
    """Read the metadata of a set."""
    names = [f"source_{number + 1}" for number in range(num_spk)] + ["noise"]
    columns = ["mixture_ID"] + [f"{name}_{what}" for name in names for what in ("path", "gain")]
    return [_mixture(where, row, names) for where, row in read_table(path, columns)]


def _mixture(where: str, row: dict[str, str], names: list[str]) -> Mixture:
    *sources, noise = (
        Part(row[f"{name}_path"], positive_number(where, "gain", row[f"{name}_gain"]))
        for name in names
    )
    # also keeps every path inside the corpus
    utterances = []
    for source in sources:
        utterance = UTTERANCE.fullmatch(source.path)
        if utterance is None:
            raise TisdissError(f"{where}: {source.path!r} is not an utterance of LibriSpeech")
        utterances.append(utterance[3])
    if NOISE.fullmatch(noise.path) is None:
        raise TisdissError(f"{where}: {noise.path!r} is not a noise of WHAM!")
    name = "_".join(utterances)
    if row["mixture_ID"] != name:
        raise TisdissError(
            f"{where}: mixture {row['mixture_ID']!r} is of the utterances of {name!r}"
        )
    return Mixture(name, tuple(sources), noise)
