"""Mix two utterances as WSJ0-2mix does (`min` version), list the mixtures, and check the files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from corpus_plan import WSJ0_SPLIT, Mixture
from datadir import write_aside
from levels import active_level
from speech_files import SAMPLE_RATE, read_speech, unusable, write_speech
from synthesis import utterance_path

PEAK = 0.9
SIGNALS = ("mix", "s1", "s2")
# Each signal is rounded to 16 bits by itself, so mix and s1 + s2 may differ by this many steps.
ROUNDING_LSB = 2


def signal_paths(corpus: Path, mixture: Mixture) -> dict[str, Path]:
    """Return where the mixture and its sources are kept, by the names in ``SIGNALS``."""
    folder = corpus / "wav8k" / "min" / WSJ0_SPLIT[mixture.split]
    return {signal: folder / signal / f"{mixture.name}.wav" for signal in SIGNALS}


def mix(first: np.ndarray, second: np.ndarray, snrs_db: tuple[float, float]) -> dict:
    """Mix two signals, shape (n,) each, of any length and level.

    Both are cut to the shorter one and brought to the same level of active speech, then to
    ``snrs_db`` dB relative to that; mixture and sources are scaled so that the largest sample of
    the three is 0.9.

    Returns:
        ``mix``, ``s1``, ``s2``: int16 arrays of the length of the shorter signal.
    """
    length = min(len(first), len(second))
    s1, s2 = (
        signal[:length] / np.sqrt(active_level(signal[:length], SAMPLE_RATE)) * 10 ** (snr / 20)
        for signal, snr in zip((first, second), snrs_db, strict=True)
    )
    signals = {"mix": s1 + s2, "s1": s1, "s2": s2}
    scale = PEAK / max(np.abs(signal).max() for signal in signals.values())
    return {
        name: np.round(32768 * scale * signal).astype(np.int16) for name, signal in signals.items()
    }


def make_mixture(corpus: Path, mixture: Mixture) -> None:
    """Make the three files of a mixture from its utterances, unless they are there already."""
    paths = signal_paths(corpus, mixture)
    if all(path.exists() for path in paths.values()):
        return
    first, second = (
        read_speech(utterance_path(corpus, speaker, utterance)) / 32768
        for speaker, utterance in zip(mixture.speakers, mixture.utterances, strict=True)
    )
    snr1, snr2 = mixture.snrs
    for name, signal in mix(first, second, (float(snr1), float(snr2))).items():
        write_speech(paths[name], signal)


def check_mixture(corpus: Path, mixture: Mixture) -> int:
    """Check the files of a mixture.

    Returns:
        The length in samples.

    Raises:
        DataError: a file is missing, unreadable, at another rate, silent or of another length, or
            the mixture is not the sum of its sources.  The message names the file.
    """
    paths = signal_paths(corpus, mixture)
    signals = {name: read_speech(path).astype(np.int32) for name, path in paths.items()}
    for name in ("s1", "s2"):
        if len(signals[name]) != len(signals["mix"]):
            raise unusable(
                paths[name],
                f"{len(signals[name])} samples, but its mixture has {len(signals['mix'])}",
            )
    error = np.abs(signals["mix"] - signals["s1"] - signals["s2"])
    if error.max() > ROUNDING_LSB:
        raise unusable(
            paths["mix"], f"sample {error.argmax()} is {error.max()} steps off s1 + s2 of that name"
        )
    return len(signals["mix"])


def write_mixture_list(corpus: Path, split: str, mixtures: Iterable[Mixture]) -> None:
    """Write ``mix_2_spk_<tr,cv,tt>.txt`` in WSJ0-2mix's format, with a space at each line's end."""
    lines = []
    for mixture in sorted(mixtures, key=lambda mixture: mixture.name):
        columns = []
        for speaker, utterance, snr in zip(
            mixture.speakers, mixture.utterances, mixture.snrs, strict=True
        ):
            path = utterance_path(corpus, speaker, utterance).relative_to(corpus)
            columns += [path.as_posix(), snr]
        lines.append(" ".join(columns) + " \n")
    with write_aside(corpus / f"mix_2_spk_{WSJ0_SPLIT[split]}.txt") as aside:
        aside.write_text("".join(lines), encoding="utf-8")
