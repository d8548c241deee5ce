"""Measure the cost of separating a long recording in chunks: wrong speaker orders, and dB.

    python benchmarks/chunking.py EXP/enh_train_default_raw DUMP/raw/test --root RECIPE
    python benchmarks/chunking.py EXP/enh_train_default_raw DUMP/raw/test --chunks 8:2 --pause 3 20

makes long recordings of two speakers with pauses from the sources of a data directory (wav.scp,
spk1.scp, spk2.scp and an utt2spk whose speakers are pairs "a_b"), separates each in one piece and
in chunks of several lengths and overlaps, with the speakers of each chunk in random order, and
prints medians. "wrong" counts the chunks in which the stitcher's order of the speakers differs from
that of the references; chunks in which all speakers pause are not counted. "to one piece" is the
SI-SNR of the result in chunks against that in one piece. The defaults are those of the table in
docs/separating.md. Axis letters: j speaker, n sample.
"""

import argparse
from collections import defaultdict
from itertools import permutations
from pathlib import Path

import numpy as np
import soundfile
from measuring import count, run_main

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.chunking import Chunker, Chunking
from espnet2_tisdiss.separate.stitching import Stitcher

# dB by which a chunk's best order must be better than others to count as the right one
CLEAR_LEAD = 0.1


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    args = _arguments(argv)
    rng = np.random.default_rng(args.seed)
    voices, rate = _voices(args.data_dir, args.root)
    # before minutes of work: the lengths may be invalid
    chunkings = [Chunking.in_seconds(rate, *seconds) for seconds in args.chunks]
    separate = SeparateSpeech.from_pretrained(args.model, n_re=args.n_re)
    recordings = [_recording(voices, rate, args, rng) for _ in range(args.recordings)]
    references = [np.concatenate(separate(sources.sum(0)[None])) for sources in recordings]
    print(
        f"{'chunk':>5} {'overlap':>7} {'wrong':>9} {'to one piece':>12} {'SI-SNRi':>7} "
        f"{'in one piece':>12}"
    )
    for (length, overlap), chunking in zip(args.chunks, chunkings, strict=True):
        rows = [
            _compare(separate, sources, reference, chunking, rate, rng)
            for sources, reference in zip(recordings, references, strict=True)
        ]
        wrong, counted = np.sum([row[:2] for row in rows], axis=0)
        likeness, chunked, one_piece = np.median([row[2:] for row in rows], axis=0)
        print(
            f"{length:5g} {overlap:7g} {f'{wrong}/{counted}':>9} {likeness:12.1f} "
            f"{chunked:7.2f} {one_piece:12.2f}",
            flush=True,
        )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder, weights or archive")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--root", type=Path, default=Path(), help="of relative paths in the .scp")
    parser.add_argument("--n_re", type=count, help="repetitions [as trained]")
    parser.add_argument("--recordings", type=count, default=3)
    parser.add_argument("--seconds", type=float, default=90.0, help="of a recording")
    parser.add_argument("--pause", type=float, nargs=2, default=(0.5, 5.0), help="range, seconds")
    parser.add_argument(
        "--chunks",
        type=_length_and_overlap,
        nargs="+",
        metavar="LENGTH:OVERLAP",
        default=((4.0, 1.0), (6.0, 2.0), (8.0, 2.0), (10.0, 2.0)),
        help="in seconds [4:1 6:2 8:2 10:2]",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def _length_and_overlap(text: str) -> tuple[float, float]:
    """Read seconds of a chunk and of its overlap from the command line: a type for argparse."""
    try:
        length, overlap = map(float, text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be seconds of a chunk and of its overlap, such as 8:2; got {text!r}"
        ) from None
    return length, overlap


def _voices(data_dir: Path, root: Path) -> tuple[dict[str, list[np.ndarray]], int]:
    """Return the sources (n,) of each speaker, equally loud, and the sample rate.

    Raises:
        TisdissError: a list or a source cannot be read, or utt2spk does not name two speakers of
            each mixture as ``first_second``.
    """
    speakers = _table(data_dir / "utt2spk")
    voices = defaultdict(list)
    for index in (0, 1):
        for utterance, path in _table(data_dir / f"spk{index + 1}.scp").items():
            names = speakers.get(utterance, "").split("_")
            if len(names) != 2:
                raise TisdissError(
                    f"{data_dir}/utt2spk: does not name two speakers of {utterance} as first_second"
                )
            try:
                source, rate = soundfile.read(root / path, dtype="float32")
            except soundfile.SoundFileError:
                raise TisdissError(
                    f"{root / path}: no readable audio; is --root the folder that the paths in the "
                    "lists are relative to?"
                ) from None
            voices[names[index]].append(source / source.std())
    return dict(voices), rate


def _table(path: Path) -> dict[str, str]:
    """Return the names and values of a Kaldi list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return dict(line.split(maxsplit=1) for line in lines if line.strip())
    except OSError as error:
        raise TisdissError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise TisdissError(f"{path}: expected a name and a value in each line") from None


def _recording(
    voices: dict[str, list[np.ndarray]],
    rate: int,
    args: argparse.Namespace,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return sources (2, n) of two speakers who pause."""
    result = np.zeros((2, round(args.seconds * rate)), np.float32)
    for row, name in zip(result, rng.choice(sorted(voices), 2, replace=False), strict=True):
        at = 0
        while at < len(row):
            source = voices[name][rng.integers(len(voices[name]))][: len(row) - at]
            row[at : at + len(source)] = 0.05 * source
            at += len(source) + round(rng.uniform(*args.pause) * rate)
    return result


def _compare(
    separate: "SeparateSpeech",
    sources: np.ndarray,
    reference: np.ndarray,
    chunking: Chunking,
    rate: int,
    rng: np.random.Generator,
) -> tuple[int, int, float, float, float]:
    """Return wrong and counted orders, SI-SNR to one piece, SI-SNRi in chunks and in one piece."""
    mixture = sources.sum(0)
    chunker, stitcher, parts, right = Chunker(chunking), Stitcher(rate), [], []
    for chunk in chunker.push(mixture) + chunker.finish():
        estimate = rng.permutation(np.concatenate(separate(chunk.samples[None])))
        end = chunk.start + len(chunk.samples)
        order, lead = _best_order(sources[:, chunk.start : end], estimate)
        right.append(order if lead >= CLEAR_LEAD else None)
        parts.append(stitcher.push(chunk.start, estimate))
    chunked = np.concatenate([*parts, stitcher.finish()], axis=1)
    flips = [order != found for order, found in zip(right, stitcher.orders, strict=True) if order]
    wrong = min(sum(flips), len(flips) - sum(flips))  # any order of the recording is right
    in_order = [
        estimate[list(_best_order(sources, estimate)[0])] for estimate in (reference, chunked)
    ]
    before = _si_snr(np.broadcast_to(mixture, sources.shape), sources)
    gains = [(_si_snr(estimate, sources) - before).mean() for estimate in in_order]
    return wrong, len(flips), _si_snr(in_order[1], in_order[0]).mean(), gains[1], gains[0]


def _best_order(sources: np.ndarray, estimate: np.ndarray) -> tuple[tuple[int, ...], float]:
    """Return the order of the estimate (j, n) that fits the sources best, and its lead."""
    fit = sources @ estimate.T / (np.linalg.norm(sources) * np.linalg.norm(estimate) + 1e-12)
    totals = {order: fit[range(len(fit)), order].sum() for order in permutations(range(len(fit)))}
    second, best = sorted(totals, key=totals.__getitem__)[-2:]
    return best, totals[best] - totals[second]


def _si_snr(estimate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the scale-invariant signal-to-noise ratios (j,), in dB, of waveforms (j, n)."""
    scale = (estimate * reference).sum(1) / np.square(reference).sum(1)
    target = scale[:, None] * reference
    return 10 * np.log10(np.square(target).sum(1) / np.square(estimate - target).sum(1))


if __name__ == "__main__":
    run_main(main)
