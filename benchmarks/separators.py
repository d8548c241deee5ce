"""Compare TISDiSS at several depths with ESPnet's other separators at their published sizes.

    python benchmarks/separators.py
    python benchmarks/separators.py --only Conv-TasNet DPRNN-16

Each model, with its encoder and decoder and with random weights, separates the same 4 s of sound
at 8 kHz with ESPnet's ``SeparateSpeech``, in a separate process. RTF is the real-time factor,
seconds of work per second of audio; a ratio is its seconds divided by those of 1 TFLOP of float32
matrix products in the same process. Multiply-adds are those of convolutions, matrix products,
attention and LSTMs; Fourier transforms and elementwise work are not counted. Memory is the peak
above the loaded model.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from measuring import (
    ROOT,
    begin,
    fresh,
    parser,
    read_config,
    run_main,
    seconds_of,
    teraflop,
    untrained,
)
from results import check_page, machine, number, record, table
from torch.utils.flop_counter import FlopCounterMode

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.evaluate.cost import PeakMemory, measure, parameters

if TYPE_CHECKING:  # importing ESPnet takes seconds
    from espnet2.bin.enh_inference import SeparateSpeech

RATE = 8000


def learned(channels: int, window: int) -> dict[str, Any]:
    """Return the options of a learned encoder and decoder, whose windows overlap by half."""
    conf = {"channel": channels, "kernel_size": window, "stride": window // 2}
    return {"encoder": "conv", "encoder_conf": conf, "decoder": "conv", "decoder_conf": conf}


@dataclass(frozen=True)
class Rival:
    """A separator that ESPnet ships, at a size published for WSJ0-2mix.

    Attributes:
        source: where that size is from.
        millions: its parameters, as published.
        config: ESPnet's options.
        skip_dim: channels of Conv-TasNet's skip connections, for which ESPnet's layer has an
            option and its separator none; None: another separator.
    """

    source: str
    millions: float
    config: Mapping[str, Any] = field(repr=False)
    skip_dim: int | None = None


def _dprnn(window: int, segment: int) -> Rival:
    conf = {"num_spk": 2, "layer": 6, "unit": 128, "segment_size": segment}
    return Rival(
        "Luo, Chen & Yoshioka 2020 (arXiv 1910.06379): 6 blocks, 64 filters, 128 units each "
        f"direction, windows of {window} samples, segments of {segment} frames",
        2.6,
        learned(64, window) | {"separator": "dprnn", "separator_conf": conf},
    )


RIVALS = {
    "Conv-TasNet": Rival(
        "Luo & Mesgarani 2019 (arXiv 1809.07454): N 512, L 16, B 128, H 512, Sc 128, P 3, X 8, R 3",
        5.1,
        learned(512, 16)
        | {
            "separator": "tcn",
            "separator_conf": {
                "num_spk": 2,
                "layer": 8,
                "stack": 3,
                "bottleneck_dim": 128,
                "hidden_dim": 512,
                "kernel": 3,
                "norm_type": "gLN",
            },
        },
        skip_dim=128,
    ),
    "DPRNN-16": _dprnn(16, 100),
    "DPRNN-2": _dprnn(2, 250),
    "TF-GridNet": Rival(
        "Wang et al. 2023 (arXiv 2211.12433): D 64, B 6, I 4, J 1, H 256, L 4; windows of 32 ms, "
        "hop 8 ms; ESPnet's TFGridNetV2",
        14.5,
        {
            "encoder": "same",
            "encoder_conf": {},
            "decoder": "same",
            "decoder_conf": {},
            "separator": "tfgridnetv2",
            "separator_conf": {
                "n_srcs": 2,
                "n_fft": 256,
                "stride": 64,
                "n_layers": 6,
                "lstm_hidden_units": 256,
                "attn_n_head": 4,
                "attn_approx_qk_dim": 512,
                "emb_dim": 64,
                "emb_ks": 4,
                "emb_hs": 1,
            },
            "model_conf": {"normalize_variance": True},
        },
    ),
}
# configuration and depths
OURS = {
    "TISDiSS": ("conf/train_sep1x2-re1x6.yaml", (1, 3, 6)),
    "TISDiSS-small": ("conf/train_small.yaml", (1, 4)),
}


class Cost(NamedTuple):
    """The cost of a separator.

    Attributes:
        name: of the separator.
        parameters: trained numbers, encoder and decoder included.
        macs_per_s: multiply-adds for a second of audio.
        rtf: real-time factor.
        ratio: seconds of the separation over those of 1 TFLOP.
        peak_bytes: peak memory above the loaded model.
    """

    name: str
    parameters: int
    macs_per_s: float
    rtf: float
    ratio: float
    peak_bytes: int


def lstm_flops(sequence: Any, w_input: Any, w_hidden: Any, *_: Any, **__: Any) -> int:
    """Return the operations of one direction of an LSTM layer, which PyTorch does not count.

    Args:
        sequence: shape (n, b, in).
        w_input: shape of the four gates' weights, (4 * hidden, in).
        w_hidden: (4 * hidden, hidden).
    """
    return 2 * math.prod(sequence[:2]) * (math.prod(w_input) + math.prod(w_hidden))


def count_macs(separate: "SeparateSpeech", mixture: Any) -> float:
    """Return the multiply-adds of a separation by a model on the CPU, by running it."""
    lstm = {torch.ops.aten.mkldnn_rnn_layer: lstm_flops}
    with FlopCounterMode(display=False, custom_mapping=lstm) as counter:
        separate(mixture, fs=RATE)
    return counter.get_total_flops() / 2


def build(rival: Rival, device: str = "cpu") -> "SeparateSpeech":
    """Return a model of the published size."""
    from espnet2.bin.enh_inference import SeparateSpeech  # deferred: takes seconds

    separate = untrained(SeparateSpeech, rival.config, device)
    as_published(rival, separate.enh_model.separator)
    separate.enh_model.to(device)
    return separate


def as_published(rival: Rival, separator: torch.nn.Module) -> None:
    """Give ESPnet's Conv-TasNet the skip connections that its options lack."""
    if rival.skip_dim is None:
        return
    from espnet2.enh.layers.tcn import TemporalConvNet  # deferred: takes seconds

    conf = rival.config["separator_conf"]
    separator.tcn = TemporalConvNet(
        N=rival.config["encoder_conf"]["channel"],
        B=conf["bottleneck_dim"],
        H=conf["hidden_dim"],
        P=conf["kernel"],
        X=conf["layer"],
        R=conf["stack"],
        C=conf["num_spk"],
        Sc=rival.skip_dim,
        norm_type=conf["norm_type"],
    )


def cost_of_rival(name: str, seconds: float, repeats: int, device: str) -> list[Cost]:
    """Measure one of ``RIVALS`` in this fresh process."""
    rival = RIVALS[name]
    separate = build(rival, device)
    mixture = speech_shaped_noise(seconds, RATE)[None]  # (1, n)
    flop = teraflop()
    with PeakMemory(device) as memory:
        separate(mixture, fs=RATE)
    taken = statistics.median(
        seconds_of(lambda: separate(mixture, fs=RATE))[0] for _ in range(repeats)
    )
    with torch.device("cpu"):
        macs = count_macs(build(rival), mixture) / seconds
    size = parameters(separate.enh_model)
    return [Cost(name, size, macs, taken / seconds, taken / min(flop, teraflop()), memory.peak)]


def cost_of_ours(name: str, seconds: float, repeats: int, device: str) -> list[Cost]:
    """Measure one of ``OURS`` at its depths in this fresh process."""
    from espnet2_tisdiss import SeparateSpeech

    path, depths = OURS[name]
    separate = untrained(SeparateSpeech, read_config(ROOT / path), device)
    flop = teraflop()
    costs = measure(separate, seconds, depths, repeats)
    flop = min(flop, teraflop())
    return [
        Cost(
            f"{name}, N_re {cost.n_re}",
            parameters(separate.enh_model),
            cost.macs_per_s,
            cost.rtf,
            cost.rtf * seconds / flop,
            cost.peak_bytes,
        )
        for cost in costs
    ]


def report(costs: list[Cost], seconds: float) -> str:
    """Return the table of the measured costs, with sources."""
    rows = [
        (
            cost.name,
            f"{cost.parameters / 1e6:.2f} M",
            number(cost.macs_per_s / 1e9),
            number(cost.rtf),
            number(cost.ratio),
            number(cost.peak_bytes / 1e6),
        )
        for cost in costs
    ]
    header = ("", "parameters", "GMAC/s", "RTF", "ratio", "peak memory, MB")
    names = {cost.name for cost in costs}
    sources = [f"- {name}: {r.source}.\n" for name, r in RIVALS.items() if name in names]
    return f"Separating {seconds:g} s of audio\n\n{table(header, rows)}\n{''.join(sources)}"


def main() -> None:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=[*OURS, *RIVALS], nargs="+", help="some of them")
    arguments.add_argument("--seconds", type=float, default=4.0, help="of audio [%(default)s]")
    args = arguments.parse_args()
    begin(args.threads, args.device)
    device = torch.device(args.device)
    check_page(args.page, f"separators-{device.type}", ["--only"] * bool(args.only))
    names = args.only or [*OURS, *RIVALS]
    costs: list[Cost] = []
    from run_progress import RunProgress  # deferred: needs the command line's packages

    with RunProgress.shown(len(names), "separators") as progress:
        for name in names:
            measured = cost_of_ours if name in OURS else cost_of_rival
            costs += fresh(
                measured, name, args.seconds, args.repeats, args.device, device=args.device
            )
            progress.advance(1)
    content = f"{machine(device)}\n{report(costs, args.seconds)}"
    print(content)
    if args.page:
        record(args.page, f"separators-{device.type}", content)


if __name__ == "__main__":
    run_main(main)
