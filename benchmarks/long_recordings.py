"""Measure peak memory and time of ``tisdiss separate`` by the length of the recording.

    python benchmarks/long_recordings.py EXP/enh_train_default_raw --minutes 1 10

separates noise of each length in a separate process and prints the process's peak resident memory,
its ratio to that of the first length, and the seconds of work per second of audio (without loading
the model). The cost does not depend on the signal, so it is the same for speech.
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from measuring import count, run_main

from espnet2_tisdiss.errors import TisdissError

# a process that runs the command line with its arguments and prints its own peak memory
_COMMAND = [sys.executable, __file__, "--measured"]


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    args, options = _arguments(argv)
    print(f"{'minutes':>7} {'peak [MB]':>9} {'ratio':>5} {'RTF':>6}")
    first = None
    for minutes in args.minutes:
        peak, rtf = _separate(args.model, minutes, args.rate, options)
        first = first or peak
        print(f"{minutes:7g} {peak / 1e6:9.0f} {peak / first:5.2f} {rtf:6.3f}", flush=True)


def _arguments(argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Other options are passed to tisdiss separate, such as --n-re 8.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="as for tisdiss separate --model")
    parser.add_argument("--minutes", type=float, nargs="+", default=(1.0, 10.0))
    parser.add_argument("--rate", type=count, default=8000, help="of the recordings, in Hz")
    return parser.parse_known_args(argv)


def _separate(model: str, minutes: float, rate: int, options: list[str]) -> tuple[int, float]:
    """Return the peak memory in bytes and the real-time factor of a recording of noise.

    Raises:
        TisdissError: the separation failed.
        SystemExit: the command line was wrong; the command has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder, "noise.wav")
        _write_noise(recording, round(minutes * 60 * rate), rate)
        options = [str(recording), "-m", model, "-o", folder, "--json", *options]
        run = subprocess.run([*_COMMAND, *options], stdout=subprocess.PIPE)
    if run.returncode > 1:
        sys.exit(run.returncode)
    if run.returncode < 0:  # for example out of memory
        raise TisdissError(f"{minutes:g} minutes: ended by {signal.Signals(-run.returncode).name}")
    text, peak = run.stdout.rsplit(b"\n", 1)
    report = json.loads(text)
    summary = report["summary"]
    if summary["failed"]:
        raise TisdissError(f"{minutes:g} minutes: {report['files'][0]['reason']}")
    return int(peak), summary["seconds_of_work"] / summary["seconds_of_audio"]


def _write_noise(path: Path, length: int, rate: int) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, channels=1) as file:
        for start in range(0, length, rate):
            file.write(0.1 * rng.standard_normal(min(rate, length - start)))


def _measured() -> None:
    """Run ``tisdiss separate`` here, and print this process's peak memory in bytes after it."""
    from espnet2_tisdiss.cli import app

    sys.argv[1] = "separate"
    try:
        app.main()
    finally:
        unit = 1 if sys.platform == "darwin" else 1024
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, end="")


if __name__ == "__main__":
    run_main(_measured if sys.argv[1:2] == ["--measured"] else main)
