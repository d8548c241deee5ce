"""Reporting failures of a training that are not bugs, in one line each."""

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from espnet2.tasks.abs_task import AbsTask
from torch.multiprocessing import ProcessRaisedException

from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.standard_streams import prepare_streams

# system errors: no space, a quota is used up, a file would grow too large
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ERRNO = re.compile(rf"\[Errno ({'|'.join(map(str, FULL))})\]")
# PyTorch's texts if a weights file cannot be written; they give no reason
UNWRITTEN = ("inline_container", "iostream error")
OWN = f"{TisdissError.__module__}.{TisdissError.__qualname__}: "
PROBE_BYTES = 2**20


@contextmanager
def failing_in_a_line(folder: Path) -> Iterator[None]:
    """Turn an error that ends a training in the block into a TisdissError, unless it is a bug.

    Args:
        folder: folder of the training.
    """
    try:
        yield
    except TisdissError:
        raise
    except (OSError, RuntimeError, ProcessRaisedException) as error:
        text = str(error).strip()
        last = text.splitlines()[-1] if text else ""
        if isinstance(error, ProcessRaisedException) and last.startswith(OWN):
            raise TisdissError(last.removeprefix(OWN)) from error
        number = ERRNO.search(text)
        if number or any(words in text for words in UNWRITTEN):
            reason = os.strerror(int(number[1])) if number else _reason(folder)
            raise TisdissError(
                f"{folder}: cannot be written: {reason}; free some space and repeat the command: "
                "it continues after the last complete epoch"
            ) from error
        raise


def train(task: type[AbsTask], program: str, cmd: Sequence[str] | None) -> None:
    """Train with the options of the command line, or of ``cmd``, as ESPnet's command does.

    An error of the package is one line on stderr, and the exit status is 1.
    """
    prepare_streams()
    try:
        task.main(cmd=cmd)
    except (TisdissError, OptionError) as error:
        sys.exit(f"{program}: {error}")


def _reason(folder: Path) -> str:
    """Return why files in a folder cannot be written, by trying to write one."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return error.strerror or "no reason known"
    return "the disk was full, or a limit was reached"
