"""Quality and speed of a model at every depth, on mixtures whose sources are known.

Each mixture is run once, to the deepest of the depths, and the estimates on the way are scored.
SI-SNR is that of ESPnet's scoring: of zero-mean signals, in dB, the speakers in the order that has
the best mean. A mixture's score is the mean over its speakers, a depth's the mean over mixtures;
SI-SNRi is the improvement over the mixture itself. Axis letters: b batch, j speaker, n sample.
"""

import dataclasses
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import fast_bss_eval
import numpy as np
import soxr

from espnet2_tisdiss.audio import AudioError, AudioInfo, probe, read_blocks
from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.cost import CostCounter
from espnet2_tisdiss.errors import TisdissError, first_line
from espnet2_tisdiss.recordings import change_db
from espnet2_tisdiss.textfiles import read_scp

if TYPE_CHECKING:
    from espnet2_tisdiss.inference import SeparateSpeech

MIXTURE_FOLDERS = ("mix", "mix_clean", "mix_both")  # of wsj0-2mix and LibriMix
OTHER_FOLDERS = re.compile(r"s\d+|noise")  # beside them
SUFFIXES = (".wav", ".flac")
LIMIT_DB = 100.0  # of a score: that of a perfect estimate, and less that of a silent one
ENOUGH_DB = 0.05


@dataclass(frozen=True)
class Mixture:
    """A mixture of a data set.

    Attributes:
        name: its key, or its file's name.
        path: its file.
        references: the files of its sources, one a speaker.
        seconds: its length; 0 until :func:`with_length` has looked.
    """

    name: str
    path: Path
    references: tuple[Path, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class Score:
    """How good a mixture's estimate at one depth is, and how long it took.

    Attributes:
        n_re: repetitions N_re.
        order: for each reference the number of its estimate, from 1.
        si_snr: in dB.
        si_snri: improvement over the mixture, in dB.
        rtf: seconds of separation until this estimate for a second of audio, in a run that gives
            the shallower ones too.
        sdr: of BSS-eval with a filter of 512 taps, in dB; None: not asked for.
        sdri: improvement over the mixture, in dB.
        change: energy of what the last repetition changed against that of the estimate, in dB, as
            ``stop_db`` is compared with; None: of the first one.
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
class Outcome:
    """What became of a mixture.

    Attributes:
        mixture: the mixture.
        status: "done", "left out" (a source is silent, so that it has no score) or "failed".
        reason: why it is not done, in one line.
        scores: one a depth, the shallowest first.
    """

    mixture: Mixture
    status: str = "done"
    reason: str = ""
    scores: list[Score] = field(default_factory=list)

    def end(self, status: str, reason: str) -> None:
        """Say why the mixture has no scores."""
        self.status, self.reason = status, reason
        self.scores.clear()


@dataclass(frozen=True)
class DepthResult:
    """Means over the mixtures that have scores at one depth; their names are those of a Score.

    Attributes:
        n_re: repetitions N_re.
        mixtures: how many.
        si_snr: in dB.
        si_snri: in dB.
        si_snri_10: a tenth of the mixtures gain less than this, in dB.
        si_snri_90: a tenth of the mixtures gain more than this, in dB.
        sdr: in dB, or None.
        sdri: in dB, or None.
        gmacs_per_s: the separator's billions of multiply-adds for a second of audio.
        rtf: seconds of work for a second of audio, over all mixtures.
        change: in dB, or None.
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


def find_mixtures(data: str | Path, num_spk: int) -> list[Mixture]:
    """List the mixtures of a data set.

    Args:
        data: a data dir (wav.scp, spk1.scp, ...; paths as the recipe wrote them, relative to the
            folder that it runs in), a folder of a corpus with mix/ (or mix_clean/, mix_both/), s1/,
            s2/, ... and equal file names in them, or that mix/ itself.
        num_spk: speakers of a mixture.

    Raises:
        TisdissError: ``data`` is neither, lacks something, or is of another number of speakers.
    """
    data = Path(data)
    if not data.is_dir():
        raise TisdissError(f"{data}: no such folder; give a data dir or a corpus's folder")
    if (data / "wav.scp").is_file():
        return _listed(data, num_spk)
    found = [data / name for name in MIXTURE_FOLDERS if (data / name).is_dir()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise TisdissError(f"{data}: holds {names}; give the one meant, such as {found[0]}")
    has_sources = (data.absolute().parent / "s1").is_dir()
    if not found and has_sources and not OTHER_FOLDERS.fullmatch(data.name):
        found = [data.absolute()]
    if not found:
        raise TisdissError(f"{data}: holds neither wav.scp nor {', '.join(MIXTURE_FOLDERS)}")
    return _beside(found[0], num_spk)


def with_length(mixture: Mixture, rate: int | None = None) -> Mixture:
    """Return a mixture with its length; one that cannot be read keeps 0 and is told by a sweep.

    Args:
        mixture: the mixture.
        rate: sample rate in Hz that it must have; None: any.

    Raises:
        TisdissError: it has another one.
    """
    try:
        info = probe(mixture.path)
    except AudioError:
        return mixture
    _check_rate(mixture.path, info, rate)
    return dataclasses.replace(mixture, seconds=info.duration)


def sweep(
    model: "SeparateSpeech",
    mixtures: Sequence[Mixture],
    depths: Sequence[int],
    batch_size: int = 1,
    with_sdr: bool = False,
    resample: bool = False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Outcome]:
    """Score mixtures at several depths, each from one run.

    Args:
        model: the model.
        mixtures: in any order; the longest are run first, so that too little memory shows.
        depths: repetitions N_re.
        batch_size: the most mixtures to separate at once.
        with_sdr: compute the SDR of BSS-eval as well.
        resample: take files at another rate than the model's, converted to that; otherwise such
            mixtures fail, and :func:`with_length` finds them before the work.
        on_progress: called with the seconds of audio done since it was called last.

    Yields:
        An outcome for each mixture.

    Raises:
        ValueError: a number is out of range, or there are no depths.
    """
    wanted = {check_integer("depths", n_re, 1) for n_re in depths}
    if not wanted:
        raise ValueError("depths must be one or more; got none")
    check_integer("batch_size", batch_size, 1)
    rate = None if resample else model.sample_rate
    mixtures = [mixture if mixture.seconds else with_length(mixture) for mixture in mixtures]
    by_length = sorted(mixtures, key=lambda mixture: -mixture.seconds)
    warm = False
    for batch in itertools.batched(by_length, batch_size):
        items = [_Item(mixture, model.sample_rate, rate, with_sdr) for mixture in batch]
        ready = [item for item in items if item.outcome.status == "done"]
        try:
            if ready and not warm:  # what PyTorch does on a first run is no cost of the model's
                model.depths([item.wave for item in ready], [1])
                warm = True
            _run(model, ready, wanted, on_progress)
        except RuntimeError as error:  # PyTorch's, above all for memory
            logging.debug("separation failed", exc_info=True)
            for item in ready:
                item.outcome.end("failed", f"{item.path}: cannot be separated: {first_line(error)}")
        for item in items:
            if item not in ready:
                on_progress(item.outcome.mixture.seconds)
            yield item.outcome


def summarise(outcomes: Sequence[Outcome], macs_per_s: Mapping[int, float]) -> list[DepthResult]:
    """Return the means by depth, the shallowest first.

    Args:
        outcomes: those of one sweep; at least one is done.
        macs_per_s: multiply-adds for a second of audio, by depth; see :func:`count_cost`.
    """
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    seconds = [outcome.mixture.seconds for outcome in done]
    results = []
    for scores in zip(*(outcome.scores for outcome in done), strict=True):
        low, high = np.percentile([score.si_snri for score in scores], [10, 90])
        n_re, rtfs = scores[0].n_re, [score.rtf for score in scores]
        results.append(
            DepthResult(
                n_re=n_re,
                mixtures=len(done),
                **{
                    name: _mean(scores, name)
                    for name in ("si_snr", "si_snri", "sdr", "sdri", "change")
                },
                si_snri_10=float(low),
                si_snri_90=float(high),
                gmacs_per_s=macs_per_s[n_re] / 1e9,
                rtf=float(np.average(rtfs, weights=seconds)),
            )
        )
    return results


def best_depth(results: Sequence[DepthResult]) -> int:
    """Return the depth of the highest mean SI-SNRi."""
    return max(results, key=lambda result: result.si_snri).n_re


def enough_depth(results: Sequence[DepthResult]) -> int:
    """Return the shallowest depth beyond which no deeper one gains ``ENOUGH_DB`` or more."""
    for index, result in enumerate(results):
        if all(deeper.si_snri - result.si_snri < ENOUGH_DB for deeper in results[index + 1 :]):
            return result.n_re
    raise ValueError("there must be a result")


def _mean(scores: Sequence[Score], name: str) -> float | None:
    """Return the mean of one kind of score; None where it was not asked for."""
    values = [getattr(score, name) for score in scores]
    return None if None in values else float(np.mean(values))


def count_cost(model: "SeparateSpeech", depths: Sequence[int]) -> dict[int, float]:
    """Return the multiply-adds for a second of audio by depth, counted on ``COUNTED_SECONDS``."""
    counter = CostCounter(model.enh_model.encoder, model.separator, model.sample_rate)
    return {n_re: counter.macs_per_s(n_re) for n_re in depths}


def _listed(data: Path, num_spk: int) -> list[Mixture]:
    """Return the mixtures of a data dir."""
    names = ["wav.scp", *(f"spk{number}.scp" for number in range(1, num_spk + 1))]
    _check_parts(data, names, f"spk{num_spk + 1}.scp", num_spk)
    tables = [_read_scp(data / name) for name in names]
    mixtures, *references = tables
    for name, table in zip(names[1:], references, strict=True):
        for key in mixtures.keys() - table.keys():
            raise TisdissError(f"{data / name}: lacks {key}, which is in wav.scp")
    return [
        Mixture(key, Path(path), tuple(Path(table[key]) for table in references))
        for key, path in mixtures.items()
    ]


def _read_scp(scp: Path) -> dict[str, str]:
    """Return the paths of a Kaldi list by their keys; some of the files must be there."""
    table = read_scp(scp)
    if not any(Path(path).exists() for path in table.values()):
        raise TisdissError(
            f"{scp}: none of its files is there, such as {next(iter(table.values()))}; run this in "
            "the folder that its paths start from, usually the recipe's"
        )
    return table


def _beside(folder: Path, num_spk: int) -> list[Mixture]:
    """Return the mixtures of a corpus's mix/, whose sources are in s1/, s2/, ... beside it."""
    names = [f"s{number}" for number in range(1, num_spk + 1)]
    _check_parts(folder.parent, names, f"s{num_spk + 1}", num_spk)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise TisdissError(f"{folder}: holds no {' or '.join(SUFFIXES)} files")
    return [
        Mixture(path.stem, path, tuple(folder.parent / name / path.name for name in names))
        for path in files
    ]


def _check_parts(data: Path, names: Sequence[str], beyond: str, num_spk: int) -> None:
    """Raise TisdissError unless a data set has the parts for a number of speakers, and no more."""
    for name in names:
        if not (data / name).exists():
            raise TisdissError(
                f"{data / name}: missing; the model separates {num_spk} speakers, and the data "
                "must hold each one's source"
            )
    if (data / beyond).exists():
        raise TisdissError(f"{data / beyond}: one speaker more than the model's {num_spk}")


def _check_rate(path: Path, info: AudioInfo, rate: int | None) -> None:
    if rate is not None and info.rate != rate:
        raise TisdissError(
            f"{path}: is at {info.rate} Hz, the model at {rate}: scores would not compare with "
            "others'; convert it with --resample, or correct the model's rate with --model-rate"
        )


class _Item:
    """A mixture at work: its signals, and its own scores to improve on."""

    def __init__(self, mixture: Mixture, model_rate: int, rate: int | None, with_sdr: bool):
        self.outcome = Outcome(mixture)
        self.path = mixture.path
        self._with_sdr = with_sdr
        paths = (mixture.path, *mixture.references)
        try:
            signals = _read(paths, model_rate, rate)
        except TisdissError as error:
            self.outcome.end("failed", str(error))
            return
        for path, signal in zip(paths, signals, strict=True):
            if np.ptp(signal) == 0:
                self.outcome.end("left out", f"{path}: is silent, and a score with it undefined")
                return
        self.wave = signals[0]  # (n,)
        self._references = signals[1:].astype(np.float64)  # (j, n)
        same = np.broadcast_to(signals[0], self._references.shape)
        self._own = self._scores(same.astype(np.float64))

    def score(self, n_re: int, estimate: np.ndarray, rtf: float, before: np.ndarray | None) -> None:
        """Score the estimate (j, n) of a depth, the one before being another."""
        if self.outcome.status == "failed":
            return
        if not np.isfinite(estimate).all():
            reason = f"{self.path}: its estimate at N_re {n_re} holds samples that are not finite"
            self.outcome.end("failed", reason)
            return
        order, si_snr, sdr = self._scores(estimate.astype(np.float64))
        _, own_si_snr, own_sdr = self._own
        sdri = None if sdr is None else sdr - own_sdr
        change = None if before is None else max(change_db(before, estimate), -LIMIT_DB)
        score = Score(n_re, order, si_snr, si_snr - own_si_snr, rtf, sdr, sdri, change)
        self.outcome.scores.append(score)

    def _scores(self, estimate: np.ndarray) -> tuple[tuple[int, ...], float, float | None]:
        """Return the best order, and SI-SNR and SDR in it, of an estimate (j, n)."""
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


def _read(paths: Sequence[Path], model_rate: int, rate: int | None) -> np.ndarray:
    """Return the signals (1 + j, n) of a mixture and its sources, at the model's rate.

    Raises:
        TisdissError: one cannot be read, has not the ``rate`` (None: any), or they do not go
            together.
    """
    infos = [probe(path) for path in paths]
    first = infos[0]
    for path, info in zip(paths, infos, strict=True):
        _check_rate(path, info, rate)
        if info.channels != 1:
            raise TisdissError(f"{path}: has {info.channels} channels; scores are of files of one")
        if (info.rate, info.frames) != (first.rate, first.frames):
            raise TisdissError(
                f"{path}: {info.frames} samples at {info.rate} Hz, but its mixture has "
                f"{first.frames} at {first.rate}; a source must be as long as the mixture"
            )
    signals = np.stack([np.concatenate(list(read_blocks(path)), axis=1)[0] for path in paths])
    if first.rate != model_rate:
        signals = soxr.resample(np.ascontiguousarray(signals.T), first.rate, model_rate).T
    return np.ascontiguousarray(signals)


def _run(
    model: "SeparateSpeech",
    items: Sequence[_Item],
    wanted: set[int],
    on_progress: Callable[[float], None],
) -> None:
    """Separate a batch to the deepest of the depths, and score the wanted ones."""
    if not items:
        return
    deepest = max(wanted)
    # those of the mixtures together: a batch's work cannot be told apart
    seconds = sum(len(item.wave) for item in items) / model.sample_rate
    elapsed = 0.0
    estimates = model.anytime([item.wave for item in items], deepest, scale="estimate")
    before: Sequence[np.ndarray | None] = [None] * len(items)
    for n_re in range(1, deepest + 1):
        began = time.perf_counter()
        # its waves are in the host's memory: nothing on a device is left to wait for
        waves = next(estimates).waves
        elapsed += time.perf_counter() - began
        if n_re in wanted:
            for item, wave, last in zip(items, waves, before, strict=True):
                item.score(n_re, wave, elapsed / seconds, last)
        before = waves
        on_progress(seconds / deepest)
