"""Mixtures and sources of a data directory, as items of ESPnet3's data sets."""

from pathlib import Path

import numpy as np
from espnet3.components.data.base_dataset import BaseDataset
from espnet3.contract import Field
from espnet3.contract.kinds.audio import Audio

from espnet2_tisdiss.evaluate.mixtures import find_mixtures, read_signals
from espnet2_tisdiss.lists import Source


def signal_names(num_spk: int) -> list[str]:
    """Return ESPnet's names of a mixture and its sources."""
    return ["speech_mix", *(f"speech_ref{speaker}" for speaker in range(1, num_spk + 1))]


class Dataset(BaseDataset):
    """The mixtures of a data directory (wav.scp, spk1.scp, ...) or of a corpus folder (mix/, s1/).

    Args:
        data: the folder; see :func:`~espnet2_tisdiss.evaluate.mixtures.find_mixtures`.
        num_spk: speakers in a mixture.
        sample_rate: sample rate of all files in Hz.
        named: whether items contain their name, ``utt_id``, and their rate, which inference needs;
            training accepts neither.

    Raises:
        TisdissError: the folder is not complete; in use: a file cannot be read or has another rate.
    """

    def __init__(self, data: str | Path, num_spk: int, sample_rate: int, named: bool = False):
        self._mixtures = find_mixtures(data, num_spk)
        self._names = signal_names(num_spk)
        self._rate = sample_rate
        self._named = named
        self.fields = (
            *(Field(name, "audio") for name in self._names),
            *([Field("utt_id", "text")] if named else []),
        )

    def __len__(self) -> int:
        return len(self._mixtures)

    def __getitem__(self, index: int) -> dict[str, np.ndarray | Audio | str]:
        """Return the signals (n,) of a mixture by name."""
        mixture = self._mixtures[index]
        paths: list[Path | Source] = [mixture.path, *mixture.references]
        signals = read_signals(paths, self._rate, self._rate)
        if not self._named:
            return dict(zip(self._names, signals, strict=True))
        audio = (Audio(signal, self._rate) for signal in signals)
        return {"utt_id": mixture.name, **dict(zip(self._names, audio, strict=True))}
