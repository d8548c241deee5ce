"""From what the user names - files, folders, patterns, lists - to the files to separate."""

import dataclasses
import glob
import itertools
import os
import re
import string
from collections.abc import Iterable, Sequence
from os.path import isdir, isfile
from pathlib import Path

import soundfile

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_paths
from espnet2_tisdiss.separate.files import Task


def find_tasks(sources: Iterable[str], out: Path) -> list[Task]:
    """Return the files that ``sources`` stand for.

    A file is itself; a folder, all audio below it; a pattern with ``*``, ``?`` or ``**`` what it
    matches, and the folders below its fixed part are kept in ``out``, like those of a folder; a
    list ``*.scp`` (Kaldi's: key and path in each line) its files, named by their keys.

    Raises:
        TisdissError: a folder, a pattern or a list stands for nothing.
    """
    tasks: list[Task] = []
    for source in sources:
        path = Path(source)
        # of os.path, which takes what cannot be looked at for missing
        if path.suffix == ".scp" and isfile(source):
            tasks += _listed(path, out)
        elif isdir(source):
            tasks += _below(path, out)
        elif not os.path.lexists(path) and glob.has_magic(source):
            tasks += _matching(source, out)
        else:  # one that is not there is told in its turn, and does not hold up the others
            tasks.append(Task(path, out, path.stem))
    tasks = list(dict.fromkeys(tasks))  # a file that was named twice is separated once
    return _with_clashes(tasks)


def _matching(pattern: str, out: Path) -> list[Task]:
    """Return the files that a pattern matches, without those of an ``out`` that it reaches into."""
    files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if isfile(name)]
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    fixed, written = Path(*parts), out.resolve()
    if fixed.resolve() in written.parents:
        files = [file for file in files if written not in file.resolve().parents]
    if not files:
        raise TisdissError(f"{pattern}: matches no file; check it, and quote it")
    return [Task(file, out / file.parent.relative_to(fixed), file.stem) for file in files]


def _listed(scp: Path, out: Path) -> list[Task]:
    """Return the files of a Kaldi list."""
    table = read_paths(scp)
    for key in table:
        if Path(key).name != key or key == "..":
            raise TisdissError(f"{scp}: {key}: no file name; keys name the separated files")
    return [Task(Path(path), out, key) for key, path in table.items()]


def _below(folder: Path, out: Path) -> list[Task]:
    """Return the audio below a folder, without hidden files and without ``out``."""
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".oga"}
    suffixes -= {".raw"}  # has no header: whatever it is, it cannot be read
    tasks = []
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
                tasks.append(Task(path, out / here.relative_to(folder), path.stem))
    if not tasks:
        raise TisdissError(
            f"{folder}: holds no audio files (.wav, .flac and so on), nor do its folders"
        )
    return tasks


def _refuse_folder(error: OSError) -> None:
    raise TisdissError(f"{error.filename}: cannot be read ({error.strerror}); leave it out")


def _with_clashes(tasks: list[Task]) -> list[Task]:
    """Return the tasks, noting in those that would be written over another one which it is."""
    names: dict[tuple[Path, str], Path] = {}
    return [
        task if other == task.source else dataclasses.replace(task, clash=other)
        for task in tasks
        for other in [names.setdefault((task.folder, task.name), task.source)]
    ]


def without_separated(tasks: Sequence[Task], pattern: str, suffix: str, skip: bool) -> list[Task]:
    """Return the tasks without files that have the name of a separated file of another one.

    An earlier run has left those, when it wrote beside the recordings.

    Args:
        tasks: all files to be separated.
        pattern: of the names of separated files; see
            :func:`~espnet2_tisdiss.separate.files.full_pattern`.
        suffix: of these names.
        skip: whether what is there is to be left alone.

    Raises:
        TisdissError: there are such files and ``skip`` is false: they would be written over.
    """
    names = re.compile(_expression(pattern) + re.escape(suffix), re.DOTALL)
    sources = {(os.path.realpath(task.folder), task.name): task.source for task in tasks}
    levels = 1 + pattern.count("/")  # a pattern may put files into folders of their own
    kept = []
    for task in tasks:
        parts = Path(os.path.realpath(task.source)).parts
        folder, found = parts[:-levels], names.fullmatch("/".join(parts[-levels:]))
        source = found and folder and sources.get((str(Path(*folder)), found["name"]))
        if not source:
            kept.append(task)
        elif not skip:
            raise TisdissError(
                f"{task.source}: has the name of a separated file of {source}; leave it out, or "
                "choose another output folder"
            )
    return kept


def _expression(pattern: str) -> str:
    """Return the regular expression of the names that a pattern stands for."""
    expression, seen = "", False
    for literal, field, _, _ in string.Formatter().parse(pattern):
        expression += re.escape(literal)
        if field == "name":
            expression += "(?P=name)" if seen else "(?P<name>.+)"
            seen = True
        elif field:
            expression += r"\d+"
    return expression
