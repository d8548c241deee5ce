"""Locks of folders, so that two runs never write to the same one.

The operating system releases a lock when its process ends, for any reason.
"""

import errno
import json
import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from espnet2_tisdiss.atomic import clean_up
from espnet2_tisdiss.errors import TisdissError

# lock files held by this process or a parent process
HELD = "TISDISS_LOCKS"
# how long a killed process may take to disappear, in seconds
PATIENCE_S = 1.0
SHOWN_CHARACTERS = 160
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

log = logging.getLogger(__name__)


@contextmanager
def holding(folder: str | Path, clean: bool = True) -> Iterator[None]:
    """Hold the lock of a folder, which may not exist yet, while the block runs.

    Within the block, this process and its child processes may take the lock again.

    Args:
        folder: the block writes files in it and in its subfolders.
        clean: first remove what killed runs left there (:func:`clean_up`).

    Raises:
        TisdissError: another process holds the lock; the text names it.
    """
    folder = Path(folder).resolve()
    path = _lock_file(folder)
    held = [name for name in os.environ.get(HELD, "").split(os.pathsep) if name]
    if path is None or str(path) in held:
        yield
        return
    lock = _acquired(path, folder)
    try:
        os.environ[HELD] = os.pathsep.join([*held, str(path)])
        if clean:
            clean_up(folder)
        yield
    finally:
        os.environ[HELD] = os.pathsep.join(held)
        lock.release()


@contextmanager
def waiting(folder: Path) -> Iterator[None]:
    """Wait for the lock of a folder and hold it, also against threads of this process."""
    path = _lock_file(folder.resolve())
    if path is None:
        yield
        return
    with FileLock(path):
        clean_up(folder.resolve())
        yield


def _lock_file(folder: Path) -> Path | None:
    """Return the lock file of a folder, or None if it cannot be written.

    It is next to the folder, not in it, because the folder may be replaced while the lock is held.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if os.access(folder.parent, os.W_OK):
        return folder.with_name(f".{folder.name}.lock")
    return folder / ".lock" if os.access(folder, os.W_OK) else None


def _acquired(path: Path, folder: Path) -> FileLock:
    """Take a lock and record which process holds it."""
    lock = FileLock(path, timeout=PATIENCE_S, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout:
        raise TisdissError(
            f"{folder}: in use {_holder(path)}; wait until it has ended, or give another folder"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning(
            "%s: its file system has no locks; make sure that no other run writes there", folder
        )
    return lock


def _sign(descriptor: int) -> None:
    """Write this process into an open lock file as its holder."""
    command = " ".join(shlex.join(sys.orig_argv).split())
    holder = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command[:SHOWN_CHARACTERS],
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(path: Path) -> str:
    """Return the holder of a lock, as recorded in its file."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"by process {holder['pid']} on {holder['host']} since {holder['since']} "
            f"({holder['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"by another process (lock file {path})"
