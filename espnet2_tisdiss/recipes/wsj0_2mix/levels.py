"""The active levels of WSJ0's utterances, as linear powers: published ones, or measured here.

The kind of levels and each level are recorded in the folder of the mixtures made with them, because
mixtures with different levels look the same.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.corpora.active_level import active_level
from espnet2_tisdiss.recipes.corpora.files import do_all, fetch, read_source, to_rate
from espnet2_tisdiss.recipes.corpora.tables import positive_number
from espnet2_tisdiss.recipes.wsj0_2mix.speech import WSJ0_RATE

LEVEL_RATE = 8000  # levels are those of the 8 kHz signals, for mixtures at 16 kHz as well
LEVEL_FILES = ("activlev_si_tr_s.txt", "activlev_si_dt_05.txt", "activlev_si_et_05.txt")
LEVELS_FOLDER = "activlev"  # next to the lists, as in pywsj0-mix
LEVELS_ADVICE = (
    "the published active levels are in the folder metadata/activlev of "
    "https://github.com/mpariente/pywsj0-mix: copy the three files next to the lists, or accept "
    'mixtures that differ in level with --local_data_opts "--measure_levels"'
)
POWERS_NOTE = "levels.txt"
WAY_NOTE = "made_with.txt"


def published_powers(
    utterances: Iterable[str], lists: Path, kept: Path, url: str
) -> dict[str, float]:
    """Return the published active levels of utterances.

    Args:
        utterances: their names.
        lists: folder of the lists of mixtures.
        kept: folder of downloaded lists.
        url: address of the lists' folder to download from.
    """
    folder = _find_levels(lists, kept, url)
    powers: dict[str, float] = {}
    for name in LEVEL_FILES:
        for utterance, text in read_scp(folder / name).items():
            powers[utterance] = positive_number(f"{folder / name}: {utterance}", "power", text)
    wanted = list(utterances)
    if missing := [utterance for utterance in wanted if utterance not in powers]:
        raise TisdissError(
            f"{folder}: activlev_*.txt lack utterance {abbreviated(missing, 1)}: {LEVELS_ADVICE}"
        )
    return {utterance: powers[utterance] for utterance in wanted}


def _find_levels(lists: Path, kept: Path, url: str) -> Path:
    """Return the folder of the published levels: that of the lists, or one with downloads."""
    downloaded = kept / LEVELS_FOLDER
    for folder in (lists / LEVELS_FOLDER, lists):
        if folder != downloaded and any((folder / name).is_file() for name in LEVEL_FILES):
            return folder
    if downloaded.is_dir():
        _fetch_levels(downloaded, url)
    else:  # all three or none
        with replacing_folder(downloaded) as temporary:
            _fetch_levels(temporary, url)
    return downloaded


def _fetch_levels(folder: Path, url: str) -> None:
    for name in LEVEL_FILES:
        fetch(folder / name, f"{url}/{LEVELS_FOLDER}/{name}", LEVELS_ADVICE)


def measure_power(path: Path) -> float:
    """Measure the active level of an utterance at 8 kHz."""
    samples = to_rate(read_source(path, WSJ0_RATE), WSJ0_RATE, LEVEL_RATE)
    try:
        return active_level(samples, LEVEL_RATE).power
    except ValueError as error:
        raise TisdissError(f"{path}: {error}") from None


def settle_way(out: Path, way: Mapping[str, str]) -> None:
    """Record how the files in ``out`` are made; refuse to mix them with files made differently."""
    note = out / WAY_NOTE
    noted = read_scp(note) if note.is_file() else way
    for name, value in way.items():
        if noted.get(name) != value:
            raise TisdissError(
                f"{note}: the files in {out} are made with {name} {noted.get(name)}, not {value}: "
                "remove it, or give another folder with --out"
            )
    write_scp(note, dict(way))


def settle_powers(
    files: Mapping[str, Path], published: Mapping[str, float] | None, out: Path, nj: int
) -> dict[str, float]:
    """Return the active level of each utterance, and record it in ``out``.

    Args:
        files: utterance -> its file.
        published: utterance -> its published level, for all of ``files``; None: measure them.
        out: folder of the files made here.
        nj: number of processes.

    Raises:
        TisdissError: a level differs from the noted one, or cannot be measured.
    """
    note = out / POWERS_NOTE
    noted = {name: float(text) for name, text in read_scp(note).items()} if note.is_file() else {}
    if published is not None:
        powers = dict(published)
    else:
        new = [name for name in files if name not in noted]
        measured = do_all(measure_power, [files[name] for name in new], nj, "active levels")
        powers = noted | dict(zip(new, measured, strict=True))
    for name, power in powers.items():
        if noted.get(name, power) != power:
            raise TisdissError(
                f"{note}: {out} was begun with other levels than the published ones that are found "
                f"now (see {name}): remove it, or give another folder with --out"
            )
    write_scp(note, {name: repr(power) for name, power in (noted | powers).items()})
    return powers
