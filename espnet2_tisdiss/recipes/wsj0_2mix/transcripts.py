r"""WSJ0's transcripts: the files ``*.dot`` of the discs, without their markup.

A line is ``<words> (<utterance>)``. The markup: ``[noise]``, ``<emphasised>``,
``*mispronounced*``, ``:`` and ``!`` within a word, ``~`` at a cut end, ``.`` for a pause, ``\``
before a special sign, and spoken signs such as ``,COMMA``.
"""

from __future__ import annotations

import re
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError

LINE = re.compile(r"\s*(.*?)\s*\((\w+)\)\s*")
NOISE = re.compile(r"\[[^]]*\]")
MARKS = re.compile(r"[\\<>*:!~]")
SIGN = re.compile(r"^[^a-z0-9']+(?=[a-z])")  # mark of a spoken sign; its name follows
DOT = ".dot"


def read_transcripts(wsj0: Path) -> dict[str, str]:
    """Read all transcripts of a folder with WSJ0's discs: utterance -> words in lower case."""
    texts: dict[str, str] = {}
    for folder, _, names in wsj0.walk(follow_symlinks=True):
        for name in sorted(names):
            if Path(name.lower().partition(";")[0]).suffix == DOT:
                texts |= _read_file(folder / name)
    if not texts:
        raise TisdissError(
            f"{wsj0}: holds no transcripts (*.dot): give the folder above WSJ0's discs, of which "
            "11-4.1 and others have them in transcrp/dots and next to the speech"
        )
    return texts


def _read_file(path: Path) -> dict[str, str]:
    """Read a file of transcripts."""
    texts = {}
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not (match := LINE.fullmatch(line)):
            raise TisdissError(f"{path}:{number}: expected '<words> (<utterance>)', found {line!r}")
        texts[match[2].lower()] = plain_words(match[1])
    return texts


def plain_words(marked: str) -> str:
    """Return the words of a transcript without its markup."""
    cleaned = MARKS.sub("", NOISE.sub(" ", marked.lower()))
    words = (SIGN.sub("", word) for word in cleaned.split())
    return " ".join(word for word in words if re.search("[a-z0-9]", word))
