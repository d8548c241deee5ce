"""Separation of batches of waveforms at any number of depths, from one run of the model.

Axis letters: b batch, j speaker, n sample.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from espnet2_tisdiss.checks import check_choice, check_integer, check_n_re, check_number
from espnet2_tisdiss.choices import DEFAULT_PROBABILITY, DEFAULT_SCALE, SCALES, Scale
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.arrays import as_floats, refuse_path
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.calibration import traits_of
from espnet2_tisdiss.separate.interface import Estimate, Mixtures, Model
from espnet2_tisdiss.separate.loudness import rescale

if TYPE_CHECKING:  # not every model runs on PyTorch
    from torch import Tensor


class DepthSeparator(Model):
    """A model that separates batches of mixtures at depths chosen per call.

    Mixtures are an array (b, n), or a list of b waveforms (n,) of different lengths. The result for
    each mixture does not depend on the others. Subclasses run the network.
    """

    def anytime(
        self, mixtures: Mixtures, n_re: int | None = None, scale: Scale = DEFAULT_SCALE
    ) -> Iterator[Estimate]:
        """Yield estimates from shallow to deep, each as soon as its repetition is done.

        Stopping early costs nothing: a repetition runs when its estimate is requested.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            n_re: the last depth; None: the instance's default.
            scale: output level; see :mod:`~espnet2_tisdiss.separate.loudness`.

        Yields:
            The estimates after 1, 2, ... ``n_re`` repetitions.

        Raises:
            TisdissError: a mixture has a wrong shape or no samples.
        """
        waves = _as_list(mixtures)
        check_choice("scale", scale, SCALES)
        for depth, estimates in self._estimates(waves, self.resolve_depth(n_re)):
            yield Estimate(np.full(len(waves), depth), _scaled(scale, waves, estimates))

    def depths(
        self, mixtures: Mixtures, n_re: Sequence[int], scale: Scale = DEFAULT_SCALE
    ) -> dict[int, list[np.ndarray]]:
        """Separate at several depths at the cost of the deepest.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            n_re: the depths, in any order.
            scale: as for :meth:`anytime`.

        Returns:
            For each depth the waves of its :class:`Estimate`: b arrays (j, n).
        """
        n_re = [check_n_re("n_re", depth) for depth in n_re]
        if not n_re:
            raise ValueError("n_re must have at least one depth; got none")
        waves = _as_list(mixtures)
        check_choice("scale", scale, SCALES)
        found = {  # only the requested depths are scaled
            depth: _scaled(scale, waves, estimates)
            for depth, estimates in self._estimates(waves, self.resolve_depth(max(n_re)))
            if depth in n_re
        }
        return {depth: found[depth] for depth in n_re}

    def until_stable(
        self,
        mixtures: Mixtures,
        stop_db: float,
        n_re: int | None = None,
        scale: Scale = DEFAULT_SCALE,
    ) -> Estimate:
        """Repeat until another repetition changes the estimate by less than a threshold.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            stop_db: threshold in dB for the energy of the change relative to the estimate. The
                column "change" of ``tisdiss sweep`` helps to choose it.
            n_re: maximum number of repetitions; None: the instance's.
            scale: as for :meth:`anytime`.

        Returns:
            The estimate of each item at its own depth, which does not depend on the rest of the
            batch.
        """
        check_number("stop_db", stop_db, -float("inf"), float("inf"))

        def is_enough(item: int, before: np.ndarray | None, after: np.ndarray) -> bool:
            return before is not None and change_db(before, after) <= stop_db

        return self._until(_as_list(mixtures), is_enough, n_re, scale)

    def until(
        self,
        mixtures: Mixtures,
        si_snr: float,
        probability: float = DEFAULT_PROBABILITY,
        n_re: int | None = None,
        scale: Scale = DEFAULT_SCALE,
    ) -> Estimate:
        """Repeat until the predicted quality of the estimates is good enough.

        :mod:`~espnet2_tisdiss.separate.calibration` predicts it from the estimates.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            si_snr: required SI-SNR in dB, the mean over the speakers.
            probability: required probability of reaching it.
            n_re: maximum number of repetitions; None: the instance's.
            scale: as for :meth:`anytime`.

        Returns:
            The estimate of each item at its own depth, as for :meth:`until_stable`, with its
            expected SI-SNR.

        Raises:
            TisdissError: the model has not been calibrated.
        """
        check_number("si_snr", si_snr, -float("inf"), float("inf"))
        check_number("probability", probability, 0, 1)
        calibration = self.known_calibration()
        waves = _as_list(mixtures)
        expected = [math.nan] * len(waves)

        def is_enough(item: int, before: np.ndarray | None, after: np.ndarray) -> bool:
            traits = traits_of(waves[item], after, self.sample_rate)
            expected[item] = calibration.expected(traits)
            return calibration.probability(traits, si_snr) >= probability

        return replace(self._until(waves, is_enough, n_re, scale), expected=expected)

    def _until(
        self,
        given: Sequence[np.ndarray],
        is_enough: Callable[[int, np.ndarray | None, np.ndarray], bool],
        n_re: int | None,
        scale: Scale,
    ) -> Estimate:
        """Repeat until the estimates of each of the waves (n,) are good enough.

        ``is_enough`` is called with the index of a wave and its estimates (j, n) before and after
        a repetition; those before the first repetition are None.
        """
        check_choice("scale", scale, SCALES)
        running = list(range(len(given)))
        results: list[np.ndarray | None] = [None] * len(given)
        n_used = np.zeros(len(given), int)
        for depth, waves in self._estimates(given, self.resolve_depth(n_re)):
            for item in running.copy():
                if is_enough(item, results[item], waves[item]):
                    running.remove(item)
                results[item], n_used[item] = waves[item], depth
            if not running:
                break
        found = [result for result in results if result is not None]
        return Estimate(n_used, _scaled(scale, given, found))

    def within(
        self,
        mixtures: Mixtures,
        seconds: float,
        n_re: int | None = None,
        scale: Scale = DEFAULT_SCALE,
    ) -> Estimate:
        """Repeat as long as another repetition is expected to fit a time.

        The first repetition is always run, however long it takes.

        Args:
            mixtures: (b, n) or a list of b (n,), at the model's sample rate.
            seconds: time for the batch.
            n_re: maximum number of repetitions; None: :attr:`deepest_useful`.
            scale: as for :meth:`anytime`.

        Returns:
            The estimates, all at the same depth.
        """
        check_number("seconds", seconds, 0, float("inf"))
        check_choice("scale", scale, SCALES)
        waves = _as_list(mixtures)
        audio = sum(map(len, waves)) / self.sample_rate
        deepest = self.deepest_useful if n_re is None else n_re
        estimates = self.anytime(waves, deepest, scale="estimate")
        found = TimeBudget(seconds, audio).deepest(estimates, audio)
        return Estimate(found.n_re, _scaled(scale, waves, found.waves))

    def batch(
        self,
        waves: "Sequence[Tensor | np.ndarray]",
        n_re: int | None = None,
        batch_size: int = 8,
        scale: Scale = DEFAULT_SCALE,
    ) -> list[np.ndarray]:
        """Separate any number of mixtures, in batches of similar lengths.

        Args:
            waves: mixtures (n,), at the model's sample rate.
            n_re: repetitions; None: the instance's.
            batch_size: maximum number of mixtures in a batch.
            scale: as for :meth:`anytime`.

        Returns:
            The estimates (j, n) of each mixture, in order, independent of the other mixtures.
        """
        check_integer("batch_size", batch_size, 1)
        refuse_path(waves)
        waves = _as_list(waves) if len(waves) else []
        depth = self.resolve_depth(n_re)
        by_length = sorted(range(len(waves)), key=lambda index: len(waves[index]))
        separated: dict[int, np.ndarray] = {}
        for indices in itertools.batched(by_length, batch_size):
            found = self.depths([waves[index] for index in indices], [depth], scale)[depth]
            separated.update(zip(indices, found, strict=True))
        return [separated[index] for index in range(len(waves))]


def change_db(before: np.ndarray, after: np.ndarray) -> float:
    """Return the energy of ``after - before`` relative to ``after``, in dB; -inf for no change."""
    change, energy = (np.square(x, dtype=np.float64).sum() for x in (after - before, after))
    if change == 0:  # also for silence
        return -math.inf
    # a quotient could overflow
    return 10 * (math.log10(change) - math.log10(max(energy, np.finfo(np.float64).tiny)))


def _as_list(mixtures: Mixtures) -> list[np.ndarray]:
    """Return mixtures as a list of waveforms (n,), checked."""
    refuse_path(mixtures)
    shape = getattr(mixtures, "shape", None)  # a list has none
    if shape is not None and len(shape) != 2:
        raise TisdissError(f"mixtures must be (batch, samples); got {tuple(shape)}")
    waves = [as_floats(wave) for wave in mixtures]
    for index, wave in enumerate(waves):
        if wave.ndim != 1 or len(wave) == 0:
            raise TisdissError(
                f"mixture {index} must be one channel with samples; got {tuple(wave.shape)}"
            )
        if not np.isfinite(wave).all():
            raise TisdissError(f"mixture {index} holds samples that are not finite numbers")
    if not waves:
        raise TisdissError("mixtures must not be empty; got an empty list or batch")
    return waves


def _scaled(
    scale: Scale, waves: Sequence[np.ndarray], estimates: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the estimates (j, n) of mixtures (n,), scaled according to ``scale``."""
    pairs = zip(waves, estimates, strict=True)
    return [rescale(scale, wave, estimate) for wave, estimate in pairs]
