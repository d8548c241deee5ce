"""The last samples of a FLAC file, from the headers of its frames."""

from dataclasses import dataclass
from mmap import mmap

# how far from the end of the file the last frame's header is searched for
_WINDOW = 2**20
_SYNC = (b"\xff\xf8", b"\xff\xf9")  # fixed and variable block sizes
_LEAST_FRAME, _MOST_BLOCK = 10, 65535  # bytes of a frame, samples in it
_LEAST_HEADER, _MOST_HEADER = 6, 16  # bytes
_BEGINNINGS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")


@dataclass(frozen=True)
class Part:
    """A FLAC file; joined files have several.

    Attributes:
        start: its position.
        stop: position after its last complete frame.
        stated: samples that its header states; 0: unknown.
        found: samples up to the last complete frame; None: no frame was found.
    """

    start: int
    stop: int
    stated: int
    found: int | None

    def corrected(self) -> dict[int, bytes]:
        """Return position -> bytes that make the header state the length found, if any was."""
        if not self.found:
            return {}
        return {self.start + 22: (self.found & 0xFFFFFFFF).to_bytes(4)}


def parts(data: mmap) -> list[Part]:
    """Return the FLAC files that a file holds; it begins with one."""
    starts = [0]
    for magic in _BEGINNINGS:
        position = 0
        while (position := data.find(magic, position + 1)) > 0:
            starts.append(position)
    starts.sort()
    return [
        _part(data, start, stop)
        for start, stop in zip(starts, [*starts[1:], len(data)], strict=True)
    ]


def _part(data: mmap, start: int, stop: int) -> Part:
    stated = int.from_bytes(data[start + 21 : start + 26]) & (1 << 36) - 1
    size = int.from_bytes(data[start + 10 : start + 12])  # the largest block
    position, frame = stop, None
    audio = _first_frame(data, start, stop)
    # all frames begin with the same bytes, unlike most data that happens to look like a header
    syncs = [sync for sync in _SYNC if data[audio : audio + 2] == sync]
    least = max(audio, stop - _WINDOW)
    while syncs and frame is None and position > least:
        position = data.rfind(syncs[0], least, position)
        frame = _samples(data[position : position + _MOST_HEADER], size) if position >= 0 else None
        if frame and frame[0] > (position - audio) // _LEAST_FRAME * _MOST_BLOCK:
            frame = None  # more samples than the bytes before it can hold
    if frame is None:
        return Part(start, stop, stated, None)
    first, count = frame
    if first + count == stated:
        return Part(start, stop, stated, stated)
    if _crc(data[position : stop - 2], 16, 0x8005) == int.from_bytes(data[stop - 2 : stop]):
        return Part(start, stop, stated, first + count)
    return Part(start, position, stated, first)


def _first_frame(data: mmap, start: int, stop: int) -> int:
    """Return the position after the metadata blocks."""
    position, is_last = start + 4, False
    while not is_last and position + 4 <= stop:
        is_last = bool(data[position] & 0x80)
        position += 4 + int.from_bytes(data[position + 1 : position + 4])
    return min(position, stop)


def _samples(head: bytes, size: int) -> tuple[int, int] | None:
    """Return the first sample and the number of samples of a frame; None if it is not one.

    Args:
        head: the beginning of the frame.
        size: the block size of the file, if it is fixed.
    """
    if len(head) < _LEAST_HEADER or head[3] & 1:
        return None
    code, rate = head[2] >> 4, head[2] & 15
    extra = max(0, 8 - (head[4] ^ 0xFF).bit_length() - 1)  # as in UTF-8
    end = 5 + extra
    number = head[4] & (0x3F >> extra if extra else 0x7F)
    for byte in head[5:end]:
        number = number << 6 | byte & 63
    width = {6: 1, 7: 2}.get(code, 0)
    counts = {1: 192, **{n: 576 << n - 2 for n in range(2, 6)}, **{n: 1 << n for n in range(8, 16)}}
    count = int.from_bytes(head[end : end + width]) + 1 if width else counts.get(code)
    end += width + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if count is None or end >= len(head) or _crc(head[:end], 8, 0x07) != head[end]:
        return None
    return (number if head[1] & 1 else number * size), count


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    """Return FLAC's cyclic redundancy check with a number of bits."""
    value, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value
