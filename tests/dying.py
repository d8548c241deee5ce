"""Programs that die at their n-th file operation, for tests.

The program runs in a forked process, which exits as if it were killed: no handler runs, and
Python's buffers are not written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

DIED = 77
# operations with audit events, and the position of the changed path in their arguments
OPERATIONS = {
    "os.rename": 1,
    "os.remove": 0,
    "os.link": 1,
    "os.symlink": 1,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.truncate": 0,
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class _Operations:
    """Count operations in a folder, and exit the process at one of them.

    Opening a file for writing counts twice, before and after: the file is empty then. So does
    ``torch.save``, which leaves half of the file then.
    """

    def __init__(self, folder: Path, last: int | None) -> None:
        self.folder, self.last, self.count = str(folder), last, 0

    def pass_one(self, unless: Callable[[], Any] = lambda: None) -> None:
        """Count one; if it is the last, do half of the operation and exit."""
        if self.count == self.last:
            unless()
            os._exit(DIED)
        self.count += 1

    def announced(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receive Python's audit events."""
        if event in OPERATIONS:
            path: Any = arguments[OPERATIONS[event]]
            if self._is_inside(path):
                self.pass_one()
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            path = arguments[0]
            if isinstance(path, (str, bytes, Path)) and self._is_inside(path):
                self.pass_one()
                self.pass_one(lambda: os.close(_created(path)))

    def save(self, content: Any, file: Any, **options: Any) -> None:
        """Replace torch.save, for whose operations there are no audit events."""
        self.pass_one()
        original_save(content, file, **options)
        self.pass_one(lambda: os.truncate(file, os.path.getsize(file) // 2))

    def _is_inside(self, path: Any) -> bool:
        # relative paths are those of open folders, as shutil.rmtree uses them
        return os.fsdecode(path).startswith(self.folder) if not isinstance(path, int) else False


original_save = torch.save


def _created(path: Any) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)


def _forked(folder: Path, last: int | None, program: Callable[[], object]) -> tuple[int, int]:
    """Run a program in a forked process; return its exit status and its count of operations."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            operations = _Operations(folder, last)
            sys.addaudithook(operations.announced)
            torch.save = operations.save
            program()
            os.write(writing, str(operations.count).encode())
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(told or -1)


def count_operations(folder: Path, program: Callable[[], object]) -> int:
    """Run a program in a forked process; return how many operations it does in a folder."""
    code, count = _forked(folder, None, program)
    assert code == 0
    return count


def dies_at(folder: Path, last: int, program: Callable[[], object]) -> bool:
    """Run a program in a forked process that ends at an operation; return whether it got there."""
    code, _ = _forked(folder, last, program)
    assert code in (0, DIED)
    return code == DIED
