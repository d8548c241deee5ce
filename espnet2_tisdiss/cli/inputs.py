"""From what the user names - files, folders, patterns, lists - to the files to separate."""

import glob
import os
import re
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

import soundfile
from espnet2.fileio.read_text import read_2columns_text

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.files import Task


def find_tasks(sources: Iterable[str], out: Path) -> list[Task]:
    """Return the files that ``sources`` stand for.

    A file is itself; a folder, all audio below it, whose subfolders are kept in ``out``; a pattern
    with ``*``, ``?`` or ``**`` what it matches; a list ``*.scp`` (Kaldi's: key and path in each
    line) its files, named by their keys.

    Raises:
        TisdissError: a source is nothing, or two files would be written under one name.
    """
    tasks: list[Task] = []
    for source in sources:
        path = Path(source)
        if path.suffix == ".scp" and path.is_file():
            tasks += _listed(path, out)
        elif path.is_dir():
            tasks += _below(path, out)
        elif not os.path.lexists(path) and glob.has_magic(source):
            found = sorted(glob.glob(source, recursive=True))
            files = [Path(name) for name in found if os.path.isfile(name)]
            if not files:
                raise TisdissError(f"{source}: matches no file")
            tasks += [Task(file, out, file.stem) for file in files]
        else:  # one that is not there is told in its turn, and does not hold up the others
            tasks.append(Task(path, out, path.stem))
    tasks = list(dict.fromkeys(tasks))  # a file that was named twice is separated once
    _refuse_collisions(tasks)
    return tasks


def _listed(scp: Path, out: Path) -> list[Task]:
    """Return the files of a Kaldi list."""
    try:
        table = read_2columns_text(scp)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise TisdissError(f"{scp}: is no list of '<key> <path>' lines ({error})") from None
    for key, path in table.items():
        if not path or path.endswith("|"):
            raise TisdissError(f"{scp}: {key}: not the path of a file: {path or 'nothing'}")
        if Path(key).name != key or key == "..":
            raise TisdissError(f"{scp}: {key}: no file name; keys name the separated files")
    if not table:
        raise TisdissError(f"{scp}: the list is empty")
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
        raise TisdissError(f"{folder}: holds no audio files")
    return tasks


def _refuse_folder(error: OSError) -> None:
    raise TisdissError(f"{error.filename}: cannot be read ({error.strerror}); leave it out")


def _refuse_collisions(tasks: list[Task]) -> None:
    """Raise TisdissError if two files would be written under one name."""
    names: dict[tuple[Path, str], Path] = {}
    for task in tasks:
        other = names.setdefault((task.folder, task.name), task.source)
        if other != task.source:
            raise TisdissError(
                f"{other} and {task.source} would be written under one name, {task.name}: separate "
                "them into different folders"
            )


def without_separated(tasks: Sequence[Task], pattern: str, suffix: str, skip: bool) -> list[Task]:
    """Return the tasks without files that have the name of a separated file of another one.

    An earlier run has left those, when it wrote beside the recordings.

    Args:
        tasks: all files to be separated.
        pattern: of the names of separated files; see :func:`~espnet2_tisdiss.files.full_pattern`.
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
