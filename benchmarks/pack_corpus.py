"""Pack a bank of recordings into one small file, and unpack it again.

    python benchmarks/pack_corpus.py BANK corpus.zip
    python benchmarks/pack_corpus.py --unpack corpus.zip BANK

A bank (espnet2_tisdiss/mixing/bank.py) of 8 hours takes 1 GB. In the packed file, speech and noises
are Opus, one stream for each speaker, and rooms are float16. If not everything fits into the size
limit, all speakers contribute the same number of seconds. The test split is left out.
"""

import argparse
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
from measuring import count, run_main

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.bank import (
    Bank,
    Noise,
    Split,
    Utterance,
    read_table,
    write_bank,
    write_table,
)

SPLITS: tuple[Split, ...] = ("train", "valid")
# range of libsndfile's compression level for Opus, in kbit/s for one channel
FAST_KBITS, SLOW_KBITS = 256, 6
OVERHEAD = 1.05  # overhead of Ogg's pages, and of an encoder that exceeds its rate


def encoded(samples: np.ndarray, rate: int, kbits: float) -> bytes:
    """Encode int16 samples (n,) as Opus in Ogg."""
    level = (FAST_KBITS - kbits) / (FAST_KBITS - SLOW_KBITS)
    target = io.BytesIO()
    options = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    soundfile.write(target, samples, rate, **options)
    return target.getvalue()


def decoded(stream: bytes, lengths: Sequence[int]) -> list[np.ndarray]:
    """Decode a stream and cut it into its recordings, int16 (n,) each."""
    samples, _ = soundfile.read(io.BytesIO(stream), dtype="int16")
    missing = sum(lengths) - len(samples)
    samples = np.pad(samples, (0, max(0, missing)))
    return np.split(samples[: sum(lengths)], np.cumsum(lengths)[:-1])


def chosen(utterances: Iterable[Utterance], samples: float) -> list[Utterance]:
    """Choose utterances up to a number of samples.

    The first utterance of each speaker is taken, then the second of each, and so on.
    """
    spoken: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        spoken.setdefault(utterance.speaker, []).append(utterance)
    turns = sorted(
        ((turn, u.speaker, u) for said in spoken.values() for turn, u in enumerate(said)),
        key=lambda item: item[:2],
    )
    taken = []
    for _, _, utterance in turns:
        if utterance.length <= samples:
            taken.append(utterance)
            samples -= utterance.length
    return sorted(taken, key=lambda u: (u.split, u.speaker, u.name))


def pack(folder: Path, target: Path, kbits: float, megabytes: float, most_rooms: int) -> str:
    """Pack a bank; return a line that describes the content.

    Raises:
        TisdissError: the folder holds no bank, or noises and rooms alone are too large.
    """
    banks = {split: Bank(folder, split) for split in SPLITS}
    rate = banks["train"].rate
    noises = _noises(folder)
    rooms = np.load(folder / "rooms.npy", mmap_mode="r")
    # the splits share the rooms by number: thin out every split's part
    rooms = rooms[:: max(1, math.ceil(len(rooms) / most_rooms))].astype(np.float16)
    bytes_per_sample = kbits * 1e3 / 8 / rate * OVERHEAD
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("bank.json", json.dumps({"rate": rate}))
        _write_array(archive, "rooms.npy", rooms)
        noise_samples = np.load(folder / "noise.npy", mmap_mode="r")
        for number, noise in enumerate(noises):
            samples = noise_samples[noise.start : noise.start + noise.length]
            archive.writestr(f"noise/{number:05d}.opus", encoded(samples, rate, kbits))
        _write_rows(archive, "noises.tsv", noises, Noise)
        left = megabytes * 1e6 - temporary.stat().st_size - 2e5  # the tables follow at the end
        everything = [u for b in banks.values() for s in b.speakers for u in s.utterances]
        taken = chosen(everything, left / bytes_per_sample)
        if not taken:
            raise TisdissError(f"{megabytes:g} MB are too few for the noises and rooms of {folder}")
        speech = np.load(folder / "speech.npy", mmap_mode="r")
        for number, said in enumerate(_by_speaker(taken)):
            joined = np.concatenate([speech[u.start : u.start + u.length] for u in said])
            archive.writestr(f"speech/{number:05d}.opus", encoded(joined, rate, kbits))
        _write_rows(archive, "utterances.tsv", taken, Utterance)
    kept = sum(u.length for u in taken) / rate
    available = sum(u.length for u in everything) / rate
    return (
        f"{target}: {target.stat().st_size / 1e6:.1f} MB; {kept / 60:.0f} of {available / 60:.0f} "
        f"minutes of {len({u.speaker for u in taken})} speakers, {len(noises)} noises, "
        f"{len(rooms)} rooms"
    )


def unpack(source: Path, folder: Path, processes: int) -> None:
    """Write the bank of a packed file.

    Raises:
        TisdissError: the file is not a packed corpus.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            rate = int(json.loads(archive.read("bank.json"))["rate"])
            rooms = np.load(io.BytesIO(archive.read("rooms.npy")), allow_pickle=False)
            noises = _read_rows(archive, "noises.tsv", Noise)
            said = _by_speaker(_read_rows(archive, "utterances.tsv", Utterance))
            streams = {
                kind: [archive.read(name) for name in sorted(archive.namelist()) if kind in name]
                for kind in ("speech/", "noise/")
            }
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise TisdissError(f"{source}: not a packed corpus ({error})") from None
    with ProcessPoolExecutor(processes) as pool:
        lengths = [[u.length for u in one] for one in said]
        speech = pool.map(decoded, streams["speech/"], lengths, chunksize=4)
        hisses = pool.map(decoded, streams["noise/"], [[noise.length] for noise in noises])
        pairs = (zip(one, parts, strict=True) for one, parts in zip(said, speech, strict=True))
        write_bank(
            folder,
            rate,
            (pair for one in pairs for pair in one),
            ((noise, part[0]) for noise, part in zip(noises, hisses, strict=True)),
            rooms,
        )


def _noises(folder: Path) -> list[Noise]:
    """Return the complete noises of a bank, of which each split has a part."""
    table = folder / "noises.tsv"
    with table.open(encoding="utf-8", newline="") as file:
        return read_table(file, Noise, table)


def _by_speaker(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    groups: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault((utterance.split, utterance.speaker), []).append(utterance)
    return list(groups.values())


def _read_rows[Row: (Utterance, Noise)](
    archive: zipfile.ZipFile, name: str, row: type[Row]
) -> list[Row]:
    return read_table(io.StringIO(archive.read(name).decode()), row, name)


def _write_rows(
    archive: zipfile.ZipFile, name: str, rows: Sequence, row: type[Utterance] | type[Noise]
) -> None:
    text = io.StringIO()
    write_table(text, row, map(asdict, rows))
    archive.writestr(name, text.getvalue(), zipfile.ZIP_DEFLATED)


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, array)
    archive.writestr(name, content.getvalue(), zipfile.ZIP_DEFLATED)


def main() -> None:
    """Run the command line."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("source", type=Path, help="bank, or packed file with --unpack")
    arguments.add_argument("target", type=Path, help="packed file, or bank with --unpack")
    arguments.add_argument("--unpack", action="store_true", help="unpack instead")
    arguments.add_argument("--kbits", type=float, default=12, help="of Opus [%(default)s]")
    arguments.add_argument("--megabytes", type=float, default=38, help="at most [%(default)s]")
    arguments.add_argument("--rooms", type=count, default=100, help="at most [%(default)s]")
    args = arguments.parse_args()
    if args.unpack:
        unpack(args.source, args.target, os.cpu_count() or 1)
    else:
        print(pack(args.source, args.target, args.kbits, args.megabytes, args.rooms))


if __name__ == "__main__":
    run_main(main)
