"""Word error rates of several speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import editdistance
import numpy as np
from scipy.stats import bootstrap

CONFIDENCE = 0.95


@dataclass(frozen=True)
class WordErrors:
    """Word errors of each mixture.

    Attributes:
        errors: substituted, deleted and inserted words (b,).
        words: spoken words (b,).
    """

    errors: np.ndarray
    words: np.ndarray

    @property
    def rate(self) -> float:
        """Errors per spoken word."""
        return float(self.errors.sum() / self.words.sum())

    def interval(self) -> tuple[float, float]:
        """Return the bootstrap interval of the rate over the mixtures."""
        return _interval((self.errors, self.words), _rate)

    def change_to(self, other: WordErrors) -> tuple[float, tuple[float, float]]:
        """Return the other's rate minus this one's, and its interval, paired by mixture."""

        def change(
            ours: np.ndarray, theirs: np.ndarray, words: np.ndarray, axis: int = -1
        ) -> np.ndarray:
            return _rate(theirs - ours, words, axis)

        arrays = (self.errors, other.errors, self.words)
        return other.rate - self.rate, _interval(arrays, change)


def _rate(errors: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(errors.sum(axis) / words.sum(axis))


def _interval(arrays: Sequence[np.ndarray], statistic: object) -> tuple[float, float]:
    found = bootstrap(
        arrays,
        statistic,
        paired=True,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def word_errors(
    said: Mapping[str, Sequence[str]], recognised: Mapping[str, Sequence[str]]
) -> WordErrors:
    """Compare the transcripts of the speakers of each mixture with the recognised texts.

    Because the estimates of a separator have no order, the order of the speakers with the fewest
    errors counts.

    Args:
        said: mixture -> the transcript of each speaker.
        recognised: mixture -> the text of each estimate; a mixture that is missing has none.
    """
    errors, words = [], []
    for key, references in said.items():
        spoken = [text.split() for text in references]
        found = [text.split() for text in recognised.get(key, [""] * len(references))]
        errors.append(
            min(
                sum(editdistance.eval(*pair) for pair in zip(spoken, order, strict=True))
                for order in permutations(found)
            )
        )
        words.append(sum(map(len, spoken)))
    return WordErrors(np.array(errors, float), np.array(words, float))
