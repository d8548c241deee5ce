"""The corpus's audio files: mono, 8 kHz, 16-bit, renamed when complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import write_audio

SAMPLE_RATE = 8000


def write_speech(path: Path, signal: np.ndarray) -> None:
    """Write ``signal``, shape (n,), int16 or float within +-1, which libsndfile rounds."""
    write_audio(path, signal, SAMPLE_RATE, "PCM_16")


def read_speech(path: Path) -> np.ndarray:
    """Read the samples of a file of the corpus, int16, shape (n,)."""
    try:
        signal, sample_rate = soundfile.read(path, dtype="int16")
    except (soundfile.LibsndfileError, OSError) as error:
        raise unusable(path, f"not readable ({error})") from None
    if sample_rate != SAMPLE_RATE or signal.ndim != 1:
        raise unusable(path, f"expected one channel at {SAMPLE_RATE} Hz")
    if not signal.any():
        raise unusable(path, "silent")
    return signal


def unusable(path: Path, reason: str) -> TisdissError:
    """Return the error that names a bad file and says how to make it again."""
    return TisdissError(f"{path}: {reason}: remove this file and run again")
