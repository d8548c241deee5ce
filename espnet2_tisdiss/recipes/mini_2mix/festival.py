"""The voices of the festival command, which are used only in one test set.

Voices of the same people as flite's are left out, and voices that do not run as packaged. A voice
of another language reads sentences in that language.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from espnet2_tisdiss.recipes.mini_2mix.voices import Speak, Voice, run_engine

# Name of the voice -> name of the speaker, language.
VOICES = {
    "ked_diphone": ("tked", "en-us"),
    "lp_diphone": ("tlp", "it"),
    "pc_diphone": ("tpc", "it"),
    "upc_ca_ona_hts": ("tona", "ca"),
    "czech_dita": ("tdita", "cs"),
    "czech_krb": ("tkrb", "cs"),
    "czech_machac": ("tmachac", "cs"),
    "czech_ph": ("tph", "cs"),
    "hy_fi_mv_diphone": ("tmv", "fi"),
    "suo_fi_lj_diphone": ("tlj", "fi"),
    "msu_ru_nsh_clunits": ("tnsh", "ru"),
}

# encoding of the text for the voices of a language
ENCODINGS = {
    "en": "ascii",
    "it": "latin-1",
    "ca": "latin-1",
    "cs": "iso8859-2",
    "fi": "latin-1",
    "ru": "utf-8",
}


def installed() -> list[str]:
    """Ask the ``festival`` command, if there is one, which of ``VOICES`` it has."""
    if shutil.which("festival") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "list.scm"
        script.write_text('(mapcar (lambda (name) (format t "%s\\n" name)) (voice.list))\n')
        listing = subprocess.run(
            ["festival", "--batch", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        ).stdout
    return [name for name in VOICES if name in listing.split()]


def plan_voices(names: Sequence[str]) -> list[Voice]:
    """Describe these voices of festival, all for testing; pitch and rate are the engine's own."""
    return [
        Voice(speaker=speaker, engine="festival", accent=accent, variant=name, split="test")
        for name in names
        for speaker, accent in [VOICES[name]]
    ]


@contextmanager
def engine(voice: Voice) -> Iterator[Speak]:
    """Run the festival command once for each text."""
    with tempfile.TemporaryDirectory() as folder:
        script, spoken = Path(folder) / "say.scm", Path(folder) / "spoken.wav"

        def speak(text: str) -> tuple[np.ndarray, float]:
            script.write_bytes(_script(voice, text, spoken.name).encode(ENCODINGS[voice.language]))
            return run_engine(voice, ["festival", "--batch", script.name], spoken, text)

        yield speak


def _script(voice: Voice, text: str, file_name: str) -> str:
    """Write the commands that speak a text, in which backslash and quotation mark are escaped."""
    quoted = text.replace("\\", r"\\").replace('"', r"\"")
    return (
        f"(voice_{voice.variant})\n"
        f'(utt.save.wave (utt.synth (Utterance Text "{quoted}")) "{file_name}" \'riff)\n'
    )
