"""What the speakers of mixtures say, and their single utterances, for recognition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.corpora.data_sets import DataSet, Entry, check_keys, write_data_dir
from espnet2_tisdiss.recipes.corpora.files import do_all, quantise, read_unpadded, write_audio
from espnet2_tisdiss.recipes.signals import is_whole

Names = Callable[[Entry], Sequence[str]]  # the utterances of a mixture, in the order of its lists


@dataclass(frozen=True)
class Transcribed:
    """Sets of mixtures whose speakers' words are known.

    Attributes:
        data: folder of the data directories.
        names: the utterances of a mixture.
        texts: utterance -> its words.
    """

    data: Path
    names: Names
    texts: Mapping[str, str]

    def add_to(self, part: DataSet) -> None:
        """Write ``text_spk1``, ``text_spk2`` and so on into a set's data directory.

        Raises:
            TisdissError: an utterance has no transcript.
        """
        said = {entry.key: self.names(entry) for entry in part.entries}
        unknown = {name for names in said.values() for name in names} - self.texts.keys()
        if unknown:
            raise TisdissError(
                f"{part.name}: {len(unknown)} utterances have no transcript: "
                f"{abbreviated(unknown, 3)}"
            )
        speakers = len(part.entries[0].voices)
        for number in range(speakers):
            texts = {key: self.texts[names[number]] for key, names in said.items()}
            write_scp(self.data / part.name / f"text_spk{number + 1}", texts)

    def write_singles(self, part: DataSet, name: str, folder: Path, rate: int, nj: int) -> None:
        """Write the data directory of a set's single utterances, with ``text``.

        Args:
            part: the set, of mixtures as long as the longest utterance.
            name: of the data directory.
            folder: for the audio: the references without the silence that pads them.
            rate: in Hz.
            nj: number of processes.

        Raises:
            TisdissError: a source is silent, or a file cannot be written.
        """
        singles = single_entries(part, self.names)
        entries = do_all(partial(make_unpadded, folder, rate), list(singles.values()), nj, name)
        made = DataSet(name, entries)
        check_keys(made)
        write_data_dir(self.data / name, made)
        texts = {entry.key: self.texts[utterance] for utterance, entry in singles.items()}
        write_scp(self.data / name / "text", texts)


def check_full_length(version: str) -> None:
    """Refuse transcripts of mixtures that are cut to the shortest utterance.

    Raises:
        TisdissError: the version is not max.
    """
    if version != "max":
        raise TisdissError(
            "--transcripts needs --min_or_max max: the other mixtures end before all is said"
        )


def single_entries(part: DataSet, names: Names) -> dict[str, Entry]:
    """Return utterance -> its source in a set of mixtures, as an entry of its own."""
    singles: dict[str, Entry] = {}
    for entry in part.entries:
        _, *sources = entry.files.values()
        for utterance, voice, path in zip(names(entry), entry.voices, sources, strict=True):
            key = utterance if utterance.startswith(voice) else f"{voice}_{utterance}"
            singles[utterance] = Entry(key, voice, (voice,), {"wav.scp": path})
    return singles


def make_unpadded(folder: Path, rate: int, single: Entry) -> Entry:
    """Write a source without its padding, from which training would take silent segments.

    Args:
        folder: folder of the file; a complete one is kept.
        rate: in Hz.
        single: the source.

    Returns:
        ``single`` with the new file.

    Raises:
        TisdissError: the source is silent, or the file cannot be written.
    """
    target = folder / f"{single.key}.wav"
    samples = read_unpadded(single.files["wav.scp"], rate)
    if not is_whole(target, rate, len(samples)):
        write_audio(target, quantise(samples), rate)
    return replace(single, files={"wav.scp": target})
