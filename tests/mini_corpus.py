"""Helpers for the tests of mini_2mix's corpus: its command, its files, and speech engines."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from recipe_folder import REPOSITORY, files_of_runs

from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE

LOCAL = REPOSITORY / "egs2" / "mini_2mix" / "enh1" / "local"

# Replace the commands, whose installation needs root: they have the same options and
# commands, and answer with a buzz at the pitch that is asked for, as long as the text would last.
_BUZZ = f"""#!{sys.executable}
import re, sys, wave

def buzz(path, pitch, seconds, rate=16000):
    period, length = round(rate / pitch), round(rate * seconds)
    pulse = b"".join((20000 * (period - 2 * i) // period).to_bytes(2, "little", signed=True)
                     for i in range(period))
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((pulse * (length // period + 1))[: 2 * length])
"""

FLITE = (
    _BUZZ
    + """
if sys.argv[1:] == ["-lv"]:
    print("Voices available: kal awb_time kal16 rms slt ")
else:
    pairs = list(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    features = dict(value.split("=") for option, value in pairs if option == "--setf")
    options = {option: value for option, value in pairs if option != "--setf"}
    assert options.keys() == {"-voice", "-t", "-o"} and options["-voice"] in ("kal", "rms", "slt")
    pitch = float(features.pop("int_f0_target_mean", 100))
    stretch = float(features.pop("duration_stretch", 1))
    assert not features
    buzz(options["-o"], pitch, 0.05 * len(options["-t"]) * stretch)
"""
)

FESTIVAL = (
    _BUZZ
    + r"""
option, script = sys.argv[1:]
assert option == "--batch"
commands = open(script, "rb").read().decode("latin-1")
if "(voice.list)" in commands:
    print("czech_ph\nkal_diphone\nked_diphone\nlp_diphone")
else:
    voice, text, path = re.fullmatch(
        r'\(voice_(\w+)\)\n\(utt\.save\.wave '
        r'\(utt\.synth \(Utterance Text "((?:[^"\\]|\\.)+)"\)\) "([\w.]+)" \'riff\)\n',
        commands,
    ).groups()
    pitch = {"czech_ph": 130, "ked_diphone": 110, "lp_diphone": 200}[voice]
    buzz(path, pitch, 0.04 * len(text))
"""
)

NO_VOICES = "#!/bin/sh\n"


def put_program(folder: Path, name: str, text: str) -> None:
    """Make an executable file."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)


def use_engines(monkeypatch: object, folder: Path, flite: str, festival: str) -> None:
    """Put programs flite and festival with these texts first on PATH."""
    put_program(folder, "flite", flite)
    put_program(folder, "festival", festival)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder except lock files, by its path there."""
    return {path.relative_to(folder): path.read_bytes() for path in files_of_runs(folder)}


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a tab-separated table with a header line."""
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def data_sh(recipe: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run local/data.sh in the folder ``recipe``."""
    return subprocess.run(
        [LOCAL / "data.sh", *arguments],
        cwd=recipe,
        env=os.environ | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
    )


def pitch_hz(signal: np.ndarray) -> float:
    """Median fundamental frequency of the voiced frames of 8 kHz speech, by autocorrelation."""
    shortest, longest, frame = SAMPLE_RATE // 400, SAMPLE_RATE // 55, 512
    window = np.hanning(frame)
    frames = np.lib.stride_tricks.sliding_window_view(signal.astype(float), frame)[::160]
    energy = np.square(frames).sum(axis=1)
    found = []
    for samples in frames[energy > energy.max() / 100]:
        power = [np.abs(np.fft.rfft(x, 2 * frame)) ** 2 for x in (samples * window, window)]
        # divided by the window's own correlation, which favours short periods
        correlation, decay = (np.fft.irfft(p)[: longest + 1] for p in power)
        normal = correlation / decay * decay[0] / correlation[0]
        lags = np.arange(shortest, longest)
        peaks = lags[(normal[lags] >= normal[lags - 1]) & (normal[lags] >= normal[lags + 1])]
        if len(peaks) and (best := normal[peaks].max()) > 0.5:
            # the first of the high peaks: later ones are multiples of the period
            found.append(SAMPLE_RATE / peaks[normal[peaks] > 0.85 * best][0])
    return float(np.median(found))
