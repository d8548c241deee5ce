"""ESPnet data directories of the corpus: written to a temporary folder, checked, renamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.data_directories import (
    LIST_OF_SIGNAL,
    listed_path,
    read_data_dir,
    write_speakers,
)
from espnet2_tisdiss.recipes.mini_2mix.mixtures import SIGNALS, Mode, signal_paths
from espnet2_tisdiss.recipes.mini_2mix.plan import Mixture, split_of_set
from espnet2_tisdiss.recipes.mini_2mix.synthesis import utterance_path
from espnet2_tisdiss.recipes.mini_2mix.transcripts import transcript

# Speaker of the first source, by utterance; the lists' own speaker is the pair of both.
FIRST_SPEAKERS = "utt2spk_ref1"


def make_data_dirs(
    corpus: Path,
    data: Path,
    recipe: Path,
    by_set: Mapping[str, Sequence[Mixture]],
    suffix: str,
    mode: Mode = "min",
) -> dict[str, int]:
    """Make ``data/train``, ``data/valid`` and so on: a data directory for each set.

    Args:
        corpus: folder of the corpus.
        data: folder for the data directories; a directory of an earlier corpus is replaced.
        recipe: paths inside this folder are written relative to it, other ones absolute.
        by_set: the mixtures of each set of the corpus.
        suffix: added to the directories' names.
        mode: length of the mixtures; see :mod:`.mixtures`.

    Returns:
        The number of utterances, by data directory.

    Raises:
        TisdissError: the lists would not be usable.
    """
    check_speakers(by_set)
    counts = {}
    for name, members in by_set.items():
        with replacing_folder(data / f"{name}{suffix}") as temporary:
            _write_lists(corpus, temporary, recipe, members, mode)
            if name == "train":
                write_scp(temporary / FIRST_SPEAKERS, {m.key: m.speakers[0] for m in members})
            check_lists(temporary, members)
        counts[f"{name}{suffix}"] = len(members)
    return counts


def add_transcripts(
    corpus: Path, data: Path, recipe: Path, by_set: Mapping[str, Sequence[Mixture]], suffix: str
) -> dict[str, int]:
    """Add to each set what each speaker says, and make sets of the single utterances.

    ``text_spk1`` and ``text_spk2`` of a set have the words of its mixtures' speakers. The set
    ``train_singles`` has the utterances that the mixtures of ``train`` were made of: ``wav.scp``,
    ``text``, ``utt2spk`` and ``spk2utt``.

    Returns:
        The number of utterances, by new data directory.
    """
    said = {name: transcript(text) for name, text in read_scp(corpus / "text").items()}
    counts = {}
    for name, members in by_set.items():
        for number in (0, 1):
            texts = {mixture.key: said[mixture.utterances[number]] for mixture in members}
            write_scp(data / f"{name}{suffix}" / f"text_spk{number + 1}", texts)
        speakers = {
            utterance: speaker
            for mixture in members
            for utterance, speaker in zip(mixture.utterances, mixture.speakers, strict=True)
        }
        paths = {one: utterance_path(corpus, who, one) for one, who in speakers.items()}
        singles = f"{name}_singles{suffix}"
        with replacing_folder(data / singles) as temporary:
            listed = {one: listed_path(path, recipe) for one, path in paths.items()}
            write_scp(temporary / "wav.scp", listed)
            write_scp(temporary / "text", {one: said[one] for one in speakers})
            write_speakers(temporary, speakers)
        counts[singles] = len(speakers)
    return counts


def _write_lists(
    corpus: Path, folder: Path, recipe: Path, members: Sequence[Mixture], mode: Mode
) -> None:
    tables: dict[str, dict[str, str]] = {signal: {} for signal in SIGNALS}
    for mixture in members:
        for signal, path in signal_paths(corpus, mixture, mode).items():
            tables[signal][mixture.key] = listed_path(path, recipe)
    for signal, table in tables.items():
        write_scp(folder / LIST_OF_SIGNAL[signal], table)
    write_speakers(folder, {mixture.key: mixture.speaker for mixture in members})


def check_speakers(by_set: Mapping[str, Sequence[Mixture]]) -> None:
    """Check that keys are unique, no speaker is in two splits and none is mixed with itself.

    Raises:
        TisdissError: a check fails.
    """
    split_of_speaker: dict[str, str] = {}
    for name, members in by_set.items():
        split = split_of_set(name)
        if len({mixture.key for mixture in members}) < len(members):
            raise TisdissError(f"data/{name}: the same mixture is there twice")
        for mixture in members:
            if mixture.speakers[0] == mixture.speakers[1]:
                raise TisdissError(f"data/{name}: {mixture.key} mixes a speaker with itself")
            for speaker in mixture.speakers:
                other = split_of_speaker.setdefault(speaker, split)
                if other != split:
                    raise TisdissError(f"speaker {speaker} is both in {other} and in {split}")


def check_lists(folder: Path, members: Sequence[Mixture]) -> None:
    """Read the written lists back and check their keys and numbers.

    Raises:
        TisdissError: a list lacks an utterance, or ``spk2utt`` does not hold every one.
    """
    tables = read_data_dir(folder, [*LIST_OF_SIGNAL.values(), "utt2spk"])
    if tables["wav.scp"].keys() != {mixture.key for mixture in members}:
        raise TisdissError(f"{folder / 'wav.scp'}: not the utterances that were planned")
    listed = [u for utts in read_scp(folder / "spk2utt").values() for u in utts.split()]
    if sorted(listed) != sorted(tables["utt2spk"]):
        raise TisdissError(f"{folder / 'spk2utt'}: not the utterances of utt2spk")
