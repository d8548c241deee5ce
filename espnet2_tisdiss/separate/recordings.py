"""Separating recordings of any length and sample rate, in bounded memory.

A :class:`Track` removes rumble from one channel of a recording, resamples it to the model's rate,
cuts it into chunks, joins the separated chunks and resamples them to the recording's rate.
:func:`separate_recording` does this in memory; ``files`` reads and writes lists of files. Axis
letters: c channel, j speaker, n sample.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.audio.rumble import RumbleFilter
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.arrays import as_floats, check_finite
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.calibration import ExpectedQuality, traits_of
from espnet2_tisdiss.separate.chunking import Chunk, Chunker, Chunking
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.separate.options import RecordingOptions
from espnet2_tisdiss.separate.stitching import Stitcher


@dataclass(frozen=True)
class SeparatedChunk:
    """A separated chunk.

    Attributes:
        estimates: unscaled, (j, n) at each of the depths of the options.
        n_re: number of repetitions run, the maximum over its shifted copies.
        expected: expected SI-SNR of the last estimates in dB; None: unknown.
    """

    estimates: list[np.ndarray]
    n_re: int
    expected: float | None


def separate_chunks(
    model: DepthSeparator,
    waves: Sequence[np.ndarray],
    options: RecordingOptions,
    budget: TimeBudget | None,
) -> list[SeparatedChunk]:
    """Separate mixtures (n,) as one batch.

    With shifts, copies of each mixture that start later are part of the batch, and the estimates
    of the copies are averaged.

    Args:
        model: the model.
        waves: the mixtures.
        options: options of the separation, for this model.
        budget: the time that limits the depth, if any.
    """
    # shifts are spread over one hop, because a shift by a hop changes only the start
    shifts = [model.hop * number // options.shifts for number in range(options.shifts)]
    copies = [np.pad(wave, (shift, 0)) for wave in waves for shift in shifts]
    separated = _separate_batch(model, copies, options, budget)
    groups = itertools.batched(separated, len(shifts))
    merged = [_merged(shifts, group) for group in groups]
    return [_judged(model, wave, chunk) for wave, chunk in zip(waves, merged, strict=True)]


def _separate_batch(
    model: DepthSeparator,
    waves: Sequence[np.ndarray],
    options: RecordingOptions,
    budget: TimeBudget | None,
) -> list[SeparatedChunk]:
    """Separate mixtures (n,) as one batch; their quality is known if it decided the depth."""
    last = options.depths[-1]
    if budget is not None:
        audio = sum(map(len, waves)) / model.sample_rate
        found = budget.deepest(model.anytime(waves, last, scale="estimate"), audio)
    elif options.stop_db is not None:
        found = model.until_stable(waves, options.stop_db, last, scale="estimate")
    elif options.until_db is not None:
        found = model.until(waves, options.until_db, options.probability, last, scale="estimate")
    else:
        depths = model.depths(waves, options.depths, scale="estimate")
        takes = zip(*depths.values(), strict=True)
        return [SeparatedChunk(list(estimates), last, None) for estimates in takes]
    expected: Sequence[float | None] = found.expected or [None] * len(waves)
    known = zip(found.waves, found.n_re.tolist(), expected, strict=True)
    return [SeparatedChunk([wave], n_re, si_snr) for wave, n_re, si_snr in known]


def _merged(shifts: Sequence[int], copies: Sequence[SeparatedChunk]) -> SeparatedChunk:
    """Return one chunk with the mean estimates of its shifted copies."""
    if len(shifts) == 1:
        return copies[0]
    by_depth = zip(*(copy.estimates for copy in copies), strict=True)
    estimates = [_mean_of_shifts(shifts, waves) for waves in by_depth]
    return SeparatedChunk(estimates, max(copy.n_re for copy in copies), None)


def _mean_of_shifts(shifts: Sequence[int], estimates: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean (j, n) of the estimates of shifted copies, in the first one's order."""
    from scipy.optimize import linear_sum_assignment  # here because few need it

    first, *others = [wave[:, shift:] for shift, wave in zip(shifts, estimates, strict=True)]
    total = first.astype(np.float64)
    for other in others:
        _, order = linear_sum_assignment(first @ other.T, maximize=True)
        total += other[order]
    return (total / len(shifts)).astype(first.dtype)


def _judged(model: DepthSeparator, wave: np.ndarray, chunk: SeparatedChunk) -> SeparatedChunk:
    """Return a separated mixture (n,) with its expected quality, if the model has a calibration."""
    last = chunk.estimates[-1]
    if model.calibration is None or not np.isfinite(last).all():
        return replace(chunk, expected=None)
    if chunk.expected is not None:
        return chunk
    expected = model.calibration.expected(traits_of(wave, last, model.sample_rate))
    return replace(chunk, expected=expected)


class Track:
    """Passes one channel of a recording through the model.

    It outputs the mixture together with the speakers. The mixture is filtered and resampled like
    the estimates, so that they can sum to it exactly.

    Args:
        rate: the recording's sample rate in Hz.
        model_rate: the model's sample rate.
        out_rate: that of the output, which has ceil(n * out_rate / rate) samples for n samples of
            the recording.
        chunking: in samples at the model's rate.
        depths: number of depths.
        num_spk: number of speakers.
        sink: called with the next finished samples (1 + depths * num_spk, n): the mixture, then
            all speakers, depth by depth.
        keep_rumble: do not remove content below 20 Hz.
    """

    def __init__(
        self,
        rate: int,
        model_rate: int,
        out_rate: int,
        chunking: Chunking,
        depths: int,
        num_spk: int,
        sink: Callable[[np.ndarray], None],
        keep_rumble: bool = False,
    ):
        self._to_model = Resampler(rate, model_rate)
        # filtered before resampling, in which an offset would act as a step at the start
        self._rumble = None if keep_rumble else RumbleFilter(rate)
        self._chunker = Chunker(chunking)
        # samples (n,) whose chunks are not joined yet
        self._mixture = np.empty(0, np.float32)
        self._stitchers = [Stitcher(model_rate) for _ in range(depths)]
        self._from_model = Resampler(model_rate, out_rate, 1 + depths * num_spk)
        self._rate, self._out_rate, self._frames = rate, out_rate, 0
        self._sink = sink

    def read(self, block: np.ndarray) -> list[Chunk]:
        """Add the recording's next samples (n,); return the chunks they complete."""
        self._frames += len(block)
        return self._take(block if self._rumble is None else self._rumble.push(block))

    def end(self) -> list[Chunk]:
        """End the recording; return its last chunks."""
        # samples are counted, because the length in a header may be wrong
        self._from_model.total = -(-self._frames * self._out_rate // self._rate)
        rest = [] if self._rumble is None else self._take(self._rumble.finish())
        return rest + self._cut(self._to_model.finish()[0]) + self._chunker.finish()

    def join(self, chunk: Chunk, estimates: Sequence[np.ndarray]) -> None:
        """Add a chunk's estimates (j, n), one per depth; chunks must come in order."""
        joined = zip(self._stitchers, estimates, strict=True)
        self._send([stitcher.push(chunk.start, estimate) for stitcher, estimate in joined])

    def close(self) -> None:
        """Send the remaining samples after all chunks are joined."""
        self._send([stitcher.finish() for stitcher in self._stitchers])
        self._sink(self._from_model.finish())

    def _take(self, samples: np.ndarray) -> list[Chunk]:
        return self._cut(self._to_model.push(samples[None])[0])

    def _cut(self, samples: np.ndarray) -> list[Chunk]:
        self._mixture = np.concatenate((self._mixture, samples))
        return self._chunker.push(samples)

    def _send(self, estimates: list[np.ndarray]) -> None:
        """Send the samples (j, n) of every depth that are finished."""
        mixture, self._mixture = np.split(self._mixture, [estimates[0].shape[1]])
        self._sink(self._from_model.push(np.concatenate((mixture[None], *estimates))))


def channels_of(samples: Any) -> np.ndarray:
    """Return the channels of a recording.

    Args:
        samples: (n,), or (n, c) as soundfile reads them; of any type that
            :func:`~espnet2_tisdiss.separate.arrays.as_floats` takes.

    Returns:
        float32 (c, n).

    Raises:
        TisdissError: there are no samples, some are not finite, or the axes are swapped.
    """
    samples = as_floats(samples)
    channels = samples[None] if samples.ndim == 1 else samples.T
    if channels.ndim != 2 or not channels.size:
        raise TisdissError(
            f"a recording must be samples (n,) or (n, channels); got {samples.shape}; several "
            "recordings go one by one, or at the model's rate to batch()"
        )
    if len(channels) > channels.shape[1]:
        raise TisdissError(
            f"a recording with more channels than samples, {samples.shape}: give samples.T"
        )
    check_finite("the recording", samples)
    with np.errstate(over="ignore"):
        channels = channels.astype(np.float32)
    if not np.isfinite(channels).all():
        raise TisdissError("the recording: its samples are too large for 32 bits; scale it down")
    return channels


def separate_recording(
    model: DepthSeparator,
    samples: np.ndarray,
    rate: int,
    options: RecordingOptions,
    budget: TimeBudget | None = None,
) -> tuple[np.ndarray, np.ndarray, ExpectedQuality]:
    """Separate one channel in memory.

    Args:
        model: the model.
        samples: (n,).
        rate: in Hz.
        options: options of the separation for this model, with one depth.
        budget: the time that limits the depth, if any.

    Returns:
        The mixture (n,), filtered and resampled like the estimates, the unscaled estimates (j, n),
        float32, at ``rate``, and their expected quality.
    """
    blocks: list[np.ndarray] = []
    chunking = options.chunking(model.sample_rate)
    track = Track(
        rate,
        model.sample_rate,
        rate,
        chunking,
        1,
        model.num_spk,
        blocks.append,
        options.keep_rumble,
    )
    chunks = itertools.chain(track.read(samples), track.end())
    expected = ExpectedQuality(model.calibration)
    for batch in itertools.batched(chunks, options.batch_size):
        found = separate_chunks(model, [chunk.samples for chunk in batch], options, budget)
        for chunk, separated in zip(batch, found, strict=True):
            track.join(chunk, separated.estimates)
            expected.add(separated.expected, len(chunk.samples))
    track.close()
    mixture, *speakers = np.concatenate(blocks, axis=1)
    return mixture, np.stack(speakers), expected
