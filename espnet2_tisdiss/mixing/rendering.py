"""From a scene to waveforms."""

from dataclasses import replace

import numpy as np
import soxr

from espnet2_tisdiss.mixing.bank import Bank, Utterance
from espnet2_tisdiss.mixing.scenes import Scene, Voice, changed_length

PEAK = 0.9
# A voice whose part of the mixture is softer than its recordings by more than this is a pause.
PAUSE_DB = 20.0


class PauseError(ValueError):
    """A speaker says next to nothing in a scene."""


def render(bank: Bank, scene: Scene) -> dict[str, np.ndarray]:
    """Make the waveforms of a scene.

    The sources are as they reach the microphone: with the room's echoes, without the noise. The
    mixture is their sum and the noise.

    Args:
        bank: what the scene was drawn from.
        scene: the scene.

    Returns:
        ``mix``, ``s1``, ``s2``: float32 (n,), scaled so that the largest sample of the three is
        0.9.

    Raises:
        PauseError: a speaker says next to nothing.
    """
    sources = [_voice(bank, voice, scene) for voice in scene.voices]
    mix = sources[0] + sources[1]
    if scene.noise is not None:
        noise = _noise(bank, scene)
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
    """Return one speaker's waveform, float32 (n,)."""
    said = np.concatenate([_at_speed(bank, voice, utterance) for utterance in voice.utterances])
    said = said[voice.offset : voice.offset + voice.stop - voice.start]
    if np.mean(np.square(said)) < 10 ** (-PAUSE_DB / 10):
        raise PauseError(f"{voice.speaker}: says next to nothing in this scene")
    source = np.zeros(scene.length, np.float32)
    source[voice.start : voice.stop] = said * np.float32(10 ** (voice.gain_db / 20))
    if scene.room < 0:
        return source
    response = bank.rooms[scene.room, voice.place]
    wet = _convolved(source, response)
    energy = np.sum(np.square(wet))
    if energy == 0:
        raise PauseError(f"{voice.speaker}: is not heard in room {scene.room}")
    # a room changes the level, which the scene has settled
    return wet * np.sqrt(np.sum(np.square(source)) / energy)


def _convolved(source: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the start of a convolution, as long as ``source``; both float32 (n,)."""
    # a small number times a power of two, for which transforms are fast; they stay in float32
    whole = len(source) + len(response) - 1
    step = 1 << max(0, whole.bit_length() - 3)
    size = -(-whole // step) * step
    spectrum = np.fft.rfft(source, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(source)]


def _noise(bank: Bank, scene: Scene) -> np.ndarray:
    """Return a scene's noise, float32 (n,); no more of it is read than is heard."""
    start, pieces, missing = scene.noise_offset, [], scene.length
    while missing:
        length = min(missing, scene.noise.length - start)
        heard = replace(scene.noise, start=scene.noise.start + start, length=length)
        pieces.append(bank.noise(heard))
        missing, start = missing - length, 0
    return np.concatenate(pieces)


def _at_speed(bank: Bank, voice: Voice, utterance: Utterance) -> np.ndarray:
    """Return an utterance's samples at the voice's speed."""
    samples = bank.speech(utterance)
    if voice.speed == 1:
        return samples
    changed = soxr.resample(samples, bank.rate * voice.speed, bank.rate, quality="MQ")
    length = changed_length(utterance.length, voice.speed)  # soxr's may differ by a sample
    return np.pad(changed, (0, max(0, length - len(changed))))[:length]
