#!/usr/bin/env python3
"""Keep what inference has finished, tell what is left to do, and put the results in place.

Inference jobs write ``<work>/jobs/<n>/out/wavs/<speaker>/<utterance>.wav`` (or another format).
``todo`` moves the utterances that are whole for all speakers to ``<work>/wavs`` and lists the
others; ``collect`` makes ``<folder>/wavs`` and ``<folder>/spk<i>.scp`` once nothing is left.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import soundfile
from datadir import DataError, read_scp, run_main, write_scp


def is_whole(wav: Path, num_samples: int) -> bool:
    """Whether an audio file is there with its full length."""
    try:
        return soundfile.info(wav).frames == num_samples
    except (soundfile.SoundFileError, OSError):
        return False


def salvage(work: Path, lengths: dict[str, int], num_spk: int) -> set[str]:
    """Move finished utterances from the jobs' folders to ``<work>/wavs``.

    Args:
        work: the work folder of inference.
        lengths: utterance -> number of samples of its mixture.
        num_spk: number of separated files each utterance has.

    Returns:
        All finished utterances, of this run and of earlier ones.
    """
    speakers = [str(number) for number in range(1, num_spk + 1)]
    for speaker in speakers:
        (work / "wavs" / speaker).mkdir(parents=True, exist_ok=True)
    for wavs in sorted(work.glob("jobs/*/out/wavs")):
        for first in sorted((wavs / "1").iterdir()):
            made = [wavs / speaker / first.name for speaker in speakers]
            length = lengths.get(first.stem)
            if length is not None and all(is_whole(wav, length) for wav in made):
                for wav, speaker in zip(made, speakers, strict=True):
                    wav.replace(work / "wavs" / speaker / first.name)
    # All files of an utterance are moved one after the other: the last speaker's tells.
    return {wav.stem for wav in (work / "wavs" / speakers[-1]).iterdir()} & lengths.keys()


def todo(work: Path, data_dir: Path, num_spk: int) -> int:
    """Write ``<work>/todo.scp`` with the mixtures that are not separated yet; give their number."""
    mixtures = read_scp(data_dir / "wav.scp")
    finished = salvage(work, _lengths(data_dir), num_spk)
    left = {key: path for key, path in mixtures.items() if key not in finished}
    write_scp(work / "todo.scp", left)
    return len(left)


def collect(work: Path, data_dir: Path, folder: Path, num_spk: int) -> int:
    """Put the separated files and their lists into ``folder``, remove ``work``; give the number.

    Raises:
        DataError: some utterance is not separated, or not into ``num_spk`` files.
    """
    lengths = _lengths(data_dir)
    if missing := sorted(lengths.keys() - salvage(work, lengths, num_spk)):
        raise DataError(
            f"{work}: {len(missing)} utterances lack {num_spk} separated files as long as their "
            f"mixture ({missing[0]}, ...); does the model separate {num_spk} speakers (--ref_num)?"
        )
    shutil.rmtree(folder / "wavs", ignore_errors=True)
    (work / "wavs").rename(folder / "wavs")
    for number in range(1, num_spk + 1):
        wavs = sorted((folder / "wavs" / str(number)).iterdir())
        write_scp(folder / f"spk{number}.scp", {wav.stem: str(wav) for wav in wavs})
    shutil.rmtree(work)
    return len(lengths)


def _lengths(data_dir: Path) -> dict[str, int]:
    return {key: int(text) for key, text in read_scp(data_dir / "utt2num_samples").items()}


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["todo", "collect"], help="todo prints how many are left")
    parser.add_argument("--work", type=Path, required=True, help="work folder of inference")
    parser.add_argument("--data_dir", type=Path, required=True, help="the formatted test set")
    parser.add_argument("--folder", type=Path, required=True, help="where the results go")
    parser.add_argument("--num_spk", type=int, required=True, help="number of speakers")
    return parser


def main() -> None:
    """Run the command line."""
    args = get_parser().parse_args()
    if args.action == "todo":
        print(todo(args.work, args.data_dir, args.num_spk))
    else:
        made = collect(args.work, args.data_dir, args.folder, args.num_spk)
        print(f"{args.folder}: {made} mixtures separated", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main("separated", main))
