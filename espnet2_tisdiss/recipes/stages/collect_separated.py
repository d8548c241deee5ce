"""Keep what inference has finished, list what is missing, and collect the results.

Inference jobs write ``<work>/jobs/<n>/out/<part>/wavs/<speaker>/<utterance>.wav`` (or another
format); a part holds the results at one depth. ``todo`` moves the utterances that are complete for
all speakers to ``<work>/kept/<part>`` and lists those that are missing in some part; ``collect``
makes ``<folder>/wavs`` and ``<folder>/spk<i>.scp`` from a complete part.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.data_directories import read_lengths
from espnet2_tisdiss.recipes.signals import is_whole


def salvage(work: Path, lengths: dict[str, int], num_spk: int) -> None:
    """Move finished utterances of all parts from the jobs' folders to ``<work>/kept``.

    Args:
        work: the work folder of inference.
        lengths: utterance -> number of samples of its mixture.
        num_spk: number of separated files each utterance has.
    """
    speakers = [str(number) for number in range(1, num_spk + 1)]
    for wavs in sorted(work.glob("jobs/*/out/*/wavs")):
        # a process that has succeeded has written complete files, so they need not be opened here
        succeeded = (wavs.parents[2] / "done").is_file()
        kept = work / "kept" / wavs.parent.name
        for speaker in speakers:
            (kept / speaker).mkdir(parents=True, exist_ok=True)
        for first in sorted((wavs / "1").iterdir()):
            made = [wavs / speaker / first.name for speaker in speakers]
            length = lengths.get(first.stem)
            if length is None:
                continue
            if all(wav.is_file() if succeeded else is_whole(wav, length) for wav in made):
                for wav, speaker in zip(made, speakers, strict=True):
                    wav.replace(kept / speaker / first.name)


def finished(work: Path, part: str, num_spk: int) -> set[str]:
    """Name the utterances that are finished for a part, in this run and in earlier ones."""
    # an utterance's files are moved in the order of the speakers: the last one completes it
    return {wav.stem for wav in (work / "kept" / part / str(num_spk)).glob("*")}


def todo(work: Path, data_dir: Path, num_spk: int, parts: Sequence[str]) -> int:
    """Write ``<work>/todo.scp`` with the mixtures that a part lacks; return their number."""
    mixtures = read_scp(data_dir / "wav.scp")
    salvage(work, read_lengths(data_dir), num_spk)
    done = set.intersection(*(finished(work, part, num_spk) for part in parts))
    left = {key: path for key, path in mixtures.items() if key not in done}
    write_scp(work / "todo.scp", left)
    return len(left)


def collect(work: Path, data_dir: Path, num_spk: int, part: str, folder: Path) -> int:
    """Put a part's separated files and their lists into ``folder``; return their number.

    ``work`` is removed when it holds nothing for another part.

    Raises:
        TisdissError: some utterance is not separated, or not into ``num_spk`` files.
    """
    lengths = read_lengths(data_dir)
    salvage(work, lengths, num_spk)
    if missing := sorted(lengths.keys() - finished(work, part, num_spk)):
        raise TisdissError(
            f"{work}: {len(missing)} utterances lack {num_spk} separated files as long as their "
            f"mixture ({missing[0]}, ...); does the model separate {num_spk} speakers (--ref_num)?"
        )
    shutil.rmtree(folder / "wavs", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (work / "kept" / part).rename(folder / "wavs")
    for number in range(1, num_spk + 1):
        wavs = sorted((folder / "wavs" / str(number)).iterdir())
        write_scp(folder / f"spk{number}.scp", {wav.stem: str(wav) for wav in wavs})
    if not any(work.glob("kept/*/*/*")):
        shutil.rmtree(work)
    return len(lengths)
