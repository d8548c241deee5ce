"""Transcripts of mixtures, and single utterances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.data_sets import DataSet, Entry, check_keys
from espnet2_tisdiss.recipes.corpora.files import do_all, quantise, read_unpadded, write_audio
from espnet2_tisdiss.recipes.signals import is_whole

Names = Callable[[Entry], Sequence[str]]  # the utterances of a mixture, in the order of its lists


def named_utterances(entry: Entry) -> list[str]:
    """Return the utterances of a file's name, ``<utt1>_<level1>_<utt2>_<level2>``."""
    return entry.files["wav.scp"].stem.split("_")[::2]


def check_full_length(version: str) -> None:
    """Refuse transcripts of mixtures that are cut to the shortest utterance."""
    if version != "max":
        raise TisdissError(
            "--transcripts needs --min_or_max max: the mixtures of min end before the last word"
        )


def with_transcripts(part: DataSet, names: Names, texts: Mapping[str, str]) -> DataSet:
    """Return a set with the lists ``text_spk1``, ``text_spk2`` and so on.

    Args:
        part: mixtures.
        names: the utterances of a mixture.
        texts: utterance -> its words.

    Raises:
        TisdissError: an utterance has no transcript.
    """
    said = {entry.key: names(entry) for entry in part.entries}
    if unknown := {name for each in said.values() for name in each} - texts.keys():
        raise TisdissError(
            f"{part.name}: {len(unknown)} utterances have no transcript: {abbreviated(unknown, 3)}"
        )
    lists: dict[str, dict[str, str]] = {}
    for key, utterances in said.items():
        for number, name in enumerate(utterances, start=1):
            lists.setdefault(f"text_spk{number}", {})[key] = texts[name]
    return replace(part, lists={**part.lists, **lists})


def single_set(name: str, part: DataSet, names: Names, texts: Mapping[str, str]) -> DataSet:
    """Describe the single utterances of a set of mixtures, whose files are the references.

    Args:
        name: of the set to make.
        part: mixtures.
        names: the utterances of a mixture.
        texts: utterance -> its words; empty: a set without ``text``.
    """
    singles: dict[str, Entry] = {}
    for entry in part.entries:
        sources = [path for listed, path in entry.files.items() if listed.startswith("spk")]
        for utterance, voice, path in zip(names(entry), entry.voices, sources, strict=True):
            key = utterance if utterance.startswith(voice) else f"{voice}_{utterance}"
            singles[utterance] = Entry(key, voice, (voice,), {"wav.scp": path})
    text = {entry.key: texts[utterance] for utterance, entry in singles.items() if texts}
    made = DataSet(name, list(singles.values()), lists={"text": text} if texts else {})
    check_keys(made)
    return made


def unpadded(singles: DataSet, folder: Path, rate: int, nj: int) -> DataSet:
    """Write single utterances without the silence that pads them to a mixture's length.

    Otherwise training would take segments of this silence.

    Args:
        singles: see :func:`single_set`.
        folder: for the files; complete ones are kept.
        rate: in Hz.
        nj: number of processes.
    """
    entries = do_all(partial(_unpad, folder, rate), singles.entries, nj, singles.name)
    return replace(singles, entries=entries)


def _unpad(folder: Path, rate: int, single: Entry) -> Entry:
    target = folder / f"{single.key}.wav"
    samples = read_unpadded(single.files["wav.scp"], rate)
    if not is_whole(target, len(samples), rate):
        write_audio(target, quantise(samples), rate)
    return replace(single, files={"wav.scp": target})
