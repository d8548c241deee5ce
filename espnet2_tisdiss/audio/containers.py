"""The length stated in the header of a container, compared with the file.

libsndfile trusts a header that states too little, reads a file that ends too early as complete, and
reads only the first of joined files. So the fields that state the length are corrected while a file
is read.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from mmap import mmap

from espnet2_tisdiss.audio.header_fields import PADDING, Data
from espnet2_tisdiss.audio.layouts import Layout, layout_of

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# beginnings of containers that may follow another one of the same kind
_JOINABLE = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff", b"caff", b".snd", b"NIST")
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class Finding:
    """The content of a file, compared with its header.

    Attributes:
        stated: bytes of samples according to the header; None: unknown.
        found: bytes of samples in the file.
        start: bytes before the samples.
        replaced: position -> bytes that correct the header.
        stop: end of the samples in the file, without an incomplete block; None: as stated.
        following: where another recording begins; None: there is no other.
    """

    stated: int | None
    found: int
    start: int = 0
    replaced: Mapping[int, bytes] = field(default_factory=dict)
    stop: int | None = None
    following: int | None = None

    def moved(self, by: int) -> "Finding":
        """Return a copy with positions in a file in which the recording begins at ``by``."""
        replaced = {position + by: content for position, content in self.replaced.items()}
        stop, following = (None if one is None else one + by for one in (self.stop, self.following))
        return replace(self, replaced=replaced, stop=stop, following=following)


@dataclass(frozen=True)
class Part:
    """A recording in a file.

    Attributes:
        start: its first byte.
        stop: the byte after its last one.
        finding: its content, with positions in the file; None: its container is not known here.
    """

    start: int
    stop: int
    finding: Finding | None


def recordings(data: mmap) -> list[Part]:
    """Return the recordings that a file holds; joined files hold several."""
    starts = _mp4_starts(data)
    if len(starts) > 1:
        return [Part(*ends, None) for ends in pairwise([*starts, len(data)])]
    parts: list[Part] = []
    start: int | None = 0
    with memoryview(data) as whole:
        while start is not None:
            with whole[start:] as rest:
                finding = compare(rest)
            if finding is not None:
                finding = finding.moved(start)
            following = None if finding is None else finding.following
            parts.append(Part(start, following or len(data), finding))
            start = following
    return parts


def _mp4_starts(data: Data) -> list[int]:
    """Return where the mp4 files in a file begin."""
    starts: list[int] = []
    position = 0
    while data[4:8] == b"ftyp" and position + 8 <= len(data):
        if data[position + 4 : position + 8] == b"ftyp":
            starts.append(position)
        size = int.from_bytes(data[position : position + 4])
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16])
        if size < 8:
            break
        position += size
    return starts


def compare(data: Data) -> Finding | None:
    """Compare a file with its header; None for containers without a stated length."""
    try:
        layout = layout_of(data)
        if layout is None:
            return None
        first = layout.sizes[0]
        stated = None if first.is_open(data) else first.read(data)
    except (struct.error, ValueError, IndexError):  # the header is truncated, or missing
        return None
    found = len(data) - layout.start
    end = layout.start + (stated or 0)
    if stated is not None and stated == found:
        return Finding(stated, found)
    if stated is not None and stated > found + 1:
        return _corrected(layout, stated, found)
    chunks, length = layout.chunks, stated or 0
    if stated is not None and (following := _following(data, layout, end)):
        return Finding(length, length, following=following)
    if _is_padding(data, end) or (chunks and chunks.ends_well(data, end + -length % chunks.align)):
        return Finding(length, length)
    return _corrected(layout, stated, found)


def _corrected(layout: Layout, stated: int | None, found: int) -> Finding:
    complete = found - found % layout.block
    replaced = {size.position: size.write(complete) for size in layout.sizes}
    return Finding(stated, found, layout.start, replaced, layout.start + complete)


def _following(data: Data, layout: Layout, end: int) -> int | None:
    """Return where a recording in the same container begins after the samples; None: nowhere."""
    begin = bytes(data[:4])
    if begin not in _JOINABLE:
        return None
    positions = [end]
    if chunks := layout.chunks:
        width = struct.calcsize(chunks.header)
        walk = chunks.walk(data, end + -(end - layout.start) % chunks.align)
        positions += [start - width for _, start, _ in walk]
    return next((one for one in positions if data[one : one + 4] == begin), None)


def _is_padding(data: Data, end: int) -> bool:
    """Return whether the samples are followed only by few bytes, a tag, or zeros."""
    rest = len(data) - end
    if rest <= PADDING or bytes(data[end : end + 16]).startswith(_TAGS):
        return True
    return rest < 2**16 and not any(data[end:])


def stated_file_size(data: mmap) -> int | None:
    """Return the size of a file by its header; None if it is not stated.

    This is for files whose samples :func:`compare` does not find: Matroska, ASF (wma), AVI, and WAV
    and AIFF that are truncated within the header.
    """
    try:
        if data[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska_size(data)
        if data[:4] in (b"RIFF", b"FORM"):
            size = int.from_bytes(data[4:8], "little" if data[:4] == b"RIFF" else "big")
            return size + 8 if size else None
        if data[:4] == b"RF64":
            return struct.unpack_from("<Q", data, 20)[0] + 8
        if data[:4] == b"\x30\x26\xb2\x75":
            properties = data.find(_ASF_FILE_PROPERTIES, 0, 2**16)
            if properties > 0:
                return struct.unpack_from("<Q", data, properties + 40)[0] or None
    except (struct.error, IndexError):
        return None
    return None


def _matroska_size(data: mmap) -> int | None:
    """Return the end of the first segment."""
    head, position = _ebml_size(data, 4)
    if head is None:
        return None
    size, position = _ebml_size(data, position + head + 4)
    return None if size is None else position + size


def _ebml_size(data: mmap, position: int) -> tuple[int | None, int]:
    """Return a size and the position after it; None: unknown."""
    width = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + width]) & (1 << 7 * width) - 1
    return None if value == (1 << 7 * width) - 1 else value, position + width
