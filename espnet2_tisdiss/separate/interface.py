"""What each kind of loaded model implements; ``depths`` and ``any_length`` build on it.

Axis letters: b batch, j speaker, n sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from espnet2_tisdiss.checks import check_n_re
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.layouts import CALIBRATION
from espnet2_tisdiss.separate.calibration import Calibration

if TYPE_CHECKING:  # not every model runs on PyTorch
    from torch import Tensor

# (b, n), or b waveforms (n,) of different lengths
type Mixtures = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """Separated waveforms at one depth.

    Attributes:
        n_re: (b,) repetitions run for each item.
        waves: b arrays (j, n), float32 or the model's float64, each as long as its mixture.
        expected: SI-SNR in dB that each item is expected to have, if it decided the depth; else
            empty.
    """

    n_re: np.ndarray
    waves: list[np.ndarray]
    expected: Sequence[float] = ()


class Model(ABC):
    """A loaded model: what it is, the depths that it can be used at, and its network.

    Attributes:
        sample_rate: sample rate of the model in Hz.
        num_spk: number of speakers.
        precision: data type in which the network computes.
        device: device that the network runs on.
        hop: samples from one frame of the encoder to the next.
        look_ahead: for a causal model, the number of later samples that an estimated sample depends
            on; None: it depends on all samples of the mixture.
    """

    sample_rate: int
    num_spk: int
    precision: str
    device: str
    hop: int
    look_ahead: int | None

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A name of the model, derived from its weights and configuration."""

    @property
    @abstractmethod
    def calibration(self) -> Calibration | None:
        """The prediction of quality from the estimates; None if the model is not calibrated."""

    def known_calibration(self) -> Calibration:
        """Return :attr:`calibration`.

        Raises:
            TisdissError: the model is not calibrated.
        """
        if self.calibration is None:
            raise TisdissError(
                f"the model has no {CALIBRATION} next to its weights, so the quality of its "
                "estimates cannot be predicted: run tisdiss calibrate"
            )
        return self.calibration

    @property
    @abstractmethod
    def usual_n_re(self) -> int:
        """Default number of repetitions of calls."""

    @property
    @abstractmethod
    def trained_n_re(self) -> int:
        """Number of repetitions in training."""

    @property
    @abstractmethod
    def deepest_useful(self) -> int:
        """Number of repetitions beyond which quality hardly improves."""

    def resolve_depth(self, n_re: int | None = None) -> int:
        """Return the number of repetitions to run: ``n_re``, or if it is None the default.

        Raises:
            TisdissError: the model is set to 0 repetitions.
            ValueError: ``n_re`` is not an integer >= 1.
        """
        if n_re is not None:
            return check_n_re("n_re", n_re)
        if usual := self.usual_n_re:
            return usual
        raise TisdissError("the model is set to 0 repetitions: choose n_re, 1 or more")

    @abstractmethod
    def _estimates(
        self, waves: Sequence[np.ndarray], last: int
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Yield each depth 1, 2, ... ``last`` with the estimates (j, n) of the waves (n,)."""
