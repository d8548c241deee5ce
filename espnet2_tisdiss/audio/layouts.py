"""The positions of samples in containers, and the header fields that state the length."""

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap

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


@dataclass(frozen=True)
class Layout:
    """The position of the samples in a file.

    Attributes:
        start: position of the first byte of samples.
        sizes: the fields that state their length, the most reliable one first.
        chunks: layout of the chunks that may follow; None: nothing may follow.
        block: bytes of a unit of samples.
    """

    start: int
    sizes: Sequence[Size]
    chunks: Chunks | None = None
    block: int = 1


def _riff(data: Data) -> Layout | None:
    """WAV, RF64 and BW64, and the big-endian RIFX."""
    order = ">" if data[:4] == b"RIFX" else "<"
    chunks, wide, block = Chunks(f"{order}4sI"), None, 1
    for name, start, size in chunks.walk(data, 12):
        if name == b"ds64":
            wide = start + 8
        elif name == b"fmt ":
            block = max(1, struct.unpack_from(f"{order}H", data, start + 12)[0])
        elif name == b"data":
            length = Size(start - 4, f"{order}I")
            if wide is not None and size == 0xFFFFFFFF:
                length = Size(wide, "<Q")
            return Layout(start, [length], chunks, block)
    return None


def _form(data: Data) -> Layout | None:
    """AIFF, AIFC, and the Amiga's 8SVX and 16SV."""
    chunks = Chunks(">4sI")
    for name, start, _ in chunks.walk(data, 12):
        if name == b"SSND":
            offset = struct.unpack_from(">I", data, start)[0]
            return Layout(start + 8 + offset, [Size(start - 4, ">I", more=8 + offset)], chunks)
        if name == b"BODY":
            return Layout(start, [Size(start - 4, ">I")], chunks)
    return None


def _w64(data: Data) -> Layout | None:
    chunks, block = Chunks("<16sQ", align=8, inclusive=True), 1
    for name, start, _ in chunks.walk(data, 40):
        if name[:4] == b"fmt ":
            block = max(1, struct.unpack_from("<H", data, start + 12)[0])
        elif name[:4] == b"data":
            return Layout(start, [Size(start - 8, "<Q", more=24)], chunks, block)
    return None


def _caf(data: Data) -> Layout | None:
    chunks = Chunks(">4sq", align=1)
    for name, start, size in chunks.walk(data, 8):
        if name == b"data":
            length = Size(start - 8, ">Q", more=4)
            return Layout(start + 4, [length], None if size < 0 else chunks)
    return None


def _au(data: Data) -> Layout:
    order = ">" if data[:4] == b".snd" else "<"
    return Layout(struct.unpack_from(f"{order}I", data, 4)[0], [Size(8, f"{order}I")])


def _avr(data: Data) -> Layout:
    stereo, bits = struct.unpack_from(">HH", data, 12)
    return Layout(128, [Size(26, ">I", unit=(2 if stereo else 1) * bits // 8)])


def _voc(data: Data) -> Layout | None:
    position = struct.unpack_from("<H", data, 20)[0]
    head = {1: 2, 9: 12}  # bytes before the samples, by type of block
    kind = data[position]
    if kind not in head:
        return None
    size = _Size24(position + 1, "3s", more=head[kind])
    # another block or the end mark follows
    return Layout(position + 4 + head[kind], [size], _VocBlocks(""))


class _Size24(Size):
    """A size of three bytes."""

    def read(self, data: Data) -> int:
        return int.from_bytes(data[self.position : self.position + 3], "little") - self.more

    def is_open(self, data: Data) -> bool:
        return self.read(data) <= 0

    def write(self, length: int) -> bytes:
        return min(length + self.more, 2**24 - 1).to_bytes(3, "little")


class _VocBlocks(Chunks):
    """The blocks of VOC files."""

    def ends_well(self, data: Data, position: int) -> bool:
        while position < len(data):
            kind = data[position]
            if kind == 0:
                return len(data) - position <= PADDING
            if kind > 9 or position + 4 > len(data):
                return False
            position += 4 + int.from_bytes(data[position + 1 : position + 4], "little")
        return position == len(data)


def _nist(data: Data) -> Layout | None:
    start = int(data[8:16])
    header = data[16:start]
    count, channels, width = (
        re.search(rb"\b%s\s+-i\s+(\d+)" % key, header)
        for key in (b"sample_count", b"channel_count", b"sample_n_bytes")
    )
    if count is None or re.search(rb"sample_coding\s+\S+\s+\S*shorten", header):
        return None
    unit = math.prod(int(match[1]) for match in (channels, width) if match)
    return Layout(start, [_Digits(16 + count.start(1), f"{len(count[1])}s", unit)])


class _Digits(Size):
    """A number of samples in decimal digits."""

    def read(self, data: Data) -> int:
        return int(struct.unpack_from(self.code, data, self.position)[0]) * self.unit

    def is_open(self, data: Data) -> bool:
        return self.read(data) == 0

    def write(self, length: int) -> bytes:
        # sphere's numbers end at white space; a longer one would run into the next line
        width = struct.calcsize(self.code)
        return b"%0*d" % (width, min(length // self.unit, 10**width - 1))


def _mat4(data: Data) -> Layout | None:
    """The second of two matrices holds the samples; the first is the rate."""
    order = ">" if data[2:4] == b"\x03\xe8" else "<"
    position = 20 + 11 + 8
    kind, rows, _, _, name = struct.unpack_from(f"{order}5I", data, position)
    width = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}[kind // 10 % 10]
    return Layout(position + 20 + name, [Size(position + 8, f"{order}I", unit=rows * width)])


def _mat5(data: Data) -> Layout | None:
    name = re.search(b"wavedata", data[128:1024])
    if name is None:
        return None
    order = ">" if data[126:128] == b"MI" else "<"
    start = 128 + name.start() + 16  # after the type and size of the samples
    outer = 136 + struct.unpack_from(f"{order}I", data, 132)[0]
    sizes = [Size(start - 4, f"{order}I"), Size(outer + 4, f"{order}I", more=start - outer - 8)]
    return Layout(start, sizes)


def _mpc2k(data: Data) -> Layout:
    unit = 4 if data[21] else 2
    return Layout(42, [Size(position, "<I", unit=unit) for position in (30, 26, 34)])


def _wve(data: Data) -> Layout:
    return Layout(32, [Size(18, ">I")])


def _htk(data: Data) -> Layout:
    return Layout(12, [Size(0, ">I", unit=2)])


def _sds(data: Data) -> Layout:
    return Layout(21, [_Packets(10, "3s", 60 if data[6] < 14 else 40 if data[6] < 21 else 30)])


class _Packets(Size):
    """A number of samples in three bytes of 7 bits; packets of 127 bytes hold ``unit`` each."""

    def read(self, data: Data) -> int:
        low, middle, high = data[self.position : self.position + 3]
        return -(-(low + (middle << 7) + (high << 14)) // self.unit) * 127

    def is_open(self, data: Data) -> bool:
        return self.read(data) == 0

    def write(self, length: int) -> bytes:
        samples = length // 127 * self.unit
        return bytes(samples >> shift & 127 for shift in (0, 7, 14))


# beginning of a file -> its parser
_PARSERS: dict[bytes, Callable[[Data], Layout | None]] = {
    rb"(RIFF|RIFX|RF64|BW64).{4}WAVE": _riff,
    rb"FORM": _form,
    rb"riff\x2e\x91\xcf\x11": _w64,
    rb"caff": _caf,
    rb"\.snd|dns\.": _au,
    rb"2BIT": _avr,
    rb"Creative Voice File\x1a": _voc,
    rb"NIST_1A\n": _nist,
    rb"\0\0(\0\0|\x03\xe8).{16}samplerate\0": _mat4,
    rb"MATLAB 5\.0": _mat5,
    rb"\x01\x04.{16}[ \0]": _mpc2k,
    rb"ALawSoundFile\*\*\0": _wve,
    rb"\xf0\x7e.\x01": _sds,
    rb"\0.{2}[^\0]..[^\0].\0\x02\0\0": _htk,
}


def layout_of(data: Data) -> Layout | None:
    """Return the position of a file's samples; None for a container that is not known here."""
    head = data[:32]
    for magic, parse in _PARSERS.items():
        if re.match(magic, head, re.DOTALL):
            return parse(data)
    return None
