"""The data directories of the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.corpora.data_sets import DataSet, Entry, check_plan, write_data_dir
from espnet2_tisdiss.recipes.corpora.files import Version
from espnet2_tisdiss.recipes.corpora.transcripts import (
    named_utterances,
    single_set,
    with_transcripts,
)
from espnet2_tisdiss.recipes.data_directories import LIST_OF_SIGNAL, listed_path
from espnet2_tisdiss.recipes.mini_2mix.mixtures import signal_paths
from espnet2_tisdiss.recipes.mini_2mix.plan import Mixture
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
    mode: Version = "min",
) -> dict[str, int]:
    """Make ``data/train``, ``data/valid`` and so on: a data directory for each set.

    In the mode ``max``, which cuts no words, ``text_spk1`` and ``text_spk2`` hold the speakers'
    transcripts, and ``train_singles`` and so on the single utterances with their ``text``.

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
        TisdissError: a mixture is there twice, or a speaker of training in another set.
    """
    sets = {
        name: _mixture_set(f"{name}{suffix}", members, corpus, recipe, mode)
        for name, members in by_set.items()
    }
    check_plan(list(sets.values()), [part.name for name, part in sets.items() if name != "train"])
    made = list(sets.values())
    if mode == "max":
        said = {name: transcript(text) for name, text in read_scp(corpus / "text").items()}
        made = [with_transcripts(part, named_utterances, said) for part in made]
        for name, part in sets.items():
            singles = single_set(f"{name}_singles{suffix}", part, named_utterances, said)
            entries = [_unmixed(corpus, recipe, entry) for entry in singles.entries]
            made.append(replace(singles, entries=entries))
    for part in made:
        write_data_dir(data / part.name, part)
    return {part.name: len(part.entries) for part in made}


def _mixture_set(
    name: str, members: Sequence[Mixture], corpus: Path, recipe: Path, mode: Version
) -> DataSet:
    entries = []
    for mixture in members:
        paths = signal_paths(corpus, mixture, mode)
        files = {
            LIST_OF_SIGNAL[signal]: Path(listed_path(path, recipe))
            for signal, path in paths.items()
        }
        entries.append(Entry(mixture.key, mixture.speaker, mixture.speakers, files))
    first = {mixture.key: mixture.speakers[0] for mixture in members}
    return DataSet(name, entries, lists={FIRST_SPEAKERS: first} if name.startswith("train") else {})


def _unmixed(corpus: Path, recipe: Path, single: Entry) -> Entry:
    """Return a single utterance with the file that was mixed, without padding."""
    path = utterance_path(corpus, single.speaker, single.key)
    return replace(single, files={"wav.scp": Path(listed_path(path, recipe))})
