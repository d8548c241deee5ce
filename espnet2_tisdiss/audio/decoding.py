"""Open an audio file with a decoder that reads all of it, even if its header is wrong.

libsndfile reads most formats, FFmpeg the others and damaged files. First, the header is compared
with the file; there is a module each for containers, Ogg streams and MPEG frames.
"""

from collections.abc import Callable, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

import soundfile

from espnet2_tisdiss.audio import flac, mpeg, ogg
from espnet2_tisdiss.audio.containers import Finding, Part, recordings, stated_file_size
from espnet2_tisdiss.audio.decoders import Chain, Decoder, SndfileDecoder
from espnet2_tisdiss.audio.ffmpeg import FfmpegDecoder
from espnet2_tisdiss.audio.notices import Notice, left_over, missing
from espnet2_tisdiss.audio.views import View
from espnet2_tisdiss.errors import AudioError

# libsndfile reads files with these names as MPEG audio if nothing else fits, and prints warnings
_MPEG_SUFFIXES = (".mp3", ".mp2", ".mp1", ".mpga", ".m2a")


def open_decoder(path: str | Path, file: BinaryIO) -> Decoder:
    """Open an audio file.

    Args:
        path: the file.
        file: the same file, opened to look at its content, which is not empty.

    Raises:
        AudioError: it is not audio, or cannot be decoded.
    """
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if data[:4] == b"OggS":
            return _open_ogg(path, ogg.links(data))
        # MPEG frames begin with 11 bits that are set
        is_mpeg = data[0] == 0xFF and data[1:2] >= b"\xe0"
        is_named = Path(path).suffix.lower() in _MPEG_SUFFIXES
        if is_mpeg or is_named or data[:3] == b"ID3":
            streams = mpeg.parts(data, may_begin_late=not is_mpeg)
            if streams:
                return _open_mpeg(path, streams)
            if is_mpeg:  # such as AAC, for which libsndfile prints warnings
                return FfmpegDecoder(str(path), View(path))
        if data[:4] == b"fLaC":
            return _open_flac(path, flac.parts(data))
        parts, actual = recordings(data), len(data)
        finding = parts[0].finding
        size = stated_file_size(data) if finding is None else None
    if len(parts) > 1 or (finding is not None and finding.stop is not None):
        return _open_parts(path, parts)
    cut = None if size is None or size <= actual + 1 else _bytes(actual, size)
    try:
        # libsndfile looks only at the suffix of a path
        decoder = _open_any(path, _view(path, 0, actual) if is_named else None)
    except AudioError:
        if cut:
            raise AudioError(f"{path}: {cut}; replace it") from None
        raise
    if cut:
        decoder.notices.append(Notice(cut, is_loss=True))
    return decoder


def _bytes(found: int, stated: int) -> str:
    return f"truncated: only {found} of {stated} bytes found"


def _view(
    path: str | Path, start: int, stop: int, replaced: Mapping[int, bytes] | None = None
) -> Callable[[], View]:
    return lambda: View(path, start, stop, replaced)


def _open_any(path: str | Path, view: Callable[[], View] | None = None) -> Decoder:
    """Open a file with libsndfile, or with FFmpeg if that cannot."""
    try:
        return SndfileDecoder(path, view)
    except soundfile.LibsndfileError:
        return FfmpegDecoder(str(path), View(path) if view is None else view())
    except TypeError:  # soundfile's error for a suffix of headerless formats
        raise AudioError(f"{path}: has no header with its sample rate; convert it to wav") from None


def _difference(finding: Finding, decoder: Decoder) -> Notice:
    """Return the notice for a file whose header does not match its content."""
    seconds = (decoder.frames or 0) / decoder.rate
    if not finding.stated:
        text = f"the header does not state the length; all {seconds:.3f} s were read"
        return Notice(text, is_loss=False)
    stated = seconds * finding.stated / max(1, finding.found)
    if stated <= seconds:
        return left_over(seconds, stated)
    if not finding.start:
        return missing(seconds, stated)
    text = _bytes(finding.start + finding.found, finding.start + finding.stated)
    return Notice(f"{text}, {seconds:.3f} of {stated:.3f} s", is_loss=True)


def _open_parts(path: str | Path, parts: Sequence[Part]) -> Decoder:
    """Open the recordings in a file whose header does not match its content."""
    openers = []
    for part in parts:
        finding = part.finding or Finding(None, 0)
        view = _view(path, part.start, finding.stop or part.stop, finding.replaced)
        openers.append(_opener(path, view, finding if finding.stop is not None else None))
    return _joined(openers)


def _opener(
    path: str | Path, view: Callable[[], View], wrong: Finding | None = None
) -> Callable[[], Decoder]:
    """Return a function that opens a part of a file, whose header may be wrong."""

    def open_part() -> Decoder:
        decoder = _open_any(path, view)
        if wrong is not None:
            decoder.notices.append(_difference(wrong, decoder))
        return decoder

    return open_part


def _joined(openers: Sequence[Callable[[], Decoder]]) -> Decoder:
    """Open recordings to be read one after the other, or the only one."""
    if len(openers) == 1:
        return openers[0]()
    total: float | None = 0.0
    rate, notices = 0, []
    for opener in openers:
        decoder = opener()
        decoder.close()
        rate = rate or decoder.rate
        notices += decoder.notices
        if total is not None:
            total = None if decoder.frames is None else total + decoder.frames * rate / decoder.rate
    chain = Chain(openers, None if total is None else round(total))
    chain.notices += [notice for notice in notices if notice not in chain.notices]
    return chain


def _open_ogg(path: str | Path, links: list[ogg.Link]) -> Decoder:
    decoder = _open_any(path)
    if len(links) > 1 and isinstance(decoder, SndfileDecoder):
        decoder.close()
        decoder = _joined([_opener(path, _view(path, link.start, link.stop)) for link in links])
    if any(link.ends_inside for link in links):
        decoder.notices.append(Notice("truncated: pages are missing or incomplete", is_loss=True))
    elif not all(link.has_end for link in links):
        decoder.notices.append(Notice("has no end mark; it may be truncated", is_loss=False))
    return decoder


def _open_flac(path: str | Path, parts: list[flac.Part]) -> Decoder:
    if len(parts) == 1 and parts[0].found in (parts[0].stated, None):
        return _open_any(path)
    if not any(part.found is None or part.found for part in parts):
        raise AudioError(f"{path}: truncated: holds no complete frame; replace it")
    openers = []
    for part in parts:
        wrong = None
        if part.found not in (part.stated, None):
            wrong = Finding(part.stated or None, part.found)
        view = _view(path, part.start, part.stop, part.corrected())
        openers.append(_opener(path, view, wrong))
    return _joined(openers)


def _open_mpeg(path: str | Path, parts: list[mpeg.Part]) -> Decoder:
    def opener(part: mpeg.Part) -> Callable[[], Decoder]:
        return lambda: FfmpegDecoder(
            str(path), View(path, part.start, part.stop), part.delay, part.frames, "mp3"
        )

    openers = [opener(part) for part in parts]
    rate = parts[0].rate
    decoder = Chain(openers, round(sum(part.frames * rate / part.rate for part in parts)))
    decoder.notices += [notice for part in parts if (notice := _mpeg_notice(part))]
    return decoder


def _mpeg_notice(part: mpeg.Part) -> Notice | None:
    """Return the notice for MPEG frames whose number is not that of the header."""
    if part.stated is not None and abs(part.stated - part.samples) > part.step:
        difference = missing if part.is_short else left_over
        silence = part.samples - part.frames
        return difference(part.frames / part.rate, max(0, part.stated - silence) / part.rate)
    return Notice("truncated: ends within a frame", is_loss=True) if part.ends_inside else None
