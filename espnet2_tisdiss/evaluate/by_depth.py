"""Quality and speed of a model by depth, on mixtures whose sources are known.

Each mixture is separated once, up to the deepest depth, and the intermediate estimates are scored.
SI-SNR (scale-invariant signal-to-noise ratio, in dB) is computed as in ESPnet's scoring: on
zero-mean signals, with the speakers in the order with the highest mean. The score of a mixture is
the mean over its speakers. SI-SNRi is the improvement over the mixture itself. Axis letters:
b batch, j speaker, n sample.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import fast_bss_eval
import numpy as np

from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.checks import check_integer, check_n_re
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.evaluate.mixtures import EvalMixture, read_signals, with_length
from espnet2_tisdiss.separate.calibration import Traits, traits_of
from espnet2_tisdiss.separate.depths import change_db

if TYPE_CHECKING:  # importing ESPnet takes seconds
    from espnet2_tisdiss.separate.speech import SeparateSpeech

logger = logging.getLogger(__name__)

LIMIT_DB = 100.0  # limit of scores in dB, so that those of perfect and silent estimates stay finite

Status = Literal["done", "left out", "failed"]


@dataclass(frozen=True)
class Score:
    """Quality and speed of the estimates of one mixture at one depth.

    Attributes:
        n_re: repetitions N_re.
        order: for each reference the number of its estimate, from 1.
        si_snr: SI-SNR in dB.
        si_snri: improvement of the SI-SNR over the mixture, in dB.
        rtf: real-time factor: seconds of computation per second of audio until this estimate, in a
            run that also computes the shallower estimates.
        sdr: SDR of BSS-eval with a filter of 512 taps, in dB; None: not computed.
        sdri: improvement of the SDR over the mixture, in dB; None: not computed.
        change: energy of the change by the last repetition relative to that of the estimate, in
            dB; ``stop_db`` is a threshold on it. None at the first depth.
        likeness: a trait of the estimates; see
            :class:`~espnet2_tisdiss.separate.calibration.Traits`.
        overlap: another trait, in dB.
    """

    n_re: int
    order: tuple[int, ...]
    si_snr: float
    si_snri: float
    rtf: float
    sdr: float | None = None
    sdri: float | None = None
    change: float | None = None
    likeness: float = 0.0
    overlap: float = 0.0

    @property
    def traits(self) -> Traits:
        """The traits of the estimates, from which the quality is predicted."""
        return Traits(self.likeness, self.overlap)


@dataclass
class MixtureScores:
    """Scores of one mixture by depth, or the reason why there are none.

    Attributes:
        mixture: the mixture.
        status: "done", "left out" (a signal is silent, so no score is defined) or "failed".
        reason: why the mixture has no scores, in one line; empty if it has.
        scores: one per depth, shallowest first.
    """

    mixture: EvalMixture
    status: Status = "done"
    reason: str = ""
    scores: list[Score] = field(default_factory=list)

    def reject(self, status: Status, reason: str) -> None:
        """Drop the scores and set the reason."""
        self.status, self.reason = status, reason
        self.scores.clear()


def score_mixtures(
    model: "SeparateSpeech",
    mixtures: Sequence[EvalMixture],
    depths: Sequence[int],
    batch_size: int = 1,
    with_sdr: bool = False,
    resample: bool = False,
    keep_rumble: bool = False,
    audible: bool = False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[MixtureScores]:
    """Score mixtures at several depths, with one run for each mixture or batch.

    Args:
        model: the loaded model.
        mixtures: in any order; the longest are run first, so that too little memory shows early.
        depths: numbers of repetitions, N_re.
        batch_size: maximum number of mixtures to separate at once.
        with_sdr: compute the SDR of BSS-eval as well.
        resample: convert files at another rate to the model's; otherwise such mixtures fail.
            :func:`with_length` finds them in advance.
        keep_rumble: do not remove content below 20 Hz from the mixtures.
        audible: also remove it from the references, because it can be most of their energy, and
            then the scores say little about the voices.
        on_progress: called with the seconds of audio done since the last call.

    Yields:
        The scores of each mixture.

    Raises:
        ValueError: a number is out of range, or ``depths`` is empty.
    """
    wanted = {check_n_re("depths", n_re) for n_re in depths}
    if not wanted:
        raise ValueError("depths must be one or more; got none")
    check_integer("batch_size", batch_size, 1)
    rate = None if resample else model.sample_rate
    mixtures = [mixture if mixture.seconds else with_length(mixture) for mixture in mixtures]
    by_length = sorted(mixtures, key=lambda mixture: -mixture.seconds)
    is_warm = False
    for batch in itertools.batched(by_length, batch_size):
        loaded = [
            _LoadedMixture(mixture, model.sample_rate, rate, with_sdr, keep_rumble, audible)
            for mixture in batch
        ]
        ready = [one for one in loaded if one.result.status == "done"]
        try:
            if ready and not is_warm:  # PyTorch's one-time work must not be counted
                model.depths([one.wave for one in ready], [1])
                is_warm = True
            _score_batch(model, ready, wanted, on_progress)
        except RuntimeError as error:  # PyTorch's errors are mostly "out of memory"
            logger.debug("separation failed", exc_info=True)
            for one in ready:
                reason = f"{one.path}: cannot be separated: {first_line(error)}"
                one.result.reject("failed", reason)
        for one in loaded:
            if one not in ready:
                on_progress(one.result.mixture.seconds)
            yield one.result


def improvement(signals: np.ndarray, estimate: np.ndarray) -> float:
    """Return the SI-SNRi in dB, the mean over the speakers, of an estimate (j, n).

    Args:
        signals: (1 + j, n), the mixture, then its sources.
        estimate: (j, n), in any order.
    """
    mixture, references = signals[0], signals[1:].astype(np.float64)
    same = np.broadcast_to(mixture, references.shape)
    before, after = (
        fast_bss_eval.si_sdr(
            references, found.astype(np.float64), zero_mean=True, clamp_db=LIMIT_DB
        ).mean()
        for found in (same, estimate)
    )
    return float(after - before)


class _LoadedMixture:
    """A mixture in memory: its signals, and the scores of the mixture itself as the baseline.

    Args:
        mixture: the mixture.
        model_rate: sample rate in Hz that the signals are converted to.
        rate: required sample rate of the files in Hz; None: any.
        with_sdr: compute the SDR as well.
        keep_rumble: do not remove content below 20 Hz from the waveform, as is done for recordings.
        audible: score without that content.

    Attributes:
        result: scores of the mixture; not "done" if its files cannot be used.
        path: file of the mixture.
        wave: samples (n,) for the model, if the files can be used.
    """

    def __init__(
        self,
        mixture: EvalMixture,
        model_rate: int,
        rate: int | None,
        with_sdr: bool,
        keep_rumble: bool,
        audible: bool,
    ):
        self.result = MixtureScores(mixture)
        self.path, self._rate = mixture.path, model_rate
        self._with_sdr = with_sdr
        paths = (mixture.path, *mixture.references)
        try:
            signals = read_signals(paths, model_rate, rate)
        except TisdissError as error:
            self.result.reject("failed", str(error))
            return
        for path, signal in zip(paths, signals, strict=True):
            if np.ptp(signal) == 0:
                self.result.reject("left out", f"{path}: is silent, so scores are undefined")
                return
        self.wave = signals[0] if keep_rumble else without_rumble(signals[0], model_rate)
        if audible:
            signals = np.stack([without_rumble(signal, model_rate) for signal in signals])
        self._references = signals[1:].astype(np.float64)  # (j, n)
        same = np.broadcast_to(signals[0], self._references.shape)
        self._baseline = self._scores(same.astype(np.float64))

    def score(
        self, n_re: int, estimate: np.ndarray, rtf: float, previous: np.ndarray | None
    ) -> None:
        """Add the score of the estimate (j, n) at a depth; ``previous`` has the last depth's."""
        if self.result.status == "failed":
            return
        if not np.isfinite(estimate).all():
            reason = f"{self.path}: its estimate at N_re {n_re} holds samples that are not finite"
            self.result.reject("failed", reason)
            return
        order, si_snr, sdr = self._scores(estimate.astype(np.float64))
        _, base_si_snr, base_sdr = self._baseline
        sdri = None if sdr is None or base_sdr is None else sdr - base_sdr
        change = None if previous is None else max(change_db(previous, estimate), -LIMIT_DB)
        traits = traits_of(self.wave, estimate, self._rate)
        gain = si_snr - base_si_snr
        score = Score(n_re, order, si_snr, gain, rtf, sdr, sdri, change, *traits)
        self.result.scores.append(score)

    def _scores(self, estimate: np.ndarray) -> tuple[tuple[int, ...], float, float | None]:
        """Return the best order of an estimate (j, n), and its SI-SNR and SDR in that order."""
        si_snr, order = fast_bss_eval.si_sdr(
            self._references, estimate, zero_mean=True, clamp_db=LIMIT_DB, return_perm=True
        )
        sdr = None
        if self._with_sdr:
            losses = fast_bss_eval.sdr_loss(  # (reference, estimate)
                estimate[order], self._references, clamp_db=LIMIT_DB, pairwise=True
            )
            sdr = float(-losses.diagonal().mean())
        return tuple((order + 1).tolist()), float(si_snr.mean()), sdr


def _score_batch(
    model: "SeparateSpeech",
    batch: Sequence[_LoadedMixture],
    wanted: set[int],
    on_progress: Callable[[float], None],
) -> None:
    """Separate a batch up to the deepest of the given depths, and score it at each of them."""
    if not batch:
        return
    deepest = max(wanted)
    # measured per batch: time cannot be attributed to single mixtures
    seconds = sum(len(one.wave) for one in batch) / model.sample_rate
    elapsed = 0.0
    estimates = model.anytime([one.wave for one in batch], deepest, scale="estimate")
    previous: Sequence[np.ndarray | None] = [None] * len(batch)
    for n_re in range(1, deepest + 1):
        began = time.perf_counter()
        # no synchronisation needed: the waveforms are in host memory, so the device is done
        waves = next(estimates).waves
        elapsed += time.perf_counter() - began
        if n_re in wanted:
            for one, wave, before in zip(batch, waves, previous, strict=True):
                one.score(n_re, wave, elapsed / seconds, before)
        previous = waves
        on_progress(seconds / deepest)
