"""The frames of MPEG audio files (mp3, mp2), counted, because headers may be wrong."""

import struct
from dataclasses import dataclass, replace
from mmap import mmap

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
# kbit/s by (MPEG-1?, layer) and index
_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# consecutive frames that identify MPEG audio; in a megabyte of other data, two occur by chance
_FRAMES_IN_A_ROW = 4
# samples by which a decoder delays its output
_DECODER_DELAY = 529


@dataclass(frozen=True)
class _Frame:
    size: int
    samples: int
    rate: int
    channels: int
    layer: int
    is_mpeg1: bool


@dataclass
class Part:
    """A stream of frames; joined files have several.

    Attributes:
        start: position of its first frame with sound.
        stop: position after its last complete frame.
        rate: in Hz.
        channels: number of channels.
        samples: samples of each channel, including the encoder's delay and padding.
        stated: samples according to its Xing or Info header; None: no header, or no number in it.
        delay: samples that encoder and decoder insert before the first one.
        padding: samples inserted after the last one.
        ends_inside: whether the file ends within a frame.
        step: samples of a frame.
    """

    start: int
    stop: int
    rate: int
    channels: int
    samples: int = 0
    stated: int | None = None
    delay: int = 0
    padding: int = 0
    ends_inside: bool = False
    step: int = 1152

    def takes(self, frame: _Frame, position: int, is_after_damage: bool) -> bool:
        """Return whether a frame at a position continues this stream."""
        is_alike = (self.rate, self.channels) == (frame.rate, frame.channels)
        # there are tags between joined recordings
        return is_alike and (position == self.stop or is_after_damage or not self.samples)

    @property
    def is_short(self) -> bool:
        """Whether frames are missing at the end."""
        # some programs also count the header
        is_less = self.stated is not None and self.samples < self.stated - self.step
        return self.ends_inside or is_less

    @property
    def frames(self) -> int:
        """Samples of each channel of the recording itself."""
        return max(0, self.samples - self.delay - (0 if self.is_short else self.padding))


def parts(data: mmap, may_begin_late: bool = False) -> list[Part]:
    """Return the streams of an MPEG audio file; an empty list if it is not one.

    Args:
        data: the file.
        may_begin_late: whether other data may come before the first frame.
    """
    found: list[Part] = []
    start = _after_tags(data, 0)
    position: int | None = start
    if not _begins(data, start):
        position = _resync(data, start, _FRAMES_IN_A_ROW) if may_begin_late else None
    is_after_damage = False
    while position is not None:
        frame = _frame(data, position)
        if frame is None:
            position, is_after_damage = _resync(data, position), True
            continue
        end = position + frame.size
        if end > len(data):
            found[-1:] = [replace(part, ends_inside=True) for part in found[-1:]]
            break
        header = _Header.of(data, position, frame)
        if header is not None:
            found.append(header.part(end, frame))
        else:
            if not (found and found[-1].takes(frame, position, is_after_damage)):
                found.append(Part(position, end, frame.rate, frame.channels, step=frame.samples))
            found[-1].samples += frame.samples
            found[-1].stop = end
        position, is_after_damage = _after_tags(data, end), False
    return [part for part in found if part.samples]


def _begins(data: mmap, position: int) -> bool:
    """Return whether there is a frame at a position, followed by another one, a tag or the end."""
    frame = _frame(data, position)
    if frame is None:
        return False
    end = position + frame.size
    return end >= len(data) or _frame(data, _after_tags(data, end)) is not None


def _frame(data: mmap, position: int) -> _Frame | None:
    """Return the frame at a position, or None if there is none."""
    if position + 4 > len(data):
        return None
    head = int.from_bytes(data[position : position + 4])
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    kbits, rate_index = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in (0, 15) or rate_index == 3:
        return None
    is_mpeg1, rate = version == 3, _RATES[version][rate_index]
    bits, pad = _KBITS[is_mpeg1, layer][kbits] * 1000, head >> 9 & 1
    samples = 384 if layer == 1 else 1152 if is_mpeg1 or layer == 2 else 576
    size = (12 * bits // rate + pad) * 4 if layer == 1 else samples // 8 * bits // rate + pad
    return _Frame(size, samples, rate, 1 if head >> 6 & 3 == 3 else 2, layer, is_mpeg1)


def _resync(data: mmap, position: int, frames: int = 2) -> int | None:
    """Return the next position of a number of consecutive frames, or None."""
    while (position := data.find(b"\xff", position + 1)) >= 0:
        end, count = position, 0
        while count < frames and (frame := _frame(data, end)) is not None:
            end, count = end + frame.size, count + 1
        if count == frames:
            return position
    return None


def _after_tags(data: mmap, position: int) -> int:
    """Return the position after the tags at a position."""
    while True:
        head = data[position : position + 32]
        if head[:3] == b"ID3" and len(head) >= 10:
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte & 127
            tag = 10 + size + (10 if head[5] & 16 else 0)
            # a size beyond the file is wrong: search for the frames
            position += tag if position + tag <= len(data) else 10
        elif head[:3] == b"TAG":
            position += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            size, _, flags = struct.unpack_from("<III", head, 12)
            # the size counts the footer, not the header
            position += size + 32 if flags >> 29 & 1 else 32
        elif head[:1] == b"\0":  # padding
            end = position + 1
            while data[end : end + 1] == b"\0":
                end += 1
            position = end
        else:
            return position


@dataclass(frozen=True)
class _Header:
    """A Xing or Info header, in a frame of silence that is not part of the recording."""

    frames: int | None
    delay: int
    padding: int

    @classmethod
    def of(cls, data: mmap, position: int, frame: _Frame) -> "_Header | None":
        """Return the header in a frame, or None."""
        if frame.layer != 3:
            return None
        side = {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}
        at = position + 4 + side[frame.is_mpeg1, frame.channels]
        if data[position + 36 : position + 40] == b"VBRI":
            return cls(struct.unpack_from(">I", data, position + 50)[0] or None, 0, 0)
        if data[at : at + 4] not in (b"Xing", b"Info"):
            return None
        flags = int.from_bytes(data[at + 4 : at + 8])
        at += 8
        frames = int.from_bytes(data[at : at + 4]) if flags & 1 else 0
        at += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        if data[at : at + 4] not in (b"LAME", b"Lavc", b"Lavf"):
            return cls(frames or None, 0, 0)
        gaps = int.from_bytes(data[at + 21 : at + 24])
        return cls(frames or None, gaps >> 12, gaps & 0xFFF)

    def part(self, start: int, frame: _Frame) -> Part:
        """Return the part that begins after the header."""
        stated = None if self.frames is None else self.frames * frame.samples
        delay = self.delay + _DECODER_DELAY if self.delay else 0
        padding = max(0, self.padding - _DECODER_DELAY)
        return Part(
            start,
            start,
            frame.rate,
            frame.channels,
            stated=stated,
            delay=delay,
            padding=padding,
            step=frame.samples,
        )
