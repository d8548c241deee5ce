"""Recordings that can be read only once: standard input and named pipes.

A recording is read more than once, so these are copied into a temporary file first.
"""

import contextlib
import dataclasses
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from espnet2_tisdiss.atomic import PREFIX
from espnet2_tisdiss.audio.writing import folder_errors
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import is_address
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.standard_streams import read_piece, standard_input

STANDARD_INPUT = "-"


def refuse_address(source: str) -> None:
    """Raise TisdissError if a source is an address, such as one on the web."""
    if is_address(source):
        raise TisdissError(
            f"{source}: addresses are not downloaded; save it as a file, or pipe it: "
            f"curl -L ADDRESS | tisdiss separate {STANDARD_INPUT}"
        )


@contextlib.contextmanager
def copied_streams(inputs: Sequence[InputFile], folder: Path) -> Iterator[list[InputFile]]:
    """Provide the inputs with streams replaced by copies, which are deleted when the block ends.

    Args:
        inputs: all files to separate.
        folder: folder for the copies; that of the results, which has enough space.

    Raises:
        TisdissError: a stream cannot be read, or its copy cannot be written.
    """
    with contextlib.ExitStack() as stack:
        yield [_copied(item, folder, stack) if _is_stream(item) else item for item in inputs]


def _is_stream(item: InputFile) -> bool:
    if str(item.source) == STANDARD_INPUT:
        return True
    if not isinstance(item.source, Path):
        return False
    try:
        mode = os.stat(item.source).st_mode
    except OSError:  # reported later
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _copied(item: InputFile, folder: Path, stack: contextlib.ExitStack) -> InputFile:
    with folder_errors(folder):
        temporary = tempfile.NamedTemporaryFile(prefix=PREFIX, dir=folder)  # noqa: SIM115
        copy = stack.enter_context(temporary)
    with contextlib.ExitStack() as source:
        stream = _open(item, source)
        while piece := read_piece(stream, str(item.source)):
            with folder_errors(folder):
                copy.write(piece)
    with folder_errors(folder):
        copy.flush()
    return dataclasses.replace(item, copy=Path(copy.name))


def _open(item: InputFile, stack: contextlib.ExitStack) -> BufferedReader:
    if str(item.source) != STANDARD_INPUT:
        try:
            return stack.enter_context(open(str(item.source), "rb"))
        except OSError as error:
            raise TisdissError(
                f"{item.source}: cannot be opened ({error.strerror}); check its permissions"
            ) from None
    return standard_input("pipe a recording into it")
