"""Scores of the separated speakers at each depth, as a metric of ESPnet3."""

import logging
from collections.abc import Sequence

import numpy as np
from espnet3.components.metrics.base_metric import BaseMetric
from espnet3.contract import Field
from espnet3.contract.kinds.audio import Audio

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet3.dataset import signal_names
from espnet2_tisdiss.espnet3.inference import output_name
from espnet2_tisdiss.evaluate.by_depth import improvement

logger = logging.getLogger(__name__)


class SISNRi(BaseMetric):
    """Mean improvement of the SI-SNR over the mixture in dB, by depth.

    One metric scores all depths, because ESPnet3 keeps the results of only one metric per class.

    Args:
        n_re: the depths.
        num_spk: speakers in a mixture.
    """

    def __init__(self, n_re: Sequence[int], num_spk: int):
        self._shape = len(n_re), num_spk
        signals = signal_names(num_spk)
        estimates = [output_name(d, j) for d in n_re for j in range(1, num_spk + 1)]
        self.inputs = tuple(Field(name, "audio") for name in (*signals, *estimates))
        self.outputs = tuple(Field(f"si_snri_re{depth}", "number") for depth in n_re)
        self.add_state("improvements", [], "cat")  # of each mixture, by depth
        super().__init__()

    def update(self, **values: Sequence[str | Audio]) -> None:
        """Score mixtures: files or audio, by name of the input."""
        depths, num_spk = self._shape
        for row in zip(*(values[field.name] for field in self.inputs), strict=True):
            waves = [Audio.coerce(one, None).array for one in row]
            if len({wave.shape for wave in waves}) > 1:
                raise TisdissError(
                    f"{row[0]}: its sources and estimates differ in length; sample_rate of the "
                    "inference configuration must be the model's"
                )
            signals, estimates = np.split(np.stack(waves), [1 + num_spk])
            if not np.ptp(signals, axis=1).all():
                logger.warning("%s: left out, as a signal of it is silent", row[0])
                continue
            by_depth = estimates.reshape(depths, num_spk, -1)
            self.improvements.append([improvement(signals, estimate) for estimate in by_depth])

    def compute(self) -> dict[str, float]:
        """Return the means over the mixtures, such as ``{"si_snri_re1": 9.8}``.

        Raises:
            TisdissError: there are no mixtures to score.
        """
        if not self.improvements:
            raise TisdissError("no mixture could be scored; all of them have silent signals")
        means = np.mean(self.improvements, axis=0)
        names = (field.name for field in self.outputs)
        return {name: round(float(mean), 2) for name, mean in zip(names, means, strict=True)}
