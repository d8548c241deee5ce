"""Speak the utterances of a voice: draw sentences, write trimmed 8 kHz files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from random import Random

import numpy as np
import soxr

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.mixing.levels import trim_silence
from espnet2_tisdiss.recipes.mini_2mix import festival, flite
from espnet2_tisdiss.recipes.mini_2mix.sentences import foreign_sentence, sentence, split_of
from espnet2_tisdiss.recipes.mini_2mix.sizes import Size
from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE, write_speech
from espnet2_tisdiss.recipes.mini_2mix.voices import ENGLISH, Speak, Voice

# number of sentences in a row that may be too short or too long before the voice fails
PATIENCE = 200
# Utterances are stored with this peak, so that 16 bits are used well and never overflow.
PEAK = 0.9


def utterance_path(corpus: Path, speaker: str, utterance: str) -> Path:
    """Return the file of an utterance."""
    return corpus / "utterances" / speaker / f"{utterance}.wav"


def speak_utterances(
    corpus: Path, turn: tuple[Voice, Sequence[str]], size: Size, seed: int
) -> dict[str, str]:
    """Make one sentence for each name of an utterance that ``turn`` lists for a voice.

    The voice draws sentences of its split and keeps those whose length fits ``size``. A voice is
    skipped if all of its files exist; otherwise all of them are made again, because the engine's
    samples depend on what it spoke before.

    Returns:
        utterance -> its sentence.
    """
    voice, utterances = turn
    folder = corpus / "utterances" / voice.speaker
    text = folder / "text"  # written last: it marks the voice as finished
    files = {name: utterance_path(corpus, voice.speaker, name) for name in utterances}
    if text.exists() and all(path.exists() for path in files.values()):
        return read_scp(text)
    folder.mkdir(parents=True, exist_ok=True)
    text.unlink(missing_ok=True)
    said = {}
    with _engine(voice) as speak:
        fitting = _fitting_utterances(voice, speak, size, Random(f"{seed}/{voice.speaker}"))
        # not strict: there are always more sentences than needed
        for name, (words, signal) in zip(utterances, fitting, strict=False):
            write_speech(files[name], signal)
            said[name] = words
    write_scp(text, said)
    return said


def _fitting_utterances(
    voice: Voice, speak: Speak, size: Size, rng: Random
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield different sentences and their peak-normalised 8 kHz speech, of a suitable length."""
    heard: set[str] = set()
    misses = 0
    while misses < PATIENCE:
        words = _draw_sentence(voice, rng)
        if words in heard:
            misses += 1
            continue
        heard.add(words)
        signal, sample_rate = speak(words)
        if not signal.any():
            raise TisdissError(f"voice {voice.accent}+{voice.variant} is silent on {words!r}")
        signal = soxr.resample(signal, sample_rate, SAMPLE_RATE)
        signal = trim_silence(signal, SAMPLE_RATE)
        if size.min_seconds <= len(signal) / SAMPLE_RATE <= size.max_seconds:
            misses = 0
            yield words, signal * (PEAK / np.abs(signal).max())
        else:
            misses += 1
    raise TisdissError(
        f"voice {voice.accent}+{voice.variant} (speaker {voice.speaker}): {PATIENCE} sentences on "
        f"end did not last {size.min_seconds} to {size.max_seconds} s"
    )


def _draw_sentence(voice: Voice, rng: Random) -> str:
    """Draw a sentence in the voice's language; English ones are of its split."""
    if voice.language != ENGLISH:
        return foreign_sentence(voice.language, rng)
    while split_of(words := sentence(rng)) != voice.split:
        pass
    return words


def _engine(voice: Voice) -> AbstractContextManager[Speak]:
    return {"espeak-ng": _espeak, "flite": flite.engine, "festival": festival.engine}[voice.engine](
        voice
    )


@contextmanager
def _espeak(voice: Voice) -> Iterator[Speak]:
    """Run an espeak-ng process (see espeak.py) for one voice."""
    import espeakng_loader  # imported here, because make_corpus() reports that it is missing

    settings = {
        "library": str(espeakng_loader.get_library_path()),
        "data": str(espeakng_loader.get_data_path()),
        "voice": f"{voice.accent}+{voice.variant}",
        "pitch": voice.pitch,
        "range": voice.pitch_range,
        "rate": voice.rate,
    }
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("espeak.py"))]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        requests, answers = process.stdin, process.stdout
        assert requests is not None and answers is not None  # both are pipes

        def read(count: int) -> bytes:
            answer = answers.read(count)
            if len(answer) < count:  # the process has ended
                status = process.wait()
                errors.seek(0)
                reason = errors.read().decode(errors="replace").strip() or f"status {status}"
                raise TisdissError(f"espeak-ng, voice {settings['voice']}: {reason}")
            return answer

        def ask(request: object) -> int:
            with suppress(BrokenPipeError):  # if the process has ended, read() says why
                requests.write(json.dumps(request).encode() + b"\n")
                requests.flush()
            return int.from_bytes(read(4), "little")

        sample_rate = ask(settings)

        def speak(text: str) -> tuple[np.ndarray, int]:
            samples = np.frombuffer(read(ask(text)), dtype="<i2")
            return samples.astype(np.float32) / 32768, sample_rate

        yield speak
