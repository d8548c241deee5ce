#!/usr/bin/env python3
"""Check the audio of a data directory and convert it to one rate and format (stage 3).

Utterances defined by a file ``segments`` are cut from their recording, which is decoded only once.
A file that is already single-channel, at the right rate and in the right format stays in place. Any
other file, and segments, entries of archives and outputs of commands, are written below the output
directory, which appears only when it is complete. Floating-point files stay floating-point, and
resampled ones become floating-point, so nothing is clipped.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import Source, write_scp
from espnet2_tisdiss.recipes.data_directories import copy_lists, read_audio_dir
from espnet2_tisdiss.recipes.parallel import map_in_processes
from espnet2_tisdiss.recipes.program import positive, run_main
from espnet2_tisdiss.recipes.signals import (
    CONTAINERS,
    PCM_SUBTYPES,
    Signal,
    read_signal,
    write_signal,
)

MAX_PROBLEMS = 10


@dataclass(frozen=True)
class Format:
    """Format that every audio file must have.

    Attributes:
        rate: samples per second.
        audio_format: "wav" or "flac".
        resample: convert files at another rate instead of refusing them.
        ref_channel: channel to use in files with several; None refuses them.
        allow_silence: accept an all-zero signal with a warning instead of refusing it.
    """

    rate: int
    audio_format: str
    resample: bool
    ref_channel: int | None
    allow_silence: bool


@dataclass(frozen=True)
class Utterance:
    """The audio of one utterance: list name -> source, and the folders for new files.

    ``temporary`` is the folder to write into, ``final`` its later name.
    """

    key: str
    sources: dict[str, Source]
    temporary: Path
    final: Path


@dataclass
class Outcome:
    """Result of one utterance: problems, or the paths and the number of samples."""

    key: str
    problems: list[str] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    num_samples: int = 0
    digest: str = ""
    silent: list[str] = field(default_factory=list)
    written: int = 0
    resampled: int = 0


def format_recording(utterances: Sequence[Utterance], wanted: Format) -> list[Outcome]:
    """Check and convert the utterances of a recording, which is decoded once."""
    with ExitStack() as stack:
        names = utterances[0].sources
        readers = {name: stack.enter_context(SourceReader()) for name in names}
        return [_format_utterance(utterance, wanted, readers) for utterance in utterances]


def _format_utterance(
    utterance: Utterance, wanted: Format, readers: Mapping[str, SourceReader]
) -> Outcome:
    """Check and convert all files of one utterance; problems are collected, not raised."""
    outcome = Outcome(utterance.key)
    lengths: dict[str, int] = {}
    digest = hashlib.sha256()
    for name, source in utterance.sources.items():
        try:
            signal = read_signal(source, wanted.ref_channel, reader=readers[name])
            if not signal.samples.any():
                outcome.silent.append(name)
                if not wanted.allow_silence:
                    raise TisdissError(f"{source}: silent (every sample is zero)")
            path, samples = _place(signal, name, utterance, wanted)
            lengths[name] = len(samples)
            digest.update(f"{name} {lengths[name]} ".encode() + samples.tobytes())
            outcome.resampled += signal.rate != wanted.rate
        except TisdissError as error:
            outcome.problems.append(f"utterance {utterance.key!r}, {name}: {error}")
            continue
        outcome.paths[name] = path
        outcome.written += path != source.text
    norm = next(iter(utterance.sources))
    for name, length in lengths.items():
        if norm in lengths and length != lengths[norm]:
            outcome.problems.append(
                f"utterance {utterance.key!r}, {name}: {utterance.sources[name]}: has {length} "
                f"samples, {utterance.sources[norm]} has {lengths[norm]}"
            )
    outcome.num_samples = lengths.get(norm, 0)
    outcome.digest = digest.hexdigest()
    return outcome


def _place(
    signal: Signal, name: str, utterance: Utterance, wanted: Format
) -> tuple[str, np.ndarray]:
    """Return the path of the file to use and its samples; write the file if it must change."""
    source = utterance.sources[name]
    right_rate = signal.rate == wanted.rate
    right_format = signal.container in CONTAINERS[wanted.audio_format]
    if source.is_file and right_rate and right_format and signal.channels == 1:
        return source.text, signal.samples
    samples, subtype = signal.samples, signal.subtype
    if not right_rate:
        if not wanted.resample:
            raise TisdissError(
                f"{source}: is at {signal.rate} Hz, not {wanted.rate} Hz; "
                "convert it with --resample true, or give its rate with --fs"
            )
        samples = soxr.resample(samples, signal.rate, wanted.rate)
    if wanted.audio_format == "wav" and not (right_rate and subtype in PCM_SUBTYPES):
        # Resampled and decoded signals can pass full scale, which only floating point holds.
        subtype = "DOUBLE" if subtype == "DOUBLE" else "FLOAT"
    relative = Path("audio", Path(name).stem, f"{utterance.key}.{wanted.audio_format}")
    try:
        write_signal(utterance.temporary / relative, samples, wanted.rate, subtype)
    except TisdissError as error:
        raise TisdissError(f"{error}; use --audio_format wav") from None  # which holds everything
    return str(utterance.final / relative), samples


def format_data_dir(
    data_dir: Path,
    out_dir: Path,
    lists: list[str],
    wanted: Format,
    nj: int,
    run_commands: bool = False,
) -> list[Outcome]:
    """Make ``out_dir`` from ``data_dir``; see the module docstring.

    In addition to the lists it writes ``utt2num_samples`` and ``utt2digest`` (the digest of an
    utterance's samples in all lists), copies every other ``utt2*``, and, if silence is allowed,
    lists the utterances with a silent signal in ``silent_utts``.

    Raises:
        TisdissError: unusable lists, or up to ten lines about unusable files.
    """
    tables = read_audio_dir(data_dir, lists, run_commands)
    keys = list(tables[lists[0]])
    if bad := next((key for key in keys if "/" in key), None):
        raise TisdissError(f"{data_dir / lists[0]}: key {bad!r} holds a '/', which names a folder")
    with replacing_folder(out_dir) as temporary:
        utterances = [
            Utterance(key, {name: tables[name][key] for name in lists}, temporary, out_dir)
            for key in keys
        ]
        outcomes = _format_all(utterances, wanted, nj, f"format {data_dir}")
        for name in lists:
            write_scp(temporary / name, {outcome.key: outcome.paths[name] for outcome in outcomes})
        made = {
            "utt2num_samples": {outcome.key: str(outcome.num_samples) for outcome in outcomes},
            "utt2digest": {outcome.key: outcome.digest for outcome in outcomes},
        }
        for name, table in made.items():
            write_scp(temporary / name, table)
        silent = {out.key: " ".join(out.silent) for out in outcomes if out.silent}
        if silent:
            write_scp(temporary / "silent_utts", silent)
        # utt2spk (for dynamic mixing), utt2category, ...
        extra = {path for path in data_dir.glob("utt2*") if path.name not in made}
        copy_lists(sorted(extra), temporary, keys)
    return outcomes


def _recording(utterance: Utterance) -> list[str]:
    """Return what the utterances of a recording share: its files, or the only key."""
    cut = [source.text for source in utterance.sources.values() if source.is_stretch]
    return cut or [utterance.key]


def _format_all(utterances: list[Utterance], wanted: Format, nj: int, label: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    problems: list[str] = []
    recordings = [list(group) for _, group in groupby(utterances, _recording)]
    results = map_in_processes(partial(format_recording, wanted=wanted), recordings, nj, label)
    for found in results:
        outcomes += found
        problems += [problem for outcome in found for problem in outcome.problems]
        if len(problems) >= MAX_PROBLEMS:
            results.close()
            problems[MAX_PROBLEMS:] = [f"stopped after {MAX_PROBLEMS} problems"]
            break
    if problems:
        raise TisdissError("\n".join(problems))
    return outcomes


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory to read")
    parser.add_argument("out_dir", type=Path, help="data directory to make")
    parser.add_argument("--lists", nargs="+", required=True, help="lists, the mixture's first")
    parser.add_argument("--fs", type=positive, required=True, help="samples per second")
    parser.add_argument("--audio_format", choices=sorted(CONTAINERS), required=True)
    parser.add_argument("--resample", action="store_true", help="convert files of another rate")
    parser.add_argument("--ref_channel", type=int, help="channel to take of files with several")
    parser.add_argument("--run_commands", action="store_true", help="run the commands in lists")
    parser.add_argument("--allow_silence", action="store_true", help="for test sets: only warn")
    parser.add_argument("--nj", type=positive, required=True, help="number of processes")
    args = parser.parse_args()
    wanted = Format(args.fs, args.audio_format, args.resample, args.ref_channel, args.allow_silence)
    outcomes = format_data_dir(
        args.data_dir, args.out_dir, args.lists, wanted, args.nj, args.run_commands
    )
    written = sum(outcome.written for outcome in outcomes)
    resampled = sum(outcome.resampled for outcome in outcomes)
    notice = f" ({resampled} of them resampled to {args.fs} Hz)" if resampled else ""
    hours = sum(outcome.num_samples for outcome in outcomes) / args.fs / 3600
    print(
        f"{args.out_dir}: {len(outcomes)} utterances, {hours:.2f} h; "
        f"{written} files written{notice}, "
        f"{len(outcomes) * len(args.lists) - written} used where they are",
        file=sys.stderr,
    )
    silent = [outcome for outcome in outcomes if outcome.silent]
    if silent:
        print(
            f"{args.out_dir}: warning: {len(silent)} utterances with a silent signal "
            f"({silent[0].key}: {', '.join(silent[0].silent)}, ...); they are not scored",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(run_main("format_audio", main))
