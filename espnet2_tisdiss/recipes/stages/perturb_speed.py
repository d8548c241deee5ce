#!/usr/bin/env python3
"""Speed perturbation of a data directory (stage 2).

All signals of an utterance, mixture and sources, are played at the same speed.  Because resampling
is linear, a mixture that was the sum of its sources still is.  Factor 1 keeps the original files
and names; only segments, entries of archives and outputs of commands become files.
Another factor f names utterances and speakers ``sp<f>-...``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, groupby
from pathlib import Path

import soxr

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import Source, read_scp, write_scp
from espnet2_tisdiss.recipes.data_directories import read_audio_dir, write_speakers
from espnet2_tisdiss.recipes.parallel import map_in_processes
from espnet2_tisdiss.recipes.program import positive, run_main
from espnet2_tisdiss.recipes.signals import FLOAT_SUBTYPES, PCM_SUBTYPES, read_signal, write_signal


@dataclass(frozen=True)
class Job:
    """One file to make: ``source`` played ``factor`` times as fast, written to ``target``."""

    key: str
    source: Source
    target: Path
    factor: float
    ref_channel: int | None


def perturb_recording(jobs: Sequence[Job]) -> list[str]:
    """Make the files of a recording, which is decoded once; return the problems as lines."""
    with SourceReader() as reader:
        return [problem for job in jobs if (problem := _perturb_file(job, reader))]


def _recording(job: Job) -> tuple[str, str]:
    """Return what the jobs of a recording share: its file, or the only key."""
    return ("cut", job.source.text) if job.source.is_stretch else ("whole", job.key)


def _perturb_file(job: Job, reader: SourceReader) -> str | None:
    """Make one file; return the problem as a line, or None."""
    try:
        signal = read_signal(job.source, job.ref_channel, reader=reader)
        samples, subtype = signal.samples, signal.subtype
        if job.factor != 1:
            # Faster by f is the same as recorded at f times the rate.
            samples = soxr.resample(samples, signal.rate * job.factor, signal.rate)
        if job.factor != 1 or subtype not in PCM_SUBTYPES:
            # The interpolated signal can pass full scale, so it is kept in floating point.
            subtype = subtype if subtype in FLOAT_SUBTYPES else "FLOAT"
        write_signal(job.target, samples, signal.rate, subtype)
    except TisdissError as error:
        return f"utterance {job.key!r}: {error}"
    return None


def perturbed_name(name: str, factor: str) -> str:
    """Return the name of an utterance or a speaker at a speed; the original name at speed 1."""
    return name if Decimal(factor) == 1 else f"sp{factor}-{name}"


def perturb_data_dir(
    data_dir: Path,
    out_dir: Path,
    lists: list[str],
    factors: list[str],
    nj: int,
    ref_channel: int | None,
    run_commands: bool = False,
) -> int:
    """Make ``out_dir`` with each utterance at each speed; return the number of utterances.

    Args:
        data_dir: data directory to read.
        out_dir: data directory to make; it appears when complete.
        lists: scp lists, the mixture's first.
        factors: speeds as text, e.g. ``["0.9", "1.0", "1.1"]``.
        nj: number of processes.
        ref_channel: channel to take of files with several.
        run_commands: accept commands in the lists.
    """
    if len({Decimal(factor) for factor in factors}) != len(factors):
        raise TisdissError(f"speed factors must differ: {' '.join(factors)}")
    tables = read_audio_dir(data_dir, lists, run_commands)
    with replacing_folder(out_dir) as temporary:
        jobs: list[Job] = []
        made: dict[str, dict[str, str]] = {name: {} for name in lists}
        for name in lists:
            for key, source in tables[name].items():
                for factor in factors:
                    new_key = perturbed_name(key, factor)
                    relative = Path("audio", name.removesuffix(".scp"), f"{new_key}.wav")
                    is_kept = new_key == key and source.is_file
                    made[name][new_key] = source.text if is_kept else str(out_dir / relative)
                    if not is_kept:
                        job = Job(key, source, temporary / relative, float(factor), ref_channel)
                        jobs.append(job)
        label = f"speed perturbation of {data_dir}"
        recordings = [list(group) for _, group in groupby(jobs, _recording)]
        results = map_in_processes(perturb_recording, recordings, nj, label)
        if problems := list(chain.from_iterable(results)):
            raise TisdissError("\n".join(problems))
        for name in lists:
            write_scp(temporary / name, made[name])
        _write_speaker_lists(data_dir, temporary, factors)
    return len(made[lists[0]])


def _write_speaker_lists(data_dir: Path, out_dir: Path, factors: list[str]) -> None:
    for path in sorted(data_dir.glob("utt2spk*")):
        table = {
            perturbed_name(key, factor): perturbed_name(speaker, factor)
            for key, speaker in read_scp(path).items()
            for factor in factors
        }
        if path.name == "utt2spk":
            write_speakers(out_dir, table)
        else:
            write_scp(out_dir / path.name, table)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory to read")
    parser.add_argument("out_dir", type=Path, help="data directory to make")
    parser.add_argument("--lists", nargs="+", required=True, help="lists, the mixture's first")
    parser.add_argument("--factors", nargs="+", required=True, help="speeds, e.g. 0.9 1.0 1.1")
    parser.add_argument("--ref_channel", type=int, help="channel to take of files with several")
    parser.add_argument("--run_commands", action="store_true", help="run the commands in lists")
    parser.add_argument("--nj", type=positive, required=True, help="number of processes")
    args = parser.parse_args()
    made = perturb_data_dir(**vars(args))
    print(f"{args.out_dir}: {made} utterances", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main("perturb_speed", main))
