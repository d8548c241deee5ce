"""An espeak-ng engine in a separate process: requests on stdin, samples on stdout.

espeak-ng keeps state from one utterance to the next (noise, flutter and oscillator phases), so
the same text sounds slightly different each time.  With a new process for every voice, the samples
of a voice depend only on its own requests. A process also isolates the library, which is not
thread-safe. This module needs only Python's standard library, so it starts within some hundredths
of a second.

The first line on stdin is a JSON object with ``library`` and ``data`` (paths), ``voice``,
``pitch``, ``range`` and ``rate``; each further line is a JSON string to be spoken.  The answer to
every line begins with a little-endian number of 4 bytes.  For the first line, it is the sample rate
in hertz; for a text, it is the number of bytes of 16-bit samples that follow.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

# Constants of speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4

# At the default volume, 100, some variants overflow 16 bits.
UNCLIPPED_VOLUME = 40

SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Engine:
    """The espeak-ng library, set to one voice."""

    def __init__(self, settings: dict) -> None:
        self._chunks: list[bytes] = []
        self._collect = SynthCallback(self._on_samples)  # kept: the library holds a pointer to it
        # The library cuts paths at 160 characters, so it is given a short, relative one.
        os.chdir(os.path.dirname(settings["data"]))
        self._library = ctypes.CDLL(settings["library"])
        self.sample_rate = self._library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS,
            0,
            os.path.basename(settings["data"]).encode(),
            INITIALIZE_DONT_EXIT,
        )
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng cannot use its data in {settings['data']}")
        self._library.espeak_SetSynthCallback(self._collect)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,  # text
            ctypes.c_size_t,  # its bytes, with the closing zero
            ctypes.c_uint,  # position to start from
            ctypes.c_int,  # how that position is counted
            ctypes.c_uint,  # position to end at; 0: the end
            ctypes.c_uint,  # flags
            ctypes.c_void_p,  # identifier, not wanted
            ctypes.c_void_p,  # user data, none
        ]
        if self._library.espeak_SetVoiceByName(settings["voice"].encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {settings['voice']!r}")
        for parameter, value in (
            (VOLUME, UNCLIPPED_VOLUME),
            (PITCH, settings["pitch"]),
            (RANGE, settings["range"]),
            (RATE, settings["rate"]),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def _on_samples(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    def speak(self, text: str) -> bytes:
        """Return the 16-bit mono samples of ``text``."""
        self._chunks.clear()
        data = text.encode("utf-8")
        status = self._library.espeak_Synth(
            data, len(data) + 1, 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None
        )
        if status != 0:
            raise RuntimeError(f"espeak-ng failed with status {status} on {text!r}")
        return b"".join(self._chunks)


def main() -> None:
    """Serve requests until stdin ends."""
    engine = Engine(json.loads(sys.stdin.readline()))
    answers = sys.stdout.buffer
    answers.write(engine.sample_rate.to_bytes(4, "little"))
    answers.flush()
    for line in sys.stdin:
        samples = engine.speak(json.loads(line))
        answers.write(len(samples).to_bytes(4, "little") + samples)
        answers.flush()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(str(error))
