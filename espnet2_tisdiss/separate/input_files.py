"""The files of a run: the path of each, the names of its outputs, and whether these exist."""

import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.audio.sources import SourceReader
from espnet2_tisdiss.choices import Channel, Existing
from espnet2_tisdiss.errors import AudioError, TisdissError
from espnet2_tisdiss.lists import Source
from espnet2_tisdiss.separate.options import FileOptions


@dataclass(frozen=True)
class InputFile:
    """One file to separate.

    Attributes:
        source: the recording: a file, or an entry of a list that is not just a file.
        folder: folder for the separated files.
        name: value of ``{name}`` in the pattern of the file names.
        refusal: why it is not separated; empty if it is.
        copy: a file with the content of a source that can be read only once.
    """

    source: Path | Source
    folder: Path
    name: str
    refusal: str = ""
    copy: Path | None = None

    @property
    def path(self) -> Path | Source:
        """The file to read, or the entry of a list."""
        return self.copy or self.source

    @property
    def ext(self) -> str:
        """Value of ``{ext}``: the suffix of the file without its dot."""
        return self.source.suffix[1:] if isinstance(self.source, Path) else ""


def name_of(path: Path) -> str:
    """Return the value of ``{name}`` for a file: without suffix, unless only dots are left."""
    return path.stem if path.stem.strip(".") else path.name


def output_paths(item: InputFile, options: FileOptions, channel: int, num_spk: int) -> list[Path]:
    """Return the files of a channel (from 1), speaker by speaker, depth by depth."""
    return [
        item.folder / (name + options.output.suffix)
        for n_re in options.depths
        for speaker in range(1, num_spk + 1)
        for name in [
            options.file_names.format(
                name=item.name, ext=item.ext, n_re=n_re, channel=channel, speaker=speaker
            )
        ]
    ]


def is_settled(paths: Iterable[Path], existing: Existing) -> bool:
    """Return whether the existing outputs leave nothing to do.

    Raises:
        TisdissError: one of the paths cannot be written.
    """
    exist = [exists(path) for path in paths]
    return existing != "overwrite" and (all if existing == "skip" else any)(exist)


def durations_of(inputs: Iterable[InputFile], channel: Channel) -> dict[InputFile, list[float]]:
    """Return, for each file, the seconds of each channel to separate.

    Unreadable files get an empty list; their error is reported when they are separated.
    """
    durations: dict[InputFile, list[float]] = {}
    with SourceReader() as reader:
        for item in inputs:
            durations[item] = []
            with suppress(AudioError):
                # notices are reported with the file
                info = reader.open(item.path, on_notice=lambda notice: None).info
                durations[item] = [info.duration] * (info.channels if channel == "each" else 1)
    return durations


def to_separate(
    durations: Mapping[InputFile, list[float]], options: FileOptions, num_spk: int
) -> list[list[float]]:
    """Return the seconds of each channel of the files that are not settled."""
    work = []
    for item, channels in durations.items():
        numbers = range(1, len(channels) + 1)
        paths = [path for n in numbers for path in output_paths(item, options, n, num_spk)]
        with suppress(TisdissError):  # reported when the file is separated
            if not item.refusal and not is_settled(paths, options.existing):
                work.append(channels)
    return work


def exists(path: Path) -> bool:
    """Return whether a file exists; refuse a path to which nothing can be written.

    Raises:
        TisdissError: the name is too long or a folder's, or a parent is a file.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TisdissError(
            f"{path}: cannot be written ({error.strerror}); choose another folder or pattern"
        ) from None
    if is_folder:
        raise TisdissError(f"{path}: is a folder; choose another folder or pattern")
    return True
