"""Header fields that state the length of the samples, and the chunks of containers."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import override

# sizes written by programs that do not know the length yet: 0, all ones, or about 2 GiB
_OPEN_32 = (range(1), range(0x7FFFE000, 0x80000101), range(0xFFFFF000, 2**32))
_OPEN_64 = (range(1), range(2**63 - 2**12, 2**64))
Data = mmap | memoryview
# more than this after the samples is not only padding
PADDING = 16


@dataclass(frozen=True)
class Size:
    """A field that states the length of the samples.

    Attributes:
        position: its position in the file.
        code: its format for struct.
        unit: bytes of samples per unit of its value.
        more: bytes other than samples that it includes.
    """

    position: int
    code: str
    unit: int = 1
    more: int = 0

    def read(self, data: Data) -> int:
        """Return the number of bytes of samples that it states."""
        return struct.unpack_from(self.code, data, self.position)[0] * self.unit - self.more

    def is_open(self, data: Data) -> bool:
        """Return whether it states that the length is unknown."""
        value = struct.unpack_from(self.code, data, self.position)[0]
        opens = _OPEN_64 if struct.calcsize(self.code) == 8 else _OPEN_32
        width = 8 * struct.calcsize(self.code)
        return value - self.more <= 0 or any(value % 2**width in values for values in opens)

    def write(self, length: int) -> bytes:
        """Return the content of the field for ``length`` bytes of samples."""
        value, most = (length + self.more) // self.unit, 256 ** struct.calcsize(self.code) - 1
        return struct.pack(self.code, min(value, most))


class Size24(Size):
    """A size of three bytes."""

    @override
    def read(self, data: Data) -> int:
        return int.from_bytes(data[self.position : self.position + 3], "little") - self.more

    @override
    def is_open(self, data: Data) -> bool:
        return self.read(data) <= 0

    @override
    def write(self, length: int) -> bytes:
        return min(length + self.more, 2**24 - 1).to_bytes(3, "little")


class Digits(Size):
    """A number of samples in decimal digits."""

    @override
    def read(self, data: Data) -> int:
        return int(struct.unpack_from(self.code, data, self.position)[0]) * self.unit

    @override
    def is_open(self, data: Data) -> bool:
        return self.read(data) == 0

    @override
    def write(self, length: int) -> bytes:
        # sphere's numbers end at white space; a longer one would run into the next line
        width = struct.calcsize(self.code)
        return b"%0*d" % (width, min(length // self.unit, 10**width - 1))


class Packets(Size):
    """A number of samples in three bytes of 7 bits; packets of 127 bytes hold ``unit`` each."""

    @override
    def read(self, data: Data) -> int:
        low, middle, high = data[self.position : self.position + 3]
        return -(-(low + (middle << 7) + (high << 14)) // self.unit) * 127

    @override
    def is_open(self, data: Data) -> bool:
        return self.read(data) == 0

    @override
    def write(self, length: int) -> bytes:
        samples = length // 127 * self.unit
        return bytes(samples >> shift & 127 for shift in (0, 7, 14))


@dataclass(frozen=True)
class Chunks:
    """The layout of a container's chunks.

    Attributes:
        header: format for struct of name and size.
        align: chunks begin at multiples of this.
        inclusive: whether the size counts the header.
    """

    header: str
    align: int = 2
    inclusive: bool = False

    def walk(self, data: Data, position: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield name, start and size of each chunk from a position on, also of a truncated one."""
        width = struct.calcsize(self.header)
        while position + width <= len(data):
            name, size = struct.unpack_from(self.header, data, position)
            size = size - width if self.inclusive else size
            yield name, position + width, size
            if size < 0:
                return
            position += width + size + -size % self.align

    def ends_well(self, data: Data, position: int) -> bool:
        """Return whether only chunks whose names are letters follow from a position on."""
        end = position
        for name, start, size in self.walk(data, position):
            if not re.fullmatch(rb"[A-Za-z0-9_ \-]{4}", name[:4]) or start + size > len(data) + 1:
                return False
            end = start + size
        return len(data) - end <= PADDING


class VocBlocks(Chunks):
    """The blocks of VOC files."""

    @override
    def ends_well(self, data: Data, position: int) -> bool:
        while position < len(data):
            kind = data[position]
            if kind == 0:
                return len(data) - position <= PADDING
            if kind > 9 or position + 4 > len(data):
                return False
            position += 4 + int.from_bytes(data[position + 1 : position + 4], "little")
        return position == len(data)
