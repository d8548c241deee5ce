"""The positions of samples in containers, and the header fields that state the length."""

import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from espnet2_tisdiss.audio.header_fields import (
    Chunks,
    Data,
    Digits,
    Packets,
    Size,
    Size24,
    VocBlocks,
)


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
    size = Size24(position + 1, "3s", more=head[kind])
    # another block or the end mark follows
    return Layout(position + 4 + head[kind], [size], VocBlocks(""))


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
    return Layout(start, [Digits(16 + count.start(1), f"{len(count[1])}s", unit)])


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
    return Layout(21, [Packets(10, "3s", 60 if data[6] < 14 else 40 if data[6] < 21 else 30)])


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
