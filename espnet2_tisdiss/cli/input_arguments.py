"""Find the files to separate from the command line: files, folders, patterns and lists."""

import dataclasses
import glob
import itertools
import os
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

from espnet2_tisdiss.audio.folders import Found, audio_files, each_once, real_paths, walk
from espnet2_tisdiss.cli.streams import STANDARD_INPUT, refuse_address
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import Source, read_sources
from espnet2_tisdiss.separate.input_files import InputFile, name_of


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The files that the command line's arguments refer to.

    Attributes:
        inputs: the files to separate.
        notices: a line for each folder with files that look like audio but cannot be read.
    """

    inputs: list[InputFile]
    notices: list[str]


def find_inputs(sources: Iterable[str], out: Path, run_commands: bool = False) -> Inputs:
    """Return the files that ``sources`` refer to, each once.

    A source is one of: a file; a folder, for all audio files below it; a pattern with ``*``, ``?``
    or ``**``, for the files that it matches; a Kaldi list ``*.scp`` (key and path in each line),
    for its files, named by their keys. Subfolders of a folder, or of the fixed part of a pattern,
    are kept in ``out``.

    Args:
        sources: arguments of the command line.
        out: folder of the separated files.
        run_commands: accept commands in lists.

    Raises:
        TisdissError: a folder, pattern or list yields no files.
    """
    found: list[tuple[InputFile, bool]] = []  # and whether it was named, not found by a search
    notices: list[str] = []
    for source in sources:
        refuse_address(source)
        path = Path(source)
        # os.path.isfile returns False for inaccessible paths, for which pathlib's is_file raises
        if path.suffix == ".scp" and isfile(source):
            found += [(item, True) for item in _from_scp(path, out, run_commands)]
        elif isdir(source):
            files = audio_files(path, without=[out])
            found += [(item, False) for item in _from_folder(path, files, out)]
            notices += [f"{path}: {files.notice()}; convert them"] if files.left_out else []
        elif not os.path.lexists(path) and glob.has_magic(source):
            found += [(item, False) for item in _from_pattern(source, out)]
        else:  # a missing file is reported later, and the others are separated
            name = "stdin" if source == STANDARD_INPUT else name_of(path)
            found.append((InputFile(path, out, name), True))
    return Inputs(_each_once(found), notices)


def _each_once(found: Sequence[tuple[InputFile, bool]]) -> list[InputFile]:
    """Return the inputs, each real file once; a file given with two names counts as two inputs."""
    files = [(item.source, named) for item, named in found if isinstance(item.source, Path)]
    real = real_paths(file for file, _ in files)
    is_named = {real[file] for file, named in files if named}
    left: set[Path | Source] = set()
    left.update(each_once((file for file, named in files if not named), without=is_named))
    inputs: dict[Any, InputFile] = {}
    for item, named in found:
        if named:
            place = real[item.source] if isinstance(item.source, Path) else item.source
            inputs.setdefault((place, item.folder, item.name), item)
        elif item.source in left:
            left.remove(item.source)
            inputs[item] = item
    return list(inputs.values())


def _from_pattern(pattern: str, out: Path) -> list[InputFile]:
    """Return the files that a pattern matches, without separated files in ``out``."""
    files = [Path(name) for name in _matches(pattern) if not isdir(name)]
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    fixed, written = Path(*parts), out.resolve()
    if fixed.resolve() in written.parents:
        files = [file for file in files if written not in file.resolve().parents]
    if not files:
        raise TisdissError(f"{pattern}: matches no file; check the pattern, and put it in quotes")
    return [InputFile(file, out / file.parent.relative_to(fixed), name_of(file)) for file in files]


def _matches(pattern: str) -> Iterator[str]:
    """Yield what a pattern matches, like :func:`glob.glob`; ``**`` visits each real folder once."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from sorted(glob.glob(pattern))
        return
    at = parts.index("**")
    for base in filter(isdir, sorted(glob.glob(str(Path(*parts[:at]))))):
        for folder, _ in walk(base):
            inner = Path(glob.escape(str(folder)), *(parts[at + 1 :] or "*"))
            yield from _matches(str(inner))


def _from_scp(scp: Path, out: Path, run_commands: bool) -> list[InputFile]:
    """Return the recordings of a Kaldi list."""
    table = read_sources(scp, run_commands)
    for key in table:
        if Path(key).name != key or key == "..":
            raise TisdissError(
                f"{scp}: {key}: not a file name; separated files are named by the keys"
            )
    return [InputFile(source.place, out, key) for key, source in table.items()]


def _from_folder(folder: Path, found: Found, out: Path) -> list[InputFile]:
    """Return the files found in a folder."""
    if not found.files:
        notice = f"; {found.notice()}" if found.left_out else ""
        raise TisdissError(
            f"{folder}: holds no audio files (.wav, .flac and so on), nor do its subfolders{notice}"
        )
    return [
        InputFile(file, out / file.parent.relative_to(folder), name_of(file))
        for file in found.files
    ]


def without_separated(
    inputs: Sequence[InputFile], pattern: str, suffix: str, skip: bool
) -> list[InputFile]:
    """Return the inputs without files that are named like the output of another one.

    Such files come from an earlier run that wrote into the folder of the recordings.

    Args:
        inputs: all files to separate.
        pattern: pattern of output names; see
            :class:`~espnet2_tisdiss.separate.options.FileOptions`.
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
        parts = Path(os.path.realpath(str(item.source))).parts
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
        elif field == "ext":
            expression += "[^/]*"
        elif field:
            expression += r"\d+"
    return expression
