"""The result of an input file."""

from dataclasses import dataclass, field
from pathlib import Path

from espnet2_tisdiss.choices import FileStatus
from espnet2_tisdiss.lists import Source


@dataclass
class FileResult:
    """The result of an input file.

    Attributes:
        source: the recording.
        status: "done", "skipped" (its outputs existed) or "failed".
        reason: why it failed, in one line.
        outputs: the separated files.
        seconds: length of the recording.
        rate: its sample rate in Hz.
        out_rate: sample rate of the outputs.
        notices: phrases about what is unusual in the recording.
        channels: number of its channels.
        separated_channels: number of separated channels; 1 for one channel or the mean.
        n_re: number of repetitions of each of its chunks.
        gain: factor, at most 1, with which the outputs fit an integer format.
        peak: largest absolute sample before this gain.
        expected_si_snr: predicted SI-SNR of the deepest estimates in dB, the mean over speakers,
            chunks and channels; None if the model is not calibrated.
    """

    source: Path | Source
    status: FileStatus
    reason: str = ""
    outputs: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    rate: int = 0
    out_rate: int = 0
    notices: list[str] = field(default_factory=list)
    channels: int = 1
    separated_channels: int = 1
    n_re: list[int] = field(default_factory=list)
    gain: float = 1.0
    peak: float = 0.0
    expected_si_snr: float | None = None
