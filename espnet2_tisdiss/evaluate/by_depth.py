"""Quality and speed of a model by depth, on mixtures whose sources are known.

Each mixture is run once, up to the deepest depth, and the intermediate estimates are scored.
SI-SNR is that of ESPnet's scoring: of zero-mean signals, in dB, with the speakers in the order of
the highest mean. The score of a mixture is the mean over its speakers, that of a depth the mean
over mixtures. SI-SNRi is the improvement over the mixture itself. Axis letters: b batch,
j speaker, n sample.
"""

import dataclasses
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import fast_bss_eval
import numpy as np
import soxr

from espnet2_tisdiss.audio.folders import audio_files
from espnet2_tisdiss.audio.reading import AudioInfo
from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.audio.sources import opened, probe_source
from espnet2_tisdiss.checks import check_integer, check_n_re
from espnet2_tisdiss.errors import AudioError, TisdissError, first_line
from espnet2_tisdiss.evaluate.cost import CostCounter
from espnet2_tisdiss.lists import Source, read_sources
from espnet2_tisdiss.separate.recordings import change_db

if TYPE_CHECKING:  # importing ESPnet takes seconds
    from espnet2_tisdiss.separate.speech import SeparateSpeech

logger = logging.getLogger(__name__)

MIXTURE_FOLDERS = ("mix", "mix_clean", "mix_both")  # names in wsj0-2mix and LibriMix
OTHER_FOLDERS = re.compile(r"s\d+|noise")  # folders beside them that hold no mixtures
LIMIT_DB = 100.0  # scores are clamped to +- this: perfect and silent estimates stay finite
ENOUGH_DB = 0.05

Status = Literal["done", "left out", "failed"]


@dataclass(frozen=True)
class EvalMixture:
    """A mixture with its reference sources.

    Attributes:
        name: key of the mixture, or name of its file without suffix.
        path: file of the mixture.
        references: files of the sources, one per speaker.
        seconds: length of the mixture; 0 until :func:`with_length` has read it.
    """

    name: str
    path: Path | Source
    references: tuple[Path | Source, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class Score:
    """Quality and speed of the estimates of one mixture at one depth.

    Attributes:
        n_re: repetitions N_re.
        order: for each reference the number of its estimate, from 1.
        si_snr: SI-SNR in dB.
        si_snri: improvement of the SI-SNR over the mixture, in dB.
        rtf: real-time factor: seconds of computation per second of audio until this estimate, in a
            run that gives the shallower estimates too.
        sdr: SDR of BSS-eval with a filter of 512 taps, in dB; None: not computed.
        sdri: improvement of the SDR over the mixture, in dB; None: not computed.
        change: energy of the change by the last repetition relative to that of the estimate, in
            dB; ``stop_db`` is a threshold on it. None at the first depth.
    """

    n_re: int
    order: tuple[int, ...]
    si_snr: float
    si_snri: float
    rtf: float
    sdr: float | None = None
    sdri: float | None = None
    change: float | None = None


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
        """Drop the scores, for a reason."""
        self.status, self.reason = status, reason
        self.scores.clear()


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


def find_mixtures(data: str | Path, num_spk: int, run_commands: bool = False) -> list[EvalMixture]:
    """List the mixtures of a data set.

    Args:
        data: one of: a data directory (wav.scp, spk1.scp, ...; relative paths in the lists start
            from the current folder, as in the recipe that wrote them); a corpus folder with mix/
            (or mix_clean/, mix_both/), s1/, s2/, ... that hold files of the same names; that mix/
            folder itself.
        num_spk: speakers in a mixture.
        run_commands: accept commands in the lists of a data directory.

    Raises:
        TisdissError: ``data`` is none of these, is incomplete, or has another number of speakers.
    """
    data = Path(data)
    if not data.is_dir():
        raise TisdissError(f"{data}: no such folder; give a data directory or a corpus folder")
    if (data / "wav.scp").is_file():
        return _from_data_dir(data, num_spk, run_commands)
    found = [data / name for name in MIXTURE_FOLDERS if (data / name).is_dir()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise TisdissError(f"{data}: holds {names}; choose one, such as {found[0]}")
    has_sources = (data.absolute().parent / "s1").is_dir()
    if not found and has_sources and not OTHER_FOLDERS.fullmatch(data.name):
        found = [data.absolute()]
    if not found:
        raise TisdissError(f"{data}: holds neither wav.scp nor {', '.join(MIXTURE_FOLDERS)}")
    return _from_corpus(found[0], num_spk)


def with_length(mixture: EvalMixture, rate: int | None = None) -> EvalMixture:
    """Return a mixture with its length read from its file.

    The length of an unreadable file stays 0; :func:`score_mixtures` reports the mixture as failed.

    Args:
        mixture: the mixture.
        rate: required sample rate in Hz; None: any.

    Raises:
        TisdissError: the file has another sample rate.
    """
    try:
        info = probe_source(mixture.path)
    except AudioError:
        return mixture
    _check_rate(mixture.path, info, rate)
    return dataclasses.replace(mixture, seconds=info.duration)


def score_mixtures(
    model: "SeparateSpeech",
    mixtures: Sequence[EvalMixture],
    depths: Sequence[int],
    batch_size: int = 1,
    with_sdr: bool = False,
    resample: bool = False,
    keep_rumble: bool = False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[MixtureScores]:
    """Score mixtures at several depths, with one run for each mixture or batch.

    Args:
        model: the loaded model.
        mixtures: in any order; the longest are run first, so that a lack of memory shows early.
        depths: repetitions N_re.
        batch_size: mixtures to separate at once, at most.
        with_sdr: compute the SDR of BSS-eval as well.
        resample: convert files at another rate to the model's; otherwise such mixtures fail.
            :func:`with_length` finds them in advance.
        keep_rumble: do not remove what lies below 20 Hz from the mixtures.
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
            _LoadedMixture(mixture, model.sample_rate, rate, with_sdr, keep_rumble)
            for mixture in batch
        ]
        ready = [one for one in loaded if one.result.status == "done"]
        try:
            if ready and not is_warm:  # PyTorch's one-time work must not count as the model's
                model.depths([one.wave for one in ready], [1])
                is_warm = True
            _score_batch(model, ready, wanted, on_progress)
        except RuntimeError as error:  # from PyTorch, mostly out of memory
            logger.debug("separation failed", exc_info=True)
            for one in ready:
                reason = f"{one.path}: cannot be separated: {first_line(error)}"
                one.result.reject("failed", reason)
        for one in loaded:
            if one not in ready:
                on_progress(one.result.mixture.seconds)
            yield one.result


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
    """Return the shallowest depth that no deeper one beats by ``ENOUGH_DB`` or more.

    Raises:
        ValueError: ``results`` is empty.
    """
    for index, result in enumerate(results):
        if all(deeper.si_snri - result.si_snri < ENOUGH_DB for deeper in results[index + 1 :]):
            return result.n_re
    raise ValueError("results must be one or more; got none")


def improvement(signals: np.ndarray, estimate: np.ndarray) -> float:
    """Return the SI-SNRi in dB, the mean over the speakers, of an estimate (j, n).

    Args:
        signals: (1 + j, n), the mixture, then its sources.
        estimate: (j, n), in any order.
    """
    mixture, references = signals[0], signals[1:].astype(np.float64)
    same = np.broadcast_to(mixture, references.shape)
    before, after = (
        fast_bss_eval.si_sdr(references, found.astype(np.float64), zero_mean=True).mean()
        for found in (same, estimate)
    )
    return float(after - before)


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values; None if any is None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def count_cost(model: "SeparateSpeech", depths: Sequence[int]) -> dict[int, float]:
    """Return the multiply-adds per second of audio by depth, counted on ``COUNTED_SECONDS``."""
    counter = CostCounter(model.enh_model.encoder, model.separator, model.sample_rate)
    return {n_re: counter.macs_per_s(n_re) for n_re in depths}


def _from_data_dir(data: Path, num_spk: int, run_commands: bool) -> list[EvalMixture]:
    """Return the mixtures of a data directory."""
    names = ["wav.scp", *(f"spk{number}.scp" for number in range(1, num_spk + 1))]
    _check_parts(data, names, f"spk{num_spk + 1}.scp", num_spk)
    tables = [_read_scp_of_files(data / name, run_commands) for name in names]
    mixtures, *references = tables
    for name, table in zip(names[1:], references, strict=True):
        for key in mixtures.keys() - table.keys():
            raise TisdissError(f"{data / name}: has no entry {key}, which is in wav.scp")
    return [
        EvalMixture(key, source.place, tuple(table[key].place for table in references))
        for key, source in mixtures.items()
    ]


def _read_scp_of_files(scp: Path, run_commands: bool) -> dict[str, Source]:
    """Return where the audio of a Kaldi list is, by key.

    Raises:
        TisdissError: the list is not valid, or none of its files exists.
    """
    table = read_sources(scp, run_commands)
    files = [source.text for source in table.values() if source.is_file]
    if files and len(files) == len(table) and not any(map(exists, files)):
        raise TisdissError(
            f"{scp}: none of its files exists, such as {files[0]}; run this in "
            "the folder that the paths are relative to, usually the recipe's"
        )
    return table


def _from_corpus(folder: Path, num_spk: int) -> list[EvalMixture]:
    """Return the mixtures of a mix/ folder; their sources are in s1/, s2/, ... beside it."""
    names = [f"s{number}" for number in range(1, num_spk + 1)]
    _check_parts(folder.parent, names, f"s{num_spk + 1}", num_spk)
    found = audio_files(folder, subfolders=False)
    if not found.files:
        left_out = f"; {found.notice()}" if found.left_out else ""
        raise TisdissError(f"{folder}: holds no audio files (.wav, .flac and so on){left_out}")
    if found.left_out:
        logger.warning("%s: %s; convert them", folder, found.notice())
    return [
        EvalMixture(path.stem, path, tuple(folder.parent / name / path.name for name in names))
        for path in found.files
    ]


def _check_parts(data: Path, names: Sequence[str], beyond: str, num_spk: int) -> None:
    """Raise TisdissError unless a data set has ``names``, but not ``beyond``."""
    for name in names:
        if not (data / name).exists():
            raise TisdissError(
                f"{data / name}: missing; the model separates {num_spk} speakers, and the data "
                "set must hold the source of each"
            )
    if (data / beyond).exists():
        raise TisdissError(
            f"{data / beyond}: the data set has more speakers than the model's {num_spk}"
        )


def _check_rate(path: Path | Source, info: AudioInfo, rate: int | None) -> None:
    """Raise TisdissError if a file has another sample rate than required."""
    if rate is not None and info.rate != rate:
        raise TisdissError(
            f"{path}: is at {info.rate} Hz, the model at {rate}; scores of different rates do not "
            "compare: convert it with --resample, or correct the model's rate with --model-rate"
        )


class _LoadedMixture:
    """A mixture in memory: its signals, and the scores of the mixture itself as the baseline.

    Args:
        mixture: the mixture.
        model_rate: sample rate in Hz that the signals are converted to.
        rate: required sample rate of the files in Hz; None: any.
        with_sdr: compute the SDR as well.
        keep_rumble: do not remove what lies below 20 Hz from the wave, as is done for recordings.

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
    ):
        self.result = MixtureScores(mixture)
        self.path = mixture.path
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
        self._references = signals[1:].astype(np.float64)  # (j, n)
        same = np.broadcast_to(signals[0], self._references.shape)
        self._baseline = self._scores(same.astype(np.float64))

    def score(
        self, n_re: int, estimate: np.ndarray, rtf: float, previous: np.ndarray | None
    ) -> None:
        """Add the score of the estimate (j, n) at a depth; ``previous`` is of the depth before."""
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
        score = Score(n_re, order, si_snr, si_snr - base_si_snr, rtf, sdr, sdri, change)
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


def read_signals(
    paths: Sequence[Path | Source], model_rate: int, rate: int | None = None
) -> np.ndarray:
    """Return the signals (1 + j, n) of a mixture and its sources, at the model's rate.

    Args:
        paths: the mixture's file, then its sources'.
        model_rate: sample rate in Hz of the result.
        rate: required sample rate of the files in Hz; None: any.

    Raises:
        TisdissError: a file cannot be read, has another rate than required, or more than one
            channel; or the files differ in rate or length.
    """
    infos, waves = [], []
    for path in paths:
        with opened(path) as audio:
            infos.append(audio.info)
            waves.append(np.concatenate(list(audio.blocks()), axis=1)[0])
    first = infos[0]
    for path, info in zip(paths, infos, strict=True):
        _check_rate(path, info, rate)
        if info.channels != 1:
            raise TisdissError(f"{path}: has {info.channels} channels; scoring needs mono files")
        if (info.rate, info.frames) != (first.rate, first.frames):
            raise TisdissError(
                f"{path}: {info.frames} samples at {info.rate} Hz, but its mixture has "
                f"{first.frames} at {first.rate}; a source must be as long as the mixture"
            )
    signals = np.stack(waves)
    if first.rate != model_rate:
        signals = soxr.resample(np.ascontiguousarray(signals.T), first.rate, model_rate).T
    return np.ascontiguousarray(signals)


def _score_batch(
    model: "SeparateSpeech",
    batch: Sequence[_LoadedMixture],
    wanted: set[int],
    on_progress: Callable[[float], None],
) -> None:
    """Separate a batch up to the deepest of the wanted depths, and score it at each of them."""
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
        # no synchronisation: the waves are in host memory, so the device is done
        waves = next(estimates).waves
        elapsed += time.perf_counter() - began
        if n_re in wanted:
            for one, wave, before in zip(batch, waves, previous, strict=True):
                one.score(n_re, wave, elapsed / seconds, before)
        previous = waves
        on_progress(seconds / deepest)
