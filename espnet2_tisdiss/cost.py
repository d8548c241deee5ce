"""What a model costs: parameters, multiply-adds, and time and peak memory on this machine.

Multiply-adds are counted on tensors without data, so in a moment and the same everywhere; time and
memory are measured by running the model. Axis letters: b batch, n sample, t frame, f frequency bin.
"""

import dataclasses
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import psutil
import torch
from torch import nn

from espnet2_tisdiss.checks import check_integer, check_number

if TYPE_CHECKING:  # these import this module
    from espnet2_tisdiss.inference import SeparateSpeech
    from espnet2_tisdiss.separator import TISDiSSSeparator

SAMPLE_EVERY_S = 0.002  # short against the life of a tensor that is worth counting
SPEECH_CORNER_HZ = 500.0  # above it, speech falls by about 6 dB an octave
SYLLABLES_HZ = 4.0
COUNTED_SECONDS = 4.0  # input on which costs are counted: attention's share grows with it


def parameters(model: nn.Module) -> int:
    """Return the number of a model's parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def build_parts(config: dict[str, Any]) -> tuple[nn.Module, "TISDiSSSeparator"]:
    """Build the encoder and the separator of an ESPnet configuration with a TISDiSS."""
    from espnet2_tisdiss.assembly import build_encoder
    from espnet2_tisdiss.separator import TISDiSSSeparator

    encoder = build_encoder(config["encoder"], config["encoder_conf"])
    return encoder, TISDiSSSeparator(encoder.output_dim, **config["separator_conf"])


def hop_of(encoder: nn.Module) -> int:
    """Return the samples from one frame of ESPnet's ``stft`` or ``conv`` encoder to the next."""
    return encoder.hop_length if hasattr(encoder, "hop_length") else encoder.stride


class CostCounter:
    """Counts a separator's work on an input of a given length, without running it.

    Counted are convolutions, matrix products and attention, padding included; not elementwise
    work, nor the encoder and the decoder. The separator is neither changed nor run: what is
    counted is another of the same structure, made of tensors without data.

    Args:
        encoder: the model's encoder, ``stft`` or ``conv``.
        separator: the model's separator.
        sample_rate: of the model, in Hz.
        seconds: length of the input; attention's share of the work grows with it.

    Raises:
        ValueError: the input is shorter than one frame.

    Example:
        >>> counter = CostCounter(encoder, separator, sample_rate=8000)
        >>> counter.macs_per_s(n_re=6) / 1e9  # GMAC for a second of audio
    """

    def __init__(
        self,
        encoder: nn.Module,
        separator: "TISDiSSSeparator",
        sample_rate: int,
        seconds: float = COUNTED_SECONDS,
    ):
        hop = hop_of(encoder)
        n_frames = int(seconds * sample_rate // hop)
        if n_frames < 1:
            raise ValueError(
                f"seconds must be at least a frame, {hop / sample_rate}; got {seconds}"
            )
        self.seconds = seconds
        learned = separator.config.segment_size is not None
        # not a deep copy: hooks and wrapped methods of a copy would still lead to the original
        with torch.random.fork_rng(devices=[]):
            blank = type(separator)(separator.input_dim, **dataclasses.asdict(separator.config))
        self._separator = blank.eval().to("meta")
        self._features = torch.empty(  # (1, t, f)
            (1, n_frames, separator.input_dim),
            dtype=torch.float32 if learned else torch.complex64,
            device="meta",
        )

    def positions_per_s(self) -> float:
        """Return the positions of the feature map, frames times bins or bands, for a second."""
        features = self._features
        embedded, _ = self._separator.conv(
            torch.view_as_real(features) if features.is_complex() else features
        )
        return embedded.shape[1] * embedded.shape[2] / self.seconds

    def macs_per_s(self, n_re: int) -> float:
        """Return the multiply-adds at ``n_re`` repetitions for a second of audio."""
        # here, because it takes long
        from torch.utils.flop_counter import FlopCounterMode

        self._separator.reconstructor_repeat_times = n_re
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self._separator(self._features, None)
        return counter.get_total_flops() / 2 / self.seconds


class PeakMemory:
    """Context manager that finds the most memory in use at once, above the level at entry.

    On a CUDA device the figure is PyTorch's own count of the bytes in its tensors, and exact. On
    the CPU it is SAMPLED: a thread reads the resident size of this process every few milliseconds,
    so a shorter peak may be missed, memory that an allocator had kept for reuse at entry is not
    seen again, and whatever else this process does meanwhile is. Child processes are not counted.

    Args:
        device: where the tensors are, as PyTorch names it.
        level: bytes to count from; None: what is in use at entry.

    Attributes:
        level: the bytes counted from.
        peak: bytes above ``level``; 0 until the block has ended.

    Example:
        >>> with PeakMemory("cpu") as memory:
        ...     separate(mixture)
        >>> memory.peak
    """

    def __init__(self, device: torch.device | str = "cpu", level: int | None = None):
        self.device = torch.device(device)
        self.level = level
        self.peak = 0

    def __enter__(self) -> Self:
        if self.level is None:
            self.level = memory_in_use(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._highest = self.level
            self._stop = threading.Event()
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            highest = torch.cuda.max_memory_allocated(self.device)
        else:
            self._stop.set()
            self._sampler.join()
            highest = self._highest
        self.peak = max(0, highest - self.level)

    def _sample(self) -> None:
        """Follow the resident size until told to stop, and look once more then."""
        running = True
        while running:
            running = not self._stop.wait(SAMPLE_EVERY_S)
            self._highest = max(self._highest, memory_in_use(self.device))


def memory_in_use(device: torch.device | str) -> int:
    """Return the bytes of PyTorch's tensors on a CUDA device, or else those of this process."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


@dataclass(frozen=True)
class DepthCost:
    """What one depth costs on this machine.

    Attributes:
        n_re: repetitions N_re.
        macs_per_s: the separator's multiply-adds for a second of audio.
        rtf: real-time factor, seconds of work for a second of audio.
        peak_bytes: most memory in use at once, above that of the loaded model.
    """

    n_re: int
    macs_per_s: float
    rtf: float
    peak_bytes: int


def measure(
    separate: "SeparateSpeech",
    seconds: float,
    depths: Sequence[int],
    repeats: int = 3,
    on_step: Callable[[], None] | None = None,
) -> list[DepthCost]:
    """Measure what single runs at several depths cost.

    The first run at each depth warms up and is watched for its memory; the timed ones follow, the
    depths in turn, so that what else the machine does falls on all of them alike.

    Args:
        separate: the model.
        seconds: length of the one mixture separated.
        depths: repetitions N_re, in any order.
        repeats: timed runs at each depth; their median counts.
        on_step: called after each of the ``(1 + repeats) * len(depths)`` runs.

    Returns:
        One row a depth, in the order of ``depths``.

    Raises:
        ValueError: an argument is out of range.
    """
    check_integer("repeats", repeats, 1)
    counter = CostCounter(
        separate.enh_model.encoder, separate.separator, separate.sample_rate, seconds
    )
    macs = {n_re: counter.macs_per_s(n_re) for n_re in depths}
    mixture = speech_shaped_noise(seconds, separate.sample_rate)[None]  # (1, n)
    level = memory_in_use(separate.device)
    peaks: dict[int, int] = {}
    times: dict[int, list[float]] = {n_re: [] for n_re in macs}
    for repeat in range(1 + repeats):
        for n_re in macs:
            if repeat == 0:
                with PeakMemory(separate.device, level) as memory:
                    separate(mixture, fs=separate.sample_rate, n_re=n_re)
                peaks[n_re] = memory.peak
            else:
                began = time.perf_counter()
                # its result is in the host's memory: nothing on a device is left to wait for
                separate(mixture, fs=separate.sample_rate, n_re=n_re)
                times[n_re].append(time.perf_counter() - began)
            if on_step is not None:
                on_step()
    rtfs = {n_re: statistics.median(times[n_re]) / seconds for n_re in macs}
    return [DepthCost(n_re, macs[n_re], rtfs[n_re], peaks[n_re]) for n_re in depths]


def speech_shaped_noise(seconds: float, sample_rate: int, seed: int = 0) -> np.ndarray:
    """Return noise with the long-term spectrum and the syllables of speech.

    Args:
        seconds: its length.
        sample_rate: in Hz.
        seed: of the noise.

    Returns:
        Samples (n,), float32, peak 0.5.

    Raises:
        ValueError: the length is not positive, or less than a sample.
    """
    check_number("seconds", seconds, 1 / sample_rate, float("inf"))
    n_samples = int(seconds * sample_rate)
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    noise = np.fft.irfft(white / np.maximum(1, frequency / SPEECH_CORNER_HZ), n_samples)
    time_s = np.arange(n_samples) / sample_rate
    noise *= 1.1 - np.cos(2 * np.pi * SYLLABLES_HZ * time_s)
    return (0.5 * noise / np.abs(noise).max()).astype(np.float32)
