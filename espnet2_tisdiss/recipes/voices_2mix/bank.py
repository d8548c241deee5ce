"""The packed bank of a corpus: decode the listed recordings, draw the rooms, write the bank.

Decoded recordings are kept, a file each, until the bank is complete, so that a run that was
interrupted or found unusable files continues where it ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from espnet2_tisdiss.atomic import replacing, write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.bank import Noise, Spoken, Utterance, write_bank
from espnet2_tisdiss.mixing.rooms import impulse_responses
from espnet2_tisdiss.recipes.parallel import map_in_processes
from espnet2_tisdiss.recipes.progress import progress
from espnet2_tisdiss.recipes.voices_2mix.audio import (
    RATE,
    cut,
    cut_noise,
    decode_noise,
    decode_speech,
)
from espnet2_tisdiss.recipes.voices_2mix.listing import Recording, check_splits, hash_of

SHOWN_FAULTS = 20
# Responses are cut where their remaining energy is this far below the total.
TAIL_DB = 60.0


@dataclass(frozen=True)
class Material:
    """Content of a bank, and the faults found while listing it.

    ``room_count`` rooms are drawn from ``seed``.
    """

    recordings: Sequence[Recording]
    noises: Sequence[tuple[str, Path]]
    room_count: int
    seed: int
    faults: Sequence[str] = ()


def fill_bank(
    corpus: Path, material: Material, processes: int, skip_bad: bool, allow_narrow_band: bool
) -> list[str]:
    """Write ``corpus/bank``.

    Args:
        corpus: folder of the corpus.
        material: its content.
        processes: number of processes; the bank does not depend on it.
        skip_bad: leave out unusable recordings.
        allow_narrow_band: accept files below 16 kHz.

    Returns:
        A remark about what was left out, if anything.

    Raises:
        TisdissError: a recording cannot be used and is not skipped, or a split has fewer than two
            speakers left. All usable recordings are decoded first.
    """
    work = corpus / "decoded"
    work.mkdir(parents=True, exist_ok=True)
    sources = [*map(_speech, material.recordings), *map(_noise, material.noises)]
    decode = partial(_decode, work, allow_narrow_band)
    decoded = list(map_in_processes(decode, sources, processes, "recordings"))
    faults = [*material.faults, *(fault for fault in decoded if isinstance(fault, str))]
    remarks = _report_faults(corpus / "faults.txt", faults, skip_bad)
    count = len(material.recordings)
    recordings = _usable(material.recordings, decoded[:count])
    noises = _usable([name for name, _ in material.noises], decoded[count:])
    check_splits(recording for recording, _ in recordings)
    if material.noises and not noises:
        raise TisdissError("none of the noises can be used: give others, or leave out --noise")
    draw = partial(_draw_room, work, material.seed)
    rooms = list(map_in_processes(draw, range(material.room_count), processes, "rooms"))
    with progress(len(recordings), "bank", "recordings") as reach:
        spoken = _utterances(recordings, reach)
        write_bank(corpus / "bank", RATE, spoken, _noises(noises), _stack(rooms))
    shutil.rmtree(work)
    return remarks


def _report_faults(path: Path, faults: Sequence[str], skip_bad: bool) -> list[str]:
    """List all faults in a file; return a remark about them or, unless skipped, raise it."""
    path.unlink(missing_ok=True)
    if not faults:
        return []
    write_atomically(path, "".join(f"{fault}\n" for fault in faults))
    if skip_bad:
        return [f"left out: {len(faults)} recordings that cannot be used, listed in {path}"]
    shown = list(faults[:SHOWN_FAULTS])
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    shown.append(
        f"{len(faults)} recordings cannot be used, listed in {path}: correct them and run again, "
        "which continues from here, or leave them out with --skip_bad"
    )
    raise TisdissError("\n".join(shown))


# --- decoding ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Files, a key for the part of them that is read, and how to read it."""

    files: Sequence[Path]
    key: str
    read: Callable[[bool], np.ndarray]


def _speech(recording: Recording) -> _Source:
    key = "/".join(f"{part.start}-{part.stop}" for part in recording.parts)
    read = partial(decode_speech, recording)
    return _Source([part.path for part in recording.parts], f"{recording.name} {key}", read)


def _noise(noise: tuple[str, Path]) -> _Source:
    name, path = noise
    return _Source([path], f"noise {name}", partial(decode_noise, path))


def _usable[Item](items: Sequence[Item], decoded: Sequence[Path | str]) -> list[tuple[Item, Path]]:
    """Return the items that were decoded, each with its file."""
    pairs = zip(items, decoded, strict=True)
    return [(item, path) for item, path in pairs if isinstance(path, Path)]


def _decode(work: Path, allow_narrow_band: bool, source: _Source) -> Path | str:
    """Decode a source to a file, unless that exists; a changed source is read again.

    Returns:
        The file, or why there is none.

    Raises:
        OSError: the result cannot be written; then nothing else can.
    """
    try:
        stats = [file.stat() for file in source.files]
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    facts = [
        f"{file} {stat.st_size} {stat.st_mtime_ns}"
        for file, stat in zip(source.files, stats, strict=True)
    ]
    path = work / f"{hash_of(' '.join([source.key, *facts]))[:32]}.npy"
    if not path.exists():
        try:
            samples = source.read(allow_narrow_band)
        except TisdissError as error:
            return str(error)
        with replacing(path) as temporary:
            np.save(temporary, samples)
    return path


def _utterances(
    recordings: Sequence[tuple[Recording, Path]], reach: Callable[[int], object]
) -> Iterator[tuple[Utterance, np.ndarray]]:
    for done, (recording, path) in enumerate(recordings, start=1):
        known = {field.name: getattr(recording, field.name) for field in fields(Spoken)}
        for name, samples in _named(recording.name, cut(np.load(path))):
            known["name"] = name
            yield Utterance(**known, level=0.0), samples  # write_bank measures the level
        reach(done)


def _noises(noises: Sequence[tuple[str, Path]]) -> Iterator[tuple[Noise, np.ndarray]]:
    for name, path in noises:
        for piece, samples in _named(name, cut_noise(np.load(path))):
            yield Noise(piece), samples


def _named(name: str, pieces: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Number the pieces of a recording, if there are several."""
    for number, samples in enumerate(pieces, start=1):
        yield (name if len(pieces) == 1 else f"{name}#{number}"), samples


# --- rooms ------------------------------------------------------------------------------------


def _draw_room(work: Path, seed: int, number: int) -> Path:
    """Compute the impulse responses of a room to a file, unless it exists."""
    path = work / f"room{number:04d}.npy"
    if not path.exists():
        responses = impulse_responses(Random(f"{seed}/rooms/{number}"), RATE)
        energy = np.cumsum(np.square(responses[:, ::-1], dtype=np.float64), axis=1)[:, ::-1]
        heard = energy > energy[:, :1] * 10 ** (-TAIL_DB / 10)
        with replacing(path) as temporary:
            np.save(temporary, responses[:, : int(heard.sum(axis=1).max())])
    return path


def _stack(paths: Sequence[Path]) -> np.ndarray:
    """Return the responses of all rooms, float32 (room, place, n), with zeros at their ends."""
    rooms = [np.load(path) for path in paths]
    length = max(room.shape[1] for room in rooms)
    return np.stack([np.pad(room, ((0, 0), (0, length - room.shape[1]))) for room in rooms])
