"""Measure how often the signs of a doubtful separation are right.

    python benchmarks/doubts.py voices DATA

uses mixtures of a data set (as for tisdiss sweep; give a validation set, whose scores are not
reported). On one half it chooses limits for espnet2_tisdiss/separate/doubts.py: those with the most
hits and at most 5 % false alarms. On the other half it measures the limits in the package. It
prints two tables for docs/recordings.md, and the limits.

Voices: each mixture unchanged, with only one of its speakers (and its noise), and with a third one
from another mixture. False alarms are doubts about well separated mixtures.

Channels: each speaker is in one channel, and 5 ms later and weaker by a number of dB in the other,
with noise 40 dB below. False alarms are those with 10 dB or less. Axis letters: j speaker, n
sample.
"""

import sys
from collections.abc import Iterator

import numpy as np
from measuring import mixtures_parser, run_main, spread
from results import table

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.evaluate.by_depth import improvement
from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals
from espnet2_tisdiss.separate.doubts import (
    ALIKE,
    UNRELATED,
    WEAK_DB,
    channel_powers,
    estimate_powers,
    relation_of_channels,
    traits_of_estimates,
)
from espnet2_tisdiss.separate.loudness import ScaleStatistics

WELL_DB = 5.0  # SI-SNRi from which a mixture counts as well separated
FALSE_ALARMS = 0.05
BLEEDS_DB = (np.inf, 40, 30, 20, 15, 10, 6, 3, 0)
ONE_ROOM_DB = 10  # the other speaker is no weaker in stereo recordings of one room
DELAY_S = 0.005
KINDS = ("one speaker", "two, well separated", "two, badly separated", "three speakers")


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    parser = mixtures_parser(__doc__)
    parser.set_defaults(limit=100)
    args = parser.parse_args(argv)
    model = SeparateSpeech.from_pretrained(args.model, n_re=args.n_re)
    mixtures = spread(find_mixtures(args.data, model.num_spk), args.limit)
    signals = [
        read_signals((one.path, *one.references), model.sample_rate).astype(np.float32)
        for one in mixtures
    ]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for number, (kind, traits) in _traits(model, signals):
        found.setdefault((kind, number % 2), []).append(traits)
    voices = {key: np.array(traits).reshape(-1, 2) for key, traits in found.items()}
    fitted = {kind: voices[kind, 0] for kind in KINDS[:2]}
    measured = {kind: voices.get((kind, 1), np.empty((0, 2))) for kind in KINDS}
    relations = _relations(signals, model.sample_rate)
    weak, alike = _limits_of_voices(fitted)
    unrelated = _limit_of_channels({bleed: values[::2] for bleed, values in relations.items()})
    rest = {bleed: values[1::2] for bleed, values in relations.items()}
    sys.stdout.write(
        f"{_voices(measured)}\n{_channels(rest)}\n"
        f"chosen: {weak} dB, correlation {alike:g}; levels {unrelated:g}\n"
        f"in the package: {WEAK_DB:g} dB, correlation {ALIKE:g}; levels {UNRELATED:g}\n"
    )


def _traits(
    model: SeparateSpeech, signals: list[np.ndarray]
) -> Iterator[tuple[int, tuple[str, tuple[float, float]]]]:
    """Yield for each mixture its number, and kind and traits of each recording made from it."""
    for number, (mixture, *speakers) in enumerate(signals):
        alone = mixture - speakers[number % 2]
        third = signals[(number + len(signals) // 2 + 1) % len(signals)][1]
        third = third[: len(mixture)] * (np.std(speakers) / np.std(third))
        recordings = {
            "one speaker": alone,
            "two": mixture,
            "three speakers": mixture[: len(third)] + third,
        }
        for kind, samples in recordings.items():
            estimates = model.depths([samples], [model.resolve_depth()])
            ((waves,),) = estimates.values()
            if kind == "two":
                is_well = improvement(signals[number], waves) >= WELL_DB
                kind = KINDS[1] if is_well else KINDS[2]
            statistics = ScaleStatistics(len(waves)).update(samples, waves)
            powers = estimate_powers(model.sample_rate).push(waves)
            difference, likeness = traits_of_estimates(statistics, powers)
            yield number, (kind, (abs(difference), likeness))


def _voices(measured: dict[str, np.ndarray]) -> str:
    """Return the table of doubts about voices, from the traits of each kind."""
    limits = (WEAK_DB, ALIKE)
    rows = [
        [kind, f"{int((traits > limits).any(axis=1).sum())} of {len(traits)}"]
        for kind, traits in measured.items()
    ]
    return table(["recording", "doubted"], rows)


def _limits_of_voices(fitted: dict[str, np.ndarray]) -> tuple[int, float]:
    """Return the limits with the most hits among those with few false alarms, the highest ones."""
    one, two = (fitted[kind] for kind in KINDS[:2])
    limits = [(weak, alike / 20) for weak in range(4, 16) for alike in range(4, 20)]

    def share(traits: np.ndarray, limit: tuple[float, float]) -> float:
        return float((traits > limit).any(axis=1).mean())

    allowed = [limit for limit in limits if share(two, limit) <= FALSE_ALARMS]
    return max(allowed, key=lambda limit: (share(one, limit), limit))


def _relations(signals: list[np.ndarray], rate: int) -> dict[float, np.ndarray]:
    """Return, for each level of the other speaker, how related the channels of each mixture are."""
    rng = np.random.default_rng(0)
    delay = round(DELAY_S * rate)
    relations = {}
    for bleed_db in BLEEDS_DB:
        gain = 10 ** (-bleed_db / 20)
        values = []
        for _, *speakers in signals:
            pair = np.stack(speakers)
            pair /= pair.std(axis=1, keepdims=True)
            channels = pair + gain * np.pad(pair[::-1], ((0, 0), (delay, 0)))[:, :-delay]
            channels += 0.01 * rng.standard_normal(channels.shape)
            values.append(relation_of_channels(channel_powers(rate).push(channels)))
        relations[bleed_db] = np.array(values)
    return relations


def _limit_of_channels(relations: dict[float, np.ndarray]) -> float:
    """Return the highest limit with few false alarms at each level."""
    rooms = [values for bleed, values in relations.items() if bleed <= ONE_ROOM_DB]
    limits = [limit / 20 for limit in range(1, 20)]
    return max(
        limit
        for limit in limits
        if all(np.mean(values < limit) <= FALSE_ALARMS for values in rooms)
    )


def _channels(relations: dict[float, np.ndarray]) -> str:
    """Return the table of doubts about channels."""
    rows = []
    for bleed_db, values in relations.items():
        name = "not at all" if np.isinf(bleed_db) else f"{bleed_db} dB weaker"
        rows.append([name, f"{int((values < UNRELATED).sum())} of {len(values)}"])
    return table(["the other speaker", "noticed"], rows)


if __name__ == "__main__":
    run_main(main)
