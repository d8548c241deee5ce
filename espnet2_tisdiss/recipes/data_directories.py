"""Read, check and write Kaldi-style data directories.

A data directory holds ``wav.scp spk1.scp ... utt2spk spk2utt``: lists with the same keys.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import Source, byte_order, read_scp, read_sources, write_scp

# which list holds which signal of a two-speaker mixture
LIST_OF_SIGNAL = {"mix": "wav.scp", "s1": "spk1.scp", "s2": "spk2.scp"}

# file with the kind of active levels of the mixtures, if they are not the published ones
LEVELS_LIST = "utt2levels"
MEASURED_LEVELS = "measured"


def listed_path(path: Path, recipe: Path) -> str:
    """Return a path for lists: relative to the recipe's folder, or absolute if outside of it."""
    path, recipe = path.absolute(), recipe.absolute()
    return str(path.relative_to(recipe) if path.is_relative_to(recipe) else path)


def write_speakers(folder: str | Path, utt2spk: Mapping[str, str]) -> None:
    """Write ``utt2spk`` and the matching ``spk2utt`` into ``folder``."""
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk, key=byte_order):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    write_scp(Path(folder) / "utt2spk", utt2spk)
    write_scp(Path(folder) / "spk2utt", {spk: " ".join(utts) for spk, utts in spk2utt.items()})


def read_lengths(folder: Path) -> dict[str, int]:
    """Return the number of samples of each utterance of a formatted set."""
    return {key: int(text) for key, text in read_scp(folder / "utt2num_samples").items()}


def copy_lists(paths: Iterable[Path], out_dir: Path, keys: Collection[str]) -> None:
    """Copy the entries for ``keys`` of several lists; with ``utt2spk`` goes its ``spk2utt``."""
    for path in paths:
        table = read_scp(path)
        if missing := set(keys) - table.keys():
            raise TisdissError(
                f"{path}: lacks utterance {abbreviated(missing, 1)}, which wav.scp has"
            )
        kept = {key: table[key] for key in keys}
        if path.name == "utt2spk":
            write_speakers(out_dir, kept)
        else:
            write_scp(out_dir / path.name, kept)


def read_audio_dir(
    folder: str | Path, lists: Sequence[str], run_commands: bool
) -> dict[str, dict[str, Source]]:
    """Read the lists of audio of one data directory, and check that they have the same keys.

    A file ``segments`` cuts the recordings into utterances.

    Args:
        folder: the data directory.
        lists: file names, e.g. ``["wav.scp", "spk1.scp"]``; the first one is the norm.
        run_commands: accept commands in the lists.

    Returns:
        file name -> (key -> where its audio is).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TisdissError(f"{folder}: no such data directory")
    tables = {
        name: read_sources(folder / name, run_commands, "--run_commands true") for name in lists
    }
    norm = tables[lists[0]]
    for name, table in tables.items():
        if missing := abbreviated(norm.keys() - table.keys(), 1):
            raise TisdissError(f"{folder / name}: lacks utterance {missing}, which {lists[0]} has")
        if extra := abbreviated(table.keys() - norm.keys(), 1):
            raise TisdissError(f"{folder / name}: has utterance {extra}, which {lists[0]} lacks")
    return tables
