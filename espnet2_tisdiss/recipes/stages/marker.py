"""Steps that are done once: the facts their results depend on, and the markers that record them.

A marker is a JSON file, fact -> value. A step is done if its marker has exactly the current facts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.checks import abbreviated
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_sources
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.user_files import read_json

MISSING = "missing"
SHOWN = 3  # names of changed facts in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fact:
    """Something that results depend on: its name, for messages, and a way to get its value."""

    name: str
    measure: Callable[[], str]


def option(name: str, value: str) -> Fact:
    """An option of the driver."""
    return Fact(f"--{name}", lambda: value)


def content(path: Path) -> Fact:
    """A file's content."""
    return Fact(str(path), partial(digest, path))


def contents(name: str, folder: Path, *patterns: str) -> Fact:
    """The names and contents of those files of a folder that match one of the patterns."""

    def value() -> str:
        paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
        return summary({path.name: digest(path) for path in paths}) if paths else MISSING

    return Fact(name, value)


def audio(scp: Path) -> Fact:
    """A list's content, and size and modification time of each file that it names."""
    return Fact(f"the audio of {scp}", partial(digest_audio, scp))


def presence(path: Path) -> Fact:
    """A file or folder that must exist."""
    return Fact(f"the presence of {path}", lambda: "yes" if path.exists() else MISSING)


def outcome(step: Step) -> Fact:
    """The results of a step, identified by the facts that they depend on."""
    return Fact(f"what made {step.what}", lambda: summary(step.values))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, or "missing"."""
    if not path.is_file():
        return MISSING
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_audio(scp: Path) -> str:
    """Return the digest of a list and of its files' sizes and times, or "missing"."""
    if not scp.is_file():
        return MISSING
    total = hashlib.sha256()
    for key, source in read_sources(scp, run_commands=True).items():
        if source.is_command:  # its output is not known without running it
            total.update(f"{key} {source}\n".encode())
            continue
        path, _ = source.archive or (Path(source.text), 0)
        try:
            status = path.stat()
        except OSError:
            return MISSING
        total.update(f"{key} {source} {status.st_size} {status.st_mtime_ns}\n".encode())
    return total.hexdigest()


def summary(values: Mapping[str, str]) -> str:
    """Return the digest of named values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def measure(facts: Iterable[Fact]) -> dict[str, str]:
    """Return name -> value of each fact."""
    return {fact.name: fact.measure() for fact in facts}


def changes(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the facts that differ or that only one side has."""
    return sorted({name for name, _ in recorded.items() ^ now.items()})


@dataclass(frozen=True)
class Step:
    """Work that is done once, and again when its facts have changed.

    Attributes:
        what: its name in messages.
        marker: the file that records it.
        facts: what its results depend on.
        results: facts about the results, which must not change.
        needs: files that must exist before it starts -> what to do if they are missing.
        unmade: message if results are missing after the work; {} stands for their names.
        shared: the folder whose lock the work takes, if it is not the marker's.
    """

    what: str
    marker: Path
    facts: Sequence[Fact]
    results: Sequence[Fact] = ()
    needs: Mapping[Path, str] = field(default_factory=dict)
    unmade: str = "{} is missing after it was made"
    shared: Path | None = None

    @cached_property
    def values(self) -> dict[str, str]:
        """The facts at the first access, which is before the work."""
        return measure(self.facts)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the folder that the work writes to."""
        return holding(self.shared or self.marker.parent)

    def check_needs(self) -> None:
        """Check that the files made by earlier stages exist."""
        for path, advice in self.needs.items():
            if not path.exists():
                raise TisdissError(f"{path} is missing: {advice}")

    def recorded(self) -> dict[str, str] | None:
        """Return the facts of the marker, or None if there is no readable one."""
        try:
            return read_json(self.marker)
        except TisdissError:
            return None

    def changes(self) -> list[str] | None:
        """Return the names of the facts changed since it was done; None if it was not done."""
        now = {**self.values, **measure(self.results)}
        recorded = self.recorded()
        return None if recorded is None else changes(recorded, now)

    def is_done(self) -> bool:
        """Return whether it is done and nothing has changed since; log either."""
        changed = self.changes()
        if changed:
            log.info("%s: changed since it was done: %s", self.what, abbreviated(changed, SHOWN))
        elif changed is not None:
            log.info("%s: already done (to do it again, remove %s)", self.what, self.marker)
        return changed == []

    def require(self, since: str, advice: str) -> None:
        """Check that it is done and nothing has changed since."""
        changed = self.changes()
        if changed is None:
            raise TisdissError(f"{self.marker} is missing: {advice}")
        if changed:
            names = abbreviated(changed, SHOWN)
            raise TisdissError(f"{self.what}: changed since {since} ({names}): {advice}")

    def mark_done(self) -> None:
        """Record the facts before the work, and those about its results.

        Raises:
            TisdissError: a fact says that something is missing.
        """
        made = {**self.values, **measure(self.results)}
        if missing := [name for name, value in made.items() if value == MISSING]:
            names = [name.removeprefix("the presence of ") for name in missing]
            raise TisdissError(self.unmade.format(" ".join(names)))
        os.sync()  # a power failure must not leave the marker without the results
        write_atomically(self.marker, json.dumps(made, indent=1) + "\n")

    def do_once(
        self, work: Callable[[], object], settle: Callable[[], object] = lambda: None
    ) -> bool:
        """Do it unless it is done; return whether it was done now.

        Args:
            work: does it, while the lock is held.
            settle: called after it has been marked as done.
        """
        self.check_needs()
        if self.is_done():
            return False
        with self.lock():
            if self.changes() == []:  # another run has done it before this one got the lock
                return False
            work()
            self.mark_done()
            settle()
        return True


def check_beginning(begun: Step, exp: Path, advice: str = "") -> bool:
    """Return whether a training has begun, with the same facts.

    Args:
        begun: the facts that it began with.
        exp: folder of the experiment.
        advice: another way to deal with a different training there, ending in "or".

    Raises:
        TisdissError: there is a checkpoint of a training that began differently.
    """
    if not (exp / "checkpoint.pth").is_file():
        return False
    changed = begun.changes()
    if changed:
        names = abbreviated(changed, SHOWN)
        raise TisdissError(
            f"{exp} holds a training that began with other settings ({names}): {advice}"
            f"remove {exp} to start again, or {begun.marker} to continue from its weights"
        )
    return changed is not None
