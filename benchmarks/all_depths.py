"""Time the estimates of all depths: in one run, and in one run for each depth.

    python benchmarks/all_depths.py EXP/enh_train_default_raw
    python benchmarks/all_depths.py conf/train_sep1x2-re1x6.yaml --seconds 1 --repeats 1

times, in alternation, (a) one run at the deepest depth, (b) ``depths``, one run with the estimates
of all depths from 1 on, and (c) a separate run for each depth, as in the published code; and prints
medians and ratios to (a). The model is either a trained one (folder, weights or archive) or one
with random weights, built from a training configuration (*.yaml): both take the same time.
"""

import argparse
from pathlib import Path

import torch
from measuring import count, in_turn, read_config, run_main, untrained

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.audio.noise import speech_shaped_noise


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    args = _arguments(argv)
    model = _model(args.model, args.device)
    mixture = speech_shaped_noise(args.seconds, model.sample_rate)[None]  # (1, n)
    wanted = range(1, args.depths + 1)

    def runs() -> None:
        for n_re in wanted:
            model(mixture, fs=model.sample_rate, n_re=n_re)

    ways = {
        f"one run at N_re {args.depths}": lambda: model(
            mixture, fs=model.sample_rate, n_re=args.depths
        ),
        f"one run, all of 1..{args.depths}": lambda: model.depths(mixture, wanted, "estimate"),
        f"{args.depths} runs, 1..{args.depths}": runs,
    }
    model(mixture, fs=model.sample_rate, n_re=1)  # the first run also builds caches
    seconds, _ = in_turn(ways, args.repeats, lambda _: None)
    deepest = next(iter(seconds.values()))
    print(
        f"{args.model}: {args.seconds:g} s of audio, {args.repeats} times, {model.device}, "
        f"{torch.get_num_threads()} thread(s)"
    )
    print(f"{'':>24} {'seconds':>8} {'RTF':>7} {'ratio':>6}")
    for way, median in seconds.items():
        print(f"{way:>24} {median:8.3f} {median / args.seconds:7.3f} {median / deepest:6.2f}")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="trained model, or training configuration *.yaml")
    parser.add_argument("--seconds", type=float, default=4.0, help="of audio")
    parser.add_argument("--depths", type=count, default=8, help="the deepest one")
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def _model(path: Path, device: str) -> SeparateSpeech:
    """Load a trained model, or build that of a training configuration."""
    if path.suffix != ".yaml":
        return SeparateSpeech.from_pretrained(path, device=device)
    return untrained(SeparateSpeech, read_config(path), device)


if __name__ == "__main__":
    run_main(main)
