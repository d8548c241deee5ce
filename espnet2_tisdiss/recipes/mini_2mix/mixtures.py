"""Mix two utterances as WSJ0-2mix does, list the mixtures, and check the files.

The mode ``min`` cuts both to the shorter one; ``max`` adds silence to the shorter one, so that all
words are in the mixture.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.signal import oaconvolve

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.mixing.levels import frame_level
from espnet2_tisdiss.recipes.corpora.data_sets import ROUNDING_LSB
from espnet2_tisdiss.recipes.corpora.files import Version, common_length, fit, quantise
from espnet2_tisdiss.recipes.mini_2mix.noises import make_noise
from espnet2_tisdiss.recipes.mini_2mix.plan import WSJ0_SPLIT, Mixture
from espnet2_tisdiss.recipes.mini_2mix.rooms import read_responses
from espnet2_tisdiss.recipes.mini_2mix.sizes import split_of_set
from espnet2_tisdiss.recipes.mini_2mix.speech_files import (
    SAMPLE_RATE,
    read_speech,
    unusable,
    write_speech,
)
from espnet2_tisdiss.recipes.mini_2mix.synthesis import utterance_path

PEAK = 0.9
SIGNALS = ("mix", "s1", "s2")
SCENE_COLUMNS = ("mixture", "room", "positions", "noise", "snr_db")
SNR_TOLERANCE_DB = 0.1


def wsj0_name(set_name: str) -> str:
    """Return the folder of a set: ``tr``, ``cv``, ``tt`` or, of ``test_noisy``, ``tt_noisy``."""
    split = split_of_set(set_name)
    return WSJ0_SPLIT[split] + set_name.removeprefix(split)


def signal_paths(corpus: Path, mixture: Mixture, mode: Version = "min") -> dict[str, Path]:
    """Return the files of the mixture and its sources, by the names in ``SIGNALS``."""
    folder = corpus / "wav8k" / mode / wsj0_name(mixture.set_name)
    return {signal: folder / signal / f"{mixture.name}.wav" for signal in SIGNALS}


def mix(
    first: np.ndarray,
    second: np.ndarray,
    snrs_db: tuple[float, float],
    noise: tuple[np.ndarray, float] | None = None,
    mode: Version = "min",
) -> dict:
    """Mix two signals, shape (n,) each, of any length and level.

    Both get the length of the shorter one (``min``) or the longer one (``max``). They are scaled to
    the same level of active speech, then to ``snrs_db`` dB relative to it; mixture and sources are
    scaled so that the largest sample of the three is 0.9.

    Args:
        first: the first source.
        second: the second source.
        snrs_db: their levels.
        noise: added only to the mixture: its samples, at least as many as the sources have, and by
            how many dB the speech of both is above it.
        mode: length of the results.

    Returns:
        ``mix``, ``s1``, ``s2``: int16 arrays of that length.
    """
    length = common_length((len(first), len(second)), mode)
    heard = (first[:length], second[:length])
    s1, s2 = fit([_levelled(*pair) for pair in zip(heard, snrs_db, strict=True)], mode)
    signals = {"mix": s1 + s2, "s1": s1, "s2": s2}
    if noise is not None:
        samples, snr = noise[0][:length], noise[1]
        gain = 10 ** ((_snr_db(signals["mix"], samples) - snr) / 20)
        signals["mix"] = signals["mix"] + gain * samples
    scale = PEAK / max(np.abs(signal).max() for signal in signals.values())
    return {name: quantise(scale * signal) for name, signal in signals.items()}


def _levelled(signal: np.ndarray, level_db: float) -> np.ndarray:
    """Bring a signal's active speech to a level."""
    return signal / np.sqrt(frame_level(signal, SAMPLE_RATE)) * 10 ** (level_db / 20)


def _snr_db(speech: np.ndarray, noise: np.ndarray) -> float:
    """Return the level of the active parts of ``speech`` above that of ``noise``, in dB."""
    noise_power = np.mean(np.square(noise, dtype=np.float64))
    return float(10 * np.log10(frame_level(speech, SAMPLE_RATE) / noise_power))


def make_mixture(corpus: Path, mixture: Mixture, mode: Version = "min") -> None:
    """Make the three files of a mixture from its utterances, unless they exist.

    The sources are the signals at the microphone: in a room, with its reverberation.
    """
    paths = signal_paths(corpus, mixture, mode)
    if all(path.exists() for path in paths.values()):
        return
    first, second = (
        _utterance(corpus, speaker, utterance)
        for speaker, utterance in zip(mixture.speakers, mixture.utterances, strict=True)
    )
    if mixture.place is not None:
        responses = read_responses(corpus, mixture.place.room)
        first, second = (
            oaconvolve(source, responses[position])[: len(source)]
            for source, position in zip((first, second), mixture.place.positions, strict=True)
        )
    noise = None
    if mixture.noise is not None:
        babble = [_utterance(corpus, *who) for who in mixture.noise.babble]
        length = common_length((len(first), len(second)), mode)
        samples = make_noise(mixture.noise.kinds, length, mixture.noise.seed, babble)
        noise = (samples, mixture.noise.snr_db)
    snr1, snr2 = mixture.snrs
    for name, signal in mix(first, second, (float(snr1), float(snr2)), noise, mode).items():
        write_speech(paths[name], signal)


def _utterance(corpus: Path, speaker: str, utterance: str) -> np.ndarray:
    return read_speech(utterance_path(corpus, speaker, utterance)) / 32768


def check_mixture(corpus: Path, mixture: Mixture, mode: Version = "min") -> int:
    """Check the files of a mixture; return its length in samples.

    Raises:
        TisdissError: a file is missing, unreadable, at another rate, silent or of another length,
            or the mixture is not the sum of its sources, or its noise does not have the planned
            level.  The message names the file.
    """
    paths = signal_paths(corpus, mixture, mode)
    mix, s1, s2 = (read_speech(paths[name]).astype(np.int32) for name in SIGNALS)
    for name, source in (("s1", s1), ("s2", s2)):
        if len(source) != len(mix):
            raise unusable(paths[name], f"{len(source)} samples, but its mixture has {len(mix)}")
    rest, reason = mix - s1 - s2, ""
    if mixture.noise is None:
        error = np.abs(rest)
        if error.max() > ROUNDING_LSB:
            reason = f"sample {error.argmax()} is {error.max()} steps off s1 + s2 of that name"
    else:
        planned, found = mixture.noise.snr_db, _snr_db(s1 + s2, rest) if rest.any() else np.inf
        if abs(found - planned) > SNR_TOLERANCE_DB:
            reason = f"its noise is {found:.2f} dB below s1 + s2 of that name, not {planned:.2f} dB"
    if reason:
        raise unusable(paths["mix"], reason)
    return len(mix)


def write_mixture_lists(corpus: Path, set_name: str, mixtures: Iterable[Mixture]) -> None:
    """Write ``mix_2_spk_<tr,cv,tt>.txt`` in WSJ0-2mix's format, with a space at each line's end.

    If any of the mixtures has a room or noise, ``scenes_<tr,cv,tt>.tsv`` says which.
    """
    mixtures = sorted(mixtures, key=lambda mixture: mixture.name)
    lines = []
    for mixture in mixtures:
        columns = []
        for speaker, utterance, snr in zip(
            mixture.speakers, mixture.utterances, mixture.snrs, strict=True
        ):
            path = utterance_path(corpus, speaker, utterance).relative_to(corpus)
            columns += [path.as_posix(), snr]
        lines.append(" ".join(columns) + " \n")
    write_atomically(corpus / f"mix_2_spk_{wsj0_name(set_name)}.txt", "".join(lines))
    if any(mixture.place or mixture.noise for mixture in mixtures):
        rows = ["\t".join(SCENE_COLUMNS), *map(_scene, mixtures)]
        write_atomically(corpus / f"scenes_{wsj0_name(set_name)}.tsv", "\n".join(rows) + "\n")


def _scene(mixture: Mixture) -> str:
    place, noise = mixture.place, mixture.noise
    columns = [mixture.name, "-", "-", "-", "-"]
    if place:
        columns[1:3] = place.room, ",".join(map(str, place.positions))
    if noise:
        columns[3:5] = "+".join(noise.kinds), f"{noise.snr_db:.2f}"
    return "\t".join(columns)
