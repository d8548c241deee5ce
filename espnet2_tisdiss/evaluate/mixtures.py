"""Mixtures with known sources: finding those of a data set, and reading their signals.

Axis letters: j speaker, n sample.
"""

import dataclasses
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import exists
from pathlib import Path

import numpy as np
import soxr

from espnet2_tisdiss.audio.folders import audio_files
from espnet2_tisdiss.audio.reading import AudioInfo
from espnet2_tisdiss.audio.sources import opened, probe_source
from espnet2_tisdiss.errors import AudioError, TisdissError
from espnet2_tisdiss.lists import Source, read_sources

logger = logging.getLogger(__name__)

MIXTURE_FOLDERS = ("mix", "mix_clean", "mix_both")  # names in wsj0-2mix and LibriMix
OTHER_FOLDERS = re.compile(r"s\d+|noise")  # folders next to them that hold no mixtures


@dataclass(frozen=True)
class EvalMixture:
    """A mixture with its reference sources.

    Attributes:
        name: key of the mixture, or name of its file without suffix.
        path: file of the mixture.
        references: files of the sources, one per speaker.
        seconds: length of the mixture; 0 until :func:`with_length` has read it.
    """

    name: str
    path: Path | Source
    references: tuple[Path | Source, ...]
    seconds: float = 0.0


def find_mixtures(data: str | Path, num_spk: int, run_commands: bool = False) -> list[EvalMixture]:
    """List the mixtures of a data set.

    Args:
        data: a data directory (wav.scp, spk1.scp, ...), where relative paths in the lists start
            from the current folder, as in the recipe that wrote them; or a corpus folder with mix/
            (or mix_clean/, mix_both/), s1/, s2/, ... that hold files of the same names; or that
            mix/ folder itself.
        num_spk: speakers in a mixture.
        run_commands: accept commands in the lists of a data directory.

    Raises:
        TisdissError: ``data`` is none of these, is incomplete, or has another number of speakers.
    """
    data = Path(data)
    if not data.is_dir():
        raise TisdissError(f"{data}: no such folder; give a data directory or a corpus folder")
    if (data / "wav.scp").is_file():
        return _from_data_dir(data, num_spk, run_commands)
    found = [data / name for name in MIXTURE_FOLDERS if (data / name).is_dir()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise TisdissError(f"{data}: holds {names}; choose one, such as {found[0]}")
    has_sources = (data.absolute().parent / "s1").is_dir()
    if not found and has_sources and not OTHER_FOLDERS.fullmatch(data.name):
        found = [data.absolute()]
    if not found:
        raise TisdissError(f"{data}: holds neither wav.scp nor {', '.join(MIXTURE_FOLDERS)}")
    return _from_corpus(found[0], num_spk)


def _from_data_dir(data: Path, num_spk: int, run_commands: bool) -> list[EvalMixture]:
    """Return the mixtures of a data directory."""
    names = ["wav.scp", *(f"spk{number}.scp" for number in range(1, num_spk + 1))]
    _check_parts(data, names, f"spk{num_spk + 1}.scp", num_spk)
    tables = [_read_scp_of_files(data / name, run_commands) for name in names]
    mixtures, *references = tables
    for name, table in zip(names[1:], references, strict=True):
        for key in mixtures.keys() - table.keys():
            raise TisdissError(f"{data / name}: has no entry {key}, which is in wav.scp")
    return [
        EvalMixture(key, source.place, tuple(table[key].place for table in references))
        for key, source in mixtures.items()
    ]


def _read_scp_of_files(scp: Path, run_commands: bool) -> dict[str, Source]:
    """Return the sources of the audio in a Kaldi list, by key.

    Raises:
        TisdissError: the list is not valid, or none of its files exists.
    """
    table = read_sources(scp, run_commands)
    files = [source.text for source in table.values() if source.is_file]
    if files and len(files) == len(table) and not any(map(exists, files)):
        raise TisdissError(
            f"{scp}: none of its files exists, such as {files[0]}; run this in "
            "the folder that the paths are relative to, usually the recipe's"
        )
    return table


def _from_corpus(folder: Path, num_spk: int) -> list[EvalMixture]:
    """Return the mixtures of a mix/ folder; their sources are in s1/, s2/, ... next to it."""
    names = [f"s{number}" for number in range(1, num_spk + 1)]
    _check_parts(folder.parent, names, f"s{num_spk + 1}", num_spk)
    found = audio_files(folder, subfolders=False)
    if not found.files:
        left_out = f"; {found.notice()}" if found.left_out else ""
        raise TisdissError(f"{folder}: holds no audio files (.wav, .flac and so on){left_out}")
    if found.left_out:
        logger.warning("%s: %s; convert them", folder, found.notice())
    return [
        EvalMixture(path.stem, path, tuple(folder.parent / name / path.name for name in names))
        for path in found.files
    ]


def _check_parts(data: Path, names: Sequence[str], beyond: str, num_spk: int) -> None:
    """Raise TisdissError unless a data set has ``names``, but not ``beyond``."""
    for name in names:
        if not (data / name).exists():
            raise TisdissError(
                f"{data / name}: missing; the model separates {num_spk} speakers, and the data "
                "set must hold the source of each"
            )
    if (data / beyond).exists():
        raise TisdissError(
            f"{data / beyond}: the data set has more speakers than the model's {num_spk}"
        )


def with_length(mixture: EvalMixture, rate: int | None = None) -> EvalMixture:
    """Return a mixture with its length read from its file.

    The length of an unreadable file stays 0; :func:`score_mixtures` reports the mixture as failed.

    Args:
        mixture: the mixture.
        rate: required sample rate in Hz; None: any.

    Raises:
        TisdissError: the file has another sample rate.
    """
    try:
        info = probe_source(mixture.path)
    except AudioError:
        return mixture
    _check_rate(mixture.path, info, rate)
    return dataclasses.replace(mixture, seconds=info.duration)


def read_signals(
    paths: Sequence[Path | Source], model_rate: int, rate: int | None = None
) -> np.ndarray:
    """Return the signals (1 + j, n) of a mixture and its sources, at the model's rate.

    Args:
        paths: the mixture's file, then its sources'.
        model_rate: sample rate in Hz of the result.
        rate: required sample rate of the files in Hz; None: any.

    Raises:
        TisdissError: a file cannot be read, has another rate than required, or more than one
            channel; or the files differ in rate or length.
    """
    infos, waves = [], []
    for path in paths:
        with opened(path) as audio:
            infos.append(audio.info)
            waves.append(np.concatenate(list(audio.blocks()), axis=1)[0])
    first = infos[0]
    for path, info in zip(paths, infos, strict=True):
        _check_rate(path, info, rate)
        if info.channels != 1:
            raise TisdissError(f"{path}: has {info.channels} channels; scoring needs mono files")
        if (info.rate, info.frames) != (first.rate, first.frames):
            raise TisdissError(
                f"{path}: {info.frames} samples at {info.rate} Hz, but its mixture has "
                f"{first.frames} at {first.rate}; a source must be as long as the mixture"
            )
    signals = np.stack(waves)
    if first.rate != model_rate:
        signals = soxr.resample(np.ascontiguousarray(signals.T), first.rate, model_rate).T
    return np.ascontiguousarray(signals)


def _check_rate(path: Path | Source, info: AudioInfo, rate: int | None) -> None:
    """Raise TisdissError if a file has another sample rate than required."""
    if rate is not None and info.rate != rate:
        raise TisdissError(
            f"{path}: is at {info.rate} Hz, the model at {rate}; scores of different rates do not "
            "compare: convert it with --resample, or correct the model's rate with --model-rate"
        )
