"""A part of a file as a file, with some bytes replaced, for decoders that trust wrong headers."""

import io
import os
from collections.abc import Buffer, Mapping
from pathlib import Path


class View(io.RawIOBase):
    """A part of a file, read only.

    Args:
        path: the file.
        start: its first byte in the view.
        stop: the byte after the last one; None: the end of the file.
        replaced: position in the file -> the bytes to read there.
    """

    def __init__(
        self,
        path: str | Path,
        start: int = 0,
        stop: int | None = None,
        replaced: Mapping[int, bytes] | None = None,
    ):
        self._file = open(path, "rb")  # noqa: SIM115
        self._start = start
        self._stop = self._file.seek(0, os.SEEK_END) if stop is None else stop
        self._replaced = replaced or {}
        self.seek(0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the view."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in the view, and return it."""
        base = {
            os.SEEK_SET: self._start,
            os.SEEK_CUR: self._file.tell(),
            os.SEEK_END: self._stop,
        }[whence]
        return self._file.seek(max(self._start, base + offset)) - self._start

    def readinto(self, buffer: Buffer) -> int:
        """Read into a buffer; return the number of bytes."""
        target = memoryview(buffer).cast("B")
        start = self._file.tell()
        content = bytearray(self._file.read(max(0, min(len(target), self._stop - start))))
        for position, patch in self._replaced.items():
            for index, byte in enumerate(patch, start=position - start):
                if 0 <= index < len(content):
                    content[index] = byte
        target[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
