"""Find the files to separate from the command line: files, folders, patterns and lists."""

import glob
import itertools
import os
import re
import string
from collections.abc import Iterable, Sequence
from os.path import isdir, isfile
from pathlib import Path

import soundfile

from espnet2_tisdiss.cli.streams import STANDARD_INPUT, refuse_address
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_paths
from espnet2_tisdiss.separate.files import InputFile, with_clashes


def find_inputs(sources: Iterable[str], out: Path) -> list[InputFile]:
    """Return the files that ``sources`` refer to, each once.

    A source is one of: a file; a folder, for all audio files below it; a pattern with ``*``, ``?``
    or ``**``, for the files that it matches; a Kaldi list ``*.scp`` (key and path in each line),
    for its files, named by their keys. Subfolders of a folder, or of the fixed part of a pattern,
    are kept in ``out``.

    Args:
        sources: arguments of the command line.
        out: folder of the separated files.

    Raises:
        TisdissError: a folder, pattern or list yields no files.
    """
    inputs: list[InputFile] = []
    for source in sources:
        refuse_address(source)
        path = Path(source)
        # isfile of os.path is False for paths that cannot be accessed, where pathlib's raises
        if path.suffix == ".scp" and isfile(source):
            inputs += _from_scp(path, out)
        elif isdir(source):
            inputs += _from_folder(path, out)
        elif not os.path.lexists(path) and glob.has_magic(source):
            inputs += _from_pattern(source, out)
        else:  # a missing file is reported later, and the others are separated
            inputs.append(InputFile(path, out, "stdin" if source == STANDARD_INPUT else path.stem))
    inputs = list(dict.fromkeys(inputs))  # duplicates are separated once
    return with_clashes(inputs)


def _from_pattern(pattern: str, out: Path) -> list[InputFile]:
    """Return the files that a pattern matches, without those in ``out`` if that is below it."""
    files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if isfile(name)]
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    fixed, written = Path(*parts), out.resolve()
    if fixed.resolve() in written.parents:
        files = [file for file in files if written not in file.resolve().parents]
    if not files:
        raise TisdissError(f"{pattern}: matches no file; check the pattern, and put it in quotes")
    return [InputFile(file, out / file.parent.relative_to(fixed), file.stem) for file in files]


def _from_scp(scp: Path, out: Path) -> list[InputFile]:
    """Return the files of a Kaldi list."""
    table = read_paths(scp)
    for key in table:
        if Path(key).name != key or key == "..":
            raise TisdissError(
                f"{scp}: {key}: not a file name; separated files are named by the keys"
            )
    return [InputFile(Path(path), out, key) for key, path in table.items()]


def _from_folder(folder: Path, out: Path) -> list[InputFile]:
    """Return the audio files below a folder, except hidden files and those in ``out``."""
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".oga"}
    suffixes -= {".raw"}  # has no header, so it cannot be read
    inputs = []
    for place, folders, names in os.walk(folder, onerror=_refuse_folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() != out.resolve()
        )
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                path = here / name
                inputs.append(InputFile(path, out / here.relative_to(folder), path.stem))
    if not inputs:
        raise TisdissError(
            f"{folder}: holds no audio files (.wav, .flac and so on), nor do its subfolders"
        )
    return inputs


def _refuse_folder(error: OSError) -> None:
    raise TisdissError(f"{error.filename}: cannot be read ({error.strerror}); leave it out")


def without_separated(
    inputs: Sequence[InputFile], pattern: str, suffix: str, skip: bool
) -> list[InputFile]:
    """Return the inputs without files that are named like the output of another one.

    Such files come from an earlier run that wrote beside the recordings.

    Args:
        inputs: all files to separate.
        pattern: pattern of output names; see
            :func:`~espnet2_tisdiss.separate.options.FileOptions`.
        suffix: suffix of output names.
        skip: drop such files; otherwise they are an error.

    Raises:
        TisdissError: there are such files, and ``skip`` is false: they would be overwritten.
    """
    names = re.compile(_expression(pattern) + re.escape(suffix), re.DOTALL)
    sources = {(os.path.realpath(item.folder), item.name): item.source for item in inputs}
    levels = 1 + pattern.count("/")  # a pattern may contain folders
    kept = []
    for item in inputs:
        parts = Path(os.path.realpath(item.source)).parts
        folder, found = parts[:-levels], names.fullmatch("/".join(parts[-levels:]))
        source = found and folder and sources.get((str(Path(*folder)), found["name"]))
        if not source:
            kept.append(item)
        elif not skip:
            raise TisdissError(
                f"{item.source}: has the name of a separated file of {source}; leave it out, or "
                "choose another output folder"
            )
    return kept


def _expression(pattern: str) -> str:
    """Return a regular expression for the names that a pattern of output names can produce."""
    expression, seen = "", False
    for literal, field, _, _ in string.Formatter().parse(pattern):
        expression += re.escape(literal)
        if field == "name":
            expression += "(?P=name)" if seen else "(?P<name>.+)"
            seen = True
        elif field:
            expression += r"\d+"
    return expression
