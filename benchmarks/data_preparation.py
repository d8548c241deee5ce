"""Measure how fast stage 1 makes WSJ0-2mix: files per second, by number of processes.

    python benchmarks/data_preparation.py --mixtures 1000 --nj 1 2 4

writes a corpus of noise in WSJ0's layout into a temporary folder (--folder), runs the recipe's
local/data.sh on it from scratch for each number of processes, and prints the total time of
measuring active levels, making mixtures, checking everything and writing lists. "again" is a second
run, which only checks the existing files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from measuring import count, run_main

DATA_SH = Path(__file__).parents[1] / "egs2/wsj0_2mix/enh1/local/data.sh"
SETS = {"tr": "si_tr_s", "cv": "si_tr_s", "tt": "si_et_05"}
RATE = 16000
FILES_PER_MIXTURE = 3


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    args = _arguments(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        corpus = Path(name)
        _write_corpus(corpus, args.mixtures, args.utterances, args.seconds)
        files = FILES_PER_MIXTURE * args.mixtures
        print(f"{args.mixtures} mixtures of {args.seconds:g} s, {files} files")
        print(f"{'nj':>3} {'seconds':>8} {'files/s':>8} {'again, files/s':>15}")
        for nj in args.nj:
            recipe = corpus / f"recipe_{nj}"
            recipe.mkdir()
            first, again = (_prepare(corpus, recipe, nj) for _ in range(2))
            print(f"{nj:3} {first:8.1f} {files / first:8.0f} {files / again:15.0f}", flush=True)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--mixtures", type=count, default=600, help="in all three sets [%(default)s]"
    )
    parser.add_argument("--utterances", type=count, default=20, help="of a speaker [%(default)s]")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each [%(default)s]")
    parser.add_argument("--nj", type=count, nargs="+", default=[1, 2], help="processes [1 2]")
    parser.add_argument("--folder", type=Path, help="for the corpus [the system's temporary one]")
    return parser.parse_args(argv)


def _write_corpus(folder: Path, mixtures: int, utterances: int, seconds: float) -> None:
    """Write utterances of four speakers for each set, and lists of ``mixtures`` in total."""
    rng = np.random.default_rng(0)
    paths: dict[str, list[str]] = {}
    for set_name, prefix in (("si_tr_s", "40"), ("si_et_05", "44")):
        for speaker in (f"{prefix}{letter}" for letter in "abcd"):
            for number in range(utterances):
                path = f"wsj0/{set_name}/{speaker}/{speaker}a{number:04}.wav"
                samples = rng.normal(0, 0.05, round(seconds * RATE)).astype(np.float32)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / path, samples, RATE, subtype="PCM_16")
                paths.setdefault(set_name, []).append(path)
    shares = {"tr": mixtures - 2 * (mixtures // 6), "cv": mixtures // 6, "tt": mixtures // 6}
    for split, share in shares.items():
        names = paths[SETS[split]]
        lines = []
        for index in range(share):
            # of the next speaker
            second = names[(index + utterances) % len(names)]
            level = 2.5 * (index + 1) / share
            lines.append(f"{names[index % len(names)]} {level:.6f} {second} {-level:.6f} \n")
        (folder / f"mix_2_spk_{split}.txt").write_text("".join(lines))


def _prepare(corpus: Path, recipe: Path, nj: int) -> float:
    """Run local/data.sh in a recipe folder; return the seconds it took."""
    variables = {"PYTHON": sys.executable, "WSJ0": str(corpus), "WSJ0_MIX_LISTS": str(corpus)}
    began = time.perf_counter()
    run = subprocess.run(
        [DATA_SH, "--allow_subset", "--measure_levels", "--nj", str(nj)],
        cwd=recipe,
        env=os.environ | variables | {"WSJ0_2MIX": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - began
    if run.returncode:
        sys.exit(f"data_preparation.py: local/data.sh failed:\n{run.stderr.strip()}")
    return seconds


if __name__ == "__main__":
    run_main(main)
