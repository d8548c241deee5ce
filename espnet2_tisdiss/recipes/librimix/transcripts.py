"""LibriSpeech's transcripts: a file ``<speaker>-<chapter>.trans.txt`` in each chapter's folder."""

from __future__ import annotations

from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp


def read_transcripts(subset: Path) -> dict[str, str]:
    """Read all transcripts of a folder such as dev-clean: utterance -> words in lower case."""
    texts: dict[str, str] = {}
    for path in sorted(subset.glob("*/*/*.trans.txt")):
        texts |= read_scp(path)
    if not texts:
        raise TisdissError(f"{subset}: holds no transcripts (*/*/*.trans.txt)")
    return {utterance: text.lower() for utterance, text in texts.items()}
