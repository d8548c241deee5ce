"""Compute the waveforms of a scene."""

from dataclasses import replace

import numpy as np
import soxr

from espnet2_tisdiss.mixing.bank import Bank, Noise, Utterance
from espnet2_tisdiss.mixing.scenes import Scene, Voice, changed_length

PEAK = 0.9
# A voice this much softer than the active frames of its recordings is a pause.
PAUSE_DB = 20.0


class PauseError(ValueError):
    """A speaker is nearly silent in a scene."""


def render(bank: Bank, scene: Scene) -> dict[str, np.ndarray]:
    """Return the waveforms of a scene.

    The sources are those at the microphone: with reverberation, without noise. The mixture is their
    sum plus the noise.

    Args:
        bank: the bank that the scene was drawn from.
        scene: the scene.

    Returns:
        ``mix``, ``s1``, ``s2``: float32 (n,), scaled so that the largest magnitude of the three is
        0.9.

    Raises:
        PauseError: a speaker is nearly silent.
    """
    sources = [_voice(bank, voice, scene) for voice in scene.voices]
    mix = sources[0] + sources[1]
    if scene.noise is not None:
        noise = _noise(bank, scene.noise, scene.noise_offset, scene.length)
        power = np.mean(np.square(noise, dtype=np.float64))
        if power > 0:
            loudest_db = max(voice.gain_db for voice in scene.voices)
            mix = mix + noise * np.float32(
                10 ** ((loudest_db - scene.noise_snr_db) / 20) * power**-0.5
            )
    signals = {"mix": mix, "s1": sources[0], "s2": sources[1]}
    scale = np.float32(PEAK / max(np.abs(signal).max() for signal in signals.values()))
    return {name: scale * signal for name, signal in signals.items()}


def _voice(bank: Bank, voice: Voice, scene: Scene) -> np.ndarray:
    """Return one speaker's waveform at the microphone, float32 (n,)."""
    speech = np.concatenate([_at_speed(bank, voice, utterance) for utterance in voice.utterances])
    speech = speech[voice.offset : voice.offset + voice.stop - voice.start]
    if np.mean(np.square(speech)) < 10 ** (-PAUSE_DB / 10):
        raise PauseError(f"{voice.speaker}: is nearly silent in this scene")
    source = np.zeros(scene.length, np.float32)
    source[voice.start : voice.stop] = speech * np.float32(10 ** (voice.gain_db / 20))
    if scene.room < 0:
        return source
    response = bank.rooms[scene.room, voice.place]
    wet = _convolved(source, response)
    energy = np.sum(np.square(wet))
    if energy == 0:
        raise PauseError(f"{voice.speaker}: is silent in room {scene.room}")
    # the room changes the level; restore the scene's
    return wet * np.sqrt(np.sum(np.square(source)) / energy)


def _convolved(source: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the start of a convolution, as long as ``source``; both float32 (n,)."""
    # without SciPy, which is too large to copy to a GPU machine without network; torchaudio's
    # fftconvolve is much slower, because it does not choose a size for which transforms are fast
    length = len(source) + len(response) - 1
    step = 1 << max(0, length.bit_length() - 3)
    size = -(-length // step) * step
    spectrum = np.fft.rfft(source, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(source)]


def _noise(bank: Bank, noise: Noise, offset: int, length: int) -> np.ndarray:
    """Return ``length`` samples of a noise from ``offset`` on, float32 (n,), repeated as needed.

    Only the samples used are read.
    """
    start, pieces, missing = offset, [], length
    while missing:
        count = min(missing, noise.length - start)
        pieces.append(bank.noise(replace(noise, start=noise.start + start, length=count)))
        missing, start = missing - count, 0
    return np.concatenate(pieces)


def _at_speed(bank: Bank, voice: Voice, utterance: Utterance) -> np.ndarray:
    """Return an utterance's samples at the voice's speed."""
    samples = bank.speech(utterance)
    if voice.speed == 1:
        return samples
    changed = soxr.resample(samples, bank.rate * voice.speed, bank.rate, quality="MQ")
    length = changed_length(utterance.length, voice.speed)  # soxr's length may differ by a sample
    return np.pad(changed, (0, max(0, length - len(changed))))[:length]
