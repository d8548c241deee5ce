"""The logical streams of an Ogg file, which may follow each other (chaining)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

_FIRST, _LAST = 2, 4  # flags of a stream's first and last page


@dataclass(frozen=True)
class Link:
    """One stream of a chain.

    Attributes:
        start: position of its first page.
        stop: position after its last complete page.
        ends_inside: whether the file ends within a page, or pages are missing in between.
        has_end: whether its last page is marked as such.
    """

    start: int
    stop: int
    ends_inside: bool
    has_end: bool


@dataclass(frozen=True)
class _Page:
    start: int
    stop: int
    flags: int
    serial: int
    number: int


def links(data: mmap) -> list[Link]:
    """Return the streams of an Ogg file, in order.

    Streams that begin together, such as sound and video, count as one.
    """
    groups: list[list[_Page]] = []
    for page in _pages(data):
        begins = page.flags & _FIRST
        if not groups or (begins and not groups[-1][-1].flags & _FIRST):
            groups.append([])
        groups[-1].append(page)
    return [_link(pages, len(data)) for pages in groups]


def _link(pages: list[_Page], size: int) -> Link:
    last = {page.serial: page for page in pages}
    counts = {serial: 0 for serial in last}
    first: dict[int, int] = {}
    for page in pages:
        counts[page.serial] += 1
        first.setdefault(page.serial, page.number)
    gaps = any(
        last[serial].number - first[serial] + 1 > counts[serial] and last[serial].number < 2**31
        for serial in last
    )
    cut = max(page.stop for page in pages) > size
    complete = [page.stop for page in pages if page.stop <= size]
    return Link(
        pages[0].start,
        max(complete, default=pages[0].start),
        cut or gaps,
        all(page.flags & _LAST for page in last.values()),
    )


def _pages(data: mmap) -> Iterator[_Page]:
    """Yield all pages, including one that is cut by the end of the file."""
    position = data.find(b"OggS")
    while position >= 0:
        if position + 27 > len(data):
            yield _Page(position, len(data) + 1, 0, -1, 0)
            return
        flags, _, serial, number, _, segments = struct.unpack_from("<xBqIIIB", data, position + 4)
        lengths = data[position + 27 : position + 27 + segments]
        stop = position + 27 + segments + sum(lengths)
        yield _Page(position, stop, flags, serial, number)
        position = data.find(b"OggS", stop)
