"""Means of the scores over mixtures, by depth, and the depths that they recommend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_tisdiss.evaluate.by_depth import MixtureScores

ENOUGH_DB = 0.05


@dataclass(frozen=True)
class DepthResult:
    """Means over the scored mixtures at one depth; the fields of :class:`Score` keep their names.

    Attributes:
        n_re: repetitions N_re.
        mixtures: number of mixtures.
        si_snr: mean in dB.
        si_snri: mean in dB.
        si_snri_10: 10th percentile of SI-SNRi over the mixtures, in dB.
        si_snri_90: 90th percentile of SI-SNRi over the mixtures, in dB.
        sdr: mean in dB; None: not computed.
        sdri: mean in dB; None: not computed.
        gmacs_per_s: the separator's billions of multiply-adds per second of audio.
        rtf: seconds of computation per second of audio, over all mixtures.
        change: mean in dB; None: not known at this depth.
    """

    n_re: int
    mixtures: int
    si_snr: float
    si_snri: float
    si_snri_10: float
    si_snri_90: float
    sdr: float | None
    sdri: float | None
    gmacs_per_s: float
    rtf: float
    change: float | None = None


def summarise(
    results: Sequence[MixtureScores], macs_per_s: Mapping[int, float]
) -> list[DepthResult]:
    """Return the means by depth, shallowest first.

    Args:
        results: results of one call of :func:`score_mixtures`, at least one of them "done".
        macs_per_s: multiply-adds per second of audio, by depth; see :func:`count_cost`.
    """
    done = [result for result in results if result.status == "done"]
    seconds = [result.mixture.seconds for result in done]
    summary = []
    for scores in zip(*(result.scores for result in done), strict=True):
        n_re = scores[0].n_re
        low, high = np.percentile([score.si_snri for score in scores], [10, 90])
        summary.append(
            DepthResult(
                n_re=n_re,
                mixtures=len(done),
                si_snr=float(np.mean([score.si_snr for score in scores])),
                si_snri=float(np.mean([score.si_snri for score in scores])),
                si_snri_10=float(low),
                si_snri_90=float(high),
                sdr=_mean([score.sdr for score in scores]),
                sdri=_mean([score.sdri for score in scores]),
                gmacs_per_s=macs_per_s[n_re] / 1e9,
                rtf=float(np.average([score.rtf for score in scores], weights=seconds)),
                change=_mean([score.change for score in scores]),
            )
        )
    return summary


def best_depth(results: Sequence[DepthResult]) -> int:
    """Return the depth with the highest mean SI-SNRi."""
    return max(results, key=lambda result: result.si_snri).n_re


def enough_depth(results: Sequence[DepthResult]) -> int:
    """Return the shallowest depth such that no deeper one is better by ``ENOUGH_DB`` or more.

    Raises:
        ValueError: ``results`` is empty.
    """
    for index, result in enumerate(results):
        if all(deeper.si_snri - result.si_snri < ENOUGH_DB for deeper in results[index + 1 :]):
            return result.n_re
    raise ValueError("results must be one or more; got none")


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values; None if any is None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
