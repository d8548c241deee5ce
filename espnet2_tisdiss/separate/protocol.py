"""What the modules below ``speech`` need of a loaded model.

Axis letters: b batch, j speaker, n sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from espnet2_tisdiss.choices import Scale
from espnet2_tisdiss.separate.calibration import Calibration


@dataclass(frozen=True)
class Estimate:
    """Separated waveforms at one depth.

    Attributes:
        n_re: (b,) repetitions run for each item.
        waves: b arrays (j, n), float32 or the model's float64, each as long as its mixture.
    """

    n_re: np.ndarray
    waves: list[np.ndarray]


class Model(Protocol):
    """A loaded model: see :class:`~espnet2_tisdiss.SeparateSpeech`."""

    sample_rate: int
    num_spk: int
    precision: str
    device: str
    hop: int
    look_ahead: int | None

    @property
    def fingerprint(self) -> str:
        """A name that depends on weights and configuration only."""

    @property
    def calibration(self) -> Calibration | None:
        """What its estimates say about their quality; None: nothing is known."""

    def known_calibration(self) -> Calibration:
        """Return ``calibration``; raise TisdissError if nothing is known."""

    @property
    def trained_n_re(self) -> int:
        """Repetitions of the training."""

    @property
    def deepest_useful(self) -> int:
        """Repetitions beyond which quality hardly improves."""

    def resolve_depth(self, n_re: int | None = None) -> int:
        """Return the repetitions to run."""

    def anytime(
        self, mixtures: Any, n_re: int | None = None, scale: Scale = ...
    ) -> Iterator[Estimate]:
        """Yield estimates from shallow to deep."""

    def depths(
        self, mixtures: Any, n_re: Sequence[int], scale: Scale = ...
    ) -> dict[int, list[np.ndarray]]:
        """Separate at several depths."""

    def until_stable(
        self, mixtures: Any, stop_db: float, n_re: int | None = None, scale: Scale = ...
    ) -> Estimate:
        """Separate until a repetition changes little."""

    def until(
        self,
        mixtures: Any,
        si_snr: float,
        probability: float = ...,
        n_re: int | None = None,
        scale: Scale = ...,
    ) -> Estimate:
        """Separate until the estimates are good enough."""
