"""Cost of a model: parameters, multiply-adds, and time and peak memory on this machine.

Multiply-adds are counted on tensors without data, which is fast and gives the same result on every
machine. Time and memory are measured by running the model. Axis letters: b batch, n sample,
t frame, f frequency bin.
"""

import dataclasses
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import psutil
import torch
from torch import nn

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.network.assembly import build_encoder, hop_of
from espnet2_tisdiss.network.separator import TISDiSSSeparator

if TYPE_CHECKING:
    from espnet2.enh.encoder.abs_encoder import AbsEncoder

    from espnet2_tisdiss.separate.speech import SeparateSpeech

SAMPLE_EVERY_S = 0.002  # shorter than the lifetime of large tensors
COUNTED_SECONDS = 4.0  # default input length for counting; attention's share grows with it


def parameters(module: nn.Module) -> int:
    """Return the number of parameters of a module; shared parameters count once."""
    return sum(p.numel() for p in module.parameters())


class Parts(NamedTuple):
    """The parts of a model on which its cost is counted."""

    encoder: "AbsEncoder"
    separator: TISDiSSSeparator


def build_parts(config: Mapping[str, Any]) -> Parts:
    """Build the encoder and the TISDiSS separator of an ESPnet configuration, with random weights.

    Args:
        config: content of an ESPnet ``config.yaml``.
    """
    encoder = build_encoder(config["encoder"], config["encoder_conf"])
    return Parts(encoder, TISDiSSSeparator(encoder.output_dim, **config["separator_conf"]))


class CostCounter:
    """Counts the multiply-adds of a separator for an input of a given length.

    Convolutions, matrix products and attention are counted, including padding. Elementwise
    operations, the encoder and the decoder are not. The separator itself is neither changed nor
    run; a copy of its structure, made of tensors without data, is run instead.

    Args:
        encoder: the model's encoder, ``stft`` or ``conv``.
        separator: the model's separator.
        sample_rate: sample rate of the model in Hz.
        seconds: length of the input; attention's share of the cost grows with it.

    Raises:
        ValueError: the input is shorter than one frame.

    Example:
        >>> counter = CostCounter(encoder, separator, sample_rate=8000)
        >>> counter.macs_per_s(n_re=6) / 1e9  # GMAC per second of audio
    """

    def __init__(
        self,
        encoder: "AbsEncoder",
        separator: TISDiSSSeparator,
        sample_rate: int,
        seconds: float = COUNTED_SECONDS,
    ):
        hop = hop_of(encoder)
        n_frames = int(seconds * sample_rate // hop)
        if n_frames < 1:
            raise ValueError(
                f"seconds must be at least one frame, {hop / sample_rate}; got {seconds}"
            )
        self.seconds = seconds
        learned = separator.config.segment_size is not None
        # not a deep copy: its hooks and wrapped methods would still refer to the original
        with torch.random.fork_rng(devices=[]):
            blank = type(separator)(separator.input_dim, **dataclasses.asdict(separator.config))
        self._separator = blank.eval().to("meta")
        self._features = torch.empty(  # (1, t, f)
            (1, n_frames, separator.input_dim),
            dtype=torch.float32 if learned else torch.complex64,
            device="meta",
        )

    def positions_per_s(self) -> float:
        """Return the positions of the feature map (frames times bins or bands) per second."""
        features = self._features
        embedded, _ = self._separator.conv(
            torch.view_as_real(features) if features.is_complex() else features
        )
        return embedded.shape[1] * embedded.shape[2] / self.seconds

    def macs_per_s(self, n_re: int) -> float:
        """Return the multiply-adds per second of audio at ``n_re`` repetitions."""
        # imported here, because the import is slow
        from torch.utils.flop_counter import FlopCounterMode

        self._separator.reconstructor_repeat_times = n_re
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self._separator(self._features, None)
        return counter.get_total_flops() / 2 / self.seconds


def count_cost(model: "SeparateSpeech", depths: Sequence[int]) -> dict[int, float]:
    """Return the multiply-adds per second of audio by depth, counted on ``COUNTED_SECONDS``."""
    counter = CostCounter(model.enh_model.encoder, model.separator, model.sample_rate)
    return {n_re: counter.macs_per_s(n_re) for n_re in depths}


class PeakMemory:
    """Context manager that measures the peak memory in use, above the level at entry.

    On a CUDA device the figure is PyTorch's exact count of the bytes in its tensors. On the CPU it
    is SAMPLED: a thread reads the resident size of this process every few milliseconds. It misses
    shorter peaks and memory that an allocator already held for reuse, and includes everything else
    that this process does in the meantime. Child processes are not counted.

    Args:
        device: PyTorch device that holds the tensors.
        level: baseline in bytes; None: the memory in use at entry.

    Attributes:
        level: baseline in bytes; None until the block is entered, unless given.
        peak: bytes above ``level``; 0 until the block has ended.

    Example:
        >>> with PeakMemory("cpu") as memory:
        ...     model(mixture)
        >>> memory.peak
    """

    def __init__(self, device: torch.device | str = "cpu", level: int | None = None):
        self.device = torch.device(device)
        self.level = level
        self.peak = 0

    def __enter__(self) -> Self:
        in_use = memory_in_use(self.device)
        if self.level is None:
            self.level = in_use
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._highest = in_use
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
        assert self.level is not None  # set at entry
        self.peak = max(0, highest - self.level)

    def _sample(self) -> None:
        """Poll the resident size until stopped, then sample once more."""
        running = True
        while running:
            running = not self._stop.wait(SAMPLE_EVERY_S)
            self._highest = max(self._highest, memory_in_use(self.device))


def memory_in_use(device: torch.device | str) -> int:
    """Return the bytes in use: by PyTorch's tensors on a CUDA device, or else by this process."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


@dataclass(frozen=True)
class DepthCost:
    """Cost of one depth on this machine.

    Attributes:
        n_re: repetitions N_re.
        macs_per_s: the separator's multiply-adds per second of audio.
        rtf: real-time factor: seconds of computation per second of audio.
        peak_bytes: peak memory in use, above that of the loaded model.
    """

    n_re: int
    macs_per_s: float
    rtf: float
    peak_bytes: int


def measure(
    model: "SeparateSpeech",
    seconds: float,
    depths: Sequence[int],
    repeats: int = 3,
    on_step: Callable[[], None] | None = None,
) -> list[DepthCost]:
    """Measure the cost of single runs at several depths.

    The first run at each depth is a warm-up, during which memory is measured. The timed runs
    follow. They alternate between the depths, so that other load affects all depths equally.

    Args:
        model: the loaded model.
        seconds: length of the one mixture that is separated.
        depths: repetitions N_re, in any order.
        repeats: number of timed runs at each depth, of which the median is used.
        on_step: called after each of the ``(1 + repeats) * len(depths)`` runs.

    Returns:
        One cost per depth, in the order of ``depths``.

    Raises:
        ValueError: an argument is out of range.
    """
    check_integer("repeats", repeats, 1)
    counter = CostCounter(model.enh_model.encoder, model.separator, model.sample_rate, seconds)
    macs = {n_re: counter.macs_per_s(n_re) for n_re in depths}
    mixture = speech_shaped_noise(seconds, model.sample_rate)[None]  # (1, n)
    level = memory_in_use(model.device)
    peaks: dict[int, int] = {}
    times: dict[int, list[float]] = {n_re: [] for n_re in macs}
    for repeat in range(1 + repeats):
        for n_re in macs:
            if repeat == 0:
                with PeakMemory(model.device, level) as memory:
                    model(mixture, fs=model.sample_rate, n_re=n_re)
                peaks[n_re] = memory.peak
            else:
                began = time.perf_counter()
                # no synchronisation needed: the result is in host memory, so the device is done
                model(mixture, fs=model.sample_rate, n_re=n_re)
                times[n_re].append(time.perf_counter() - began)
            if on_step is not None:
                on_step()
    rtfs = {n_re: statistics.median(times[n_re]) / seconds for n_re in macs}
    return [DepthCost(n_re, macs[n_re], rtfs[n_re], peaks[n_re]) for n_re in depths]
