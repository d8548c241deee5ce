"""WSJ0's utterances: find them, and convert the discs' sphere files."""

import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import do_all
from espnet2_tisdiss.recipes.signals import frames_of

WSJ0_RATE = 16000
SPHERE = ".wv1"
WAV = ".wav"
SEARCH_DEPTH = 5  # parent/csr_1/11-1.1/wsj0/si_tr_s


def find_utterances(root: Path, sources: Mapping[str, str], kept: Path, nj: int) -> dict[str, Path]:
    """Find the wav files of utterances.

    Args:
        root: a folder with sets of WSJ0 in it, a few levels down at most, in upper or lower case:
            ``wsj0/si_tr_s/...`` with wav files, or the discs (``csr_1/11-1.1/wsj0/si_tr_s/...``)
            with sphere files, or both.
        sources: utterance -> path in the lists, e.g. ``wsj0/si_tr_s/01x/01xo031a.wav``.
        kept: folder for wav files that are made of sphere files.
        nj: number of processes.

    Returns:
        Utterance -> file. Wav files are not checked for existence.
    """
    names = {utterance: Path(*Path(source).parts[-3:]) for utterance, source in sources.items()}
    sets = {name.parts[0] for name in names.values()}
    folders = find_sets(root, sets)
    found = index_files(path for paths in folders.values() for path in paths)
    wavs = {name: path for name, path in found.items() if name.suffix == WAV}
    if wavs:
        # a missing wav file gets the name that it would have next to the others
        homes = {name.parts[0]: path.parents[1] for name, path in sorted(wavs.items())}
        return {
            utterance: wavs.get(name) or homes.get(name.parts[0], root).joinpath(*name.parts[1:])
            for utterance, name in names.items()
        }
    spheres = {name.with_suffix(""): path for name, path in found.items()}
    if not spheres:
        there = ", ".join(str(path) for paths in folders.values() for path in paths[:1])
        raise TisdissError(
            f"{root}: holds no WSJ0: neither wsj0/{min(sets)}/*/*{WAV} nor, of the discs, "
            f"11-1.1/wsj0/{min(sets)}/*/*{SPHERE}, {SEARCH_DEPTH} levels down at most"
            + (f" (found {there}, without such files)" if there else "")
            + ": give the folder above wsj0 or above the discs"
        )
    return convert(root, spheres, names, kept, nj)


def find_sets(root: Path, sets: Collection[str]) -> dict[str, list[Path]]:
    """Find the folders of sets in a folder, or the folder itself.

    A disc may name them in upper case. The sets of several discs are in several folders.

    Args:
        root: where to look; folders inside a set's are left out.
        sets: their names, in lower case, e.g. ``si_tr_s``.

    Returns:
        Set -> its folders, sorted.
    """
    found: dict[str, list[Path]] = {name: [] for name in sorted(sets)}
    if root.name.lower() in found:
        return found | {root.name.lower(): [root]}
    for folder, inner, _ in root.walk(follow_symlinks=True):
        for name in sorted(inner):
            if name.lower() in found:
                found[name.lower()].append(folder / name)
        depth = len(folder.relative_to(root).parts)
        inner[:] = [
            name for name in inner if depth + 1 < SEARCH_DEPTH and name.lower() not in found
        ]
    return {name: sorted(paths) for name, paths in found.items() if paths}


def index_files(folders: Iterable[Path]) -> dict[Path, Path]:
    """Return ``<set>/<speaker>/<utterance>.<wav or wv1>``, in lower case -> file, of some sets.

    A CD-ROM's names may end in a version, ``;1``.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*")):
            name = Path(path.name.lower().partition(";")[0])
            if name.suffix in (WAV, SPHERE) and not name.name.startswith("."):
                place = Path(folder.name.lower(), path.parent.name.lower(), name)
                found.setdefault(place, path)
    return found


def convert(
    root: Path,
    spheres: Mapping[Path, Path],
    names: Mapping[str, Path],
    kept: Path,
    nj: int,
) -> dict[str, Path]:
    """Convert the sphere files of all utterances to wav, unless this has been done before.

    Args:
        root: folder of the sphere files, for messages.
        spheres: ``<set>/<speaker>/<utterance>`` -> sphere file.
        names: utterance -> ``<set>/<speaker>/<utterance>.wav``.
        kept: folder for the wav files.
        nj: number of processes.

    Returns:
        Utterance -> wav file.
    """
    wavs, jobs, missing = {}, [], []
    for utterance, name in names.items():
        wavs[utterance], bare = kept / "wsj0" / name, name.with_suffix("")
        if wavs[utterance].is_file():
            continue
        if bare in spheres:
            jobs.append((spheres[bare], wavs[utterance]))
        else:
            missing.append(f"{bare}{SPHERE}")
    if missing:
        raise TisdissError(f"{root}: lacks {abbreviated(missing, 1)} on all discs")
    if not jobs:
        return wavs
    program = shutil.which("sph2pipe")
    if program is None:
        raise TisdissError(
            f"{root}: holds sphere files ({SPHERE}), but sph2pipe, which converts them, is not in "
            "the PATH: install it, or give a folder with wsj0/<set>/<speaker>/<utterance>.wav"
        )
    do_all(partial(convert_file, program), jobs, nj, "sphere to wav")
    return wavs


def convert_file(program: str, job: tuple[Path, Path]) -> None:
    """Convert a sphere file to a wav file, ``job``, by sph2pipe, whose path is ``program``."""
    sphere, wav = job
    with replacing(wav) as temporary:
        done = subprocess.run(
            [program, "-p", "-f", "wav", str(sphere), str(temporary)],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise TisdissError(f"{sphere}: sph2pipe failed: {reason}")
        frames_of(temporary, WSJ0_RATE)
