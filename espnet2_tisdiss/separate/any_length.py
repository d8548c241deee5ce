"""Separation of recordings and files of any length with a model of any backend.

Axis letters: c channel, j speaker, n sample.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_tisdiss.audio.channels import take_channels
from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.checks import check_integer
from espnet2_tisdiss.choices import RATES, Channel
from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.separate.calibration import ExpectedQuality
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.separate.doubts import (
    channel_powers,
    doubt_of_channels,
    doubt_of_estimates,
    estimate_powers,
)
from espnet2_tisdiss.separate.file_result import FileResult
from espnet2_tisdiss.separate.files import separate_files
from espnet2_tisdiss.separate.input_files import InputFile, durations_of, name_of, to_separate
from espnet2_tisdiss.separate.live import LiveSeparator
from espnet2_tisdiss.separate.loudness import ScaleStatistics, rescale_channels
from espnet2_tisdiss.separate.names import with_refusals
from espnet2_tisdiss.separate.options import FileOptions, RecordingOptions
from espnet2_tisdiss.separate.recordings import channels_of, separate_recording
from espnet2_tisdiss.user_files import check_is_path, check_path

if TYPE_CHECKING:  # not every model runs on PyTorch
    from torch import Tensor


class RecordingSeparator(DepthSeparator):
    """A model that separates recordings and files of any length and sample rate."""

    def recording(
        self,
        samples: "Tensor | np.ndarray",
        rate: int | None = None,
        options: RecordingOptions | None = None,
        **changes: Any,
    ) -> np.ndarray:
        """Separate a recording of any length and sample rate.

        Recordings longer than a chunk are separated in overlapping chunks, with the speakers kept
        in order, so the model's memory does not grow with the length.

        Args:
            samples: (n,), or (n, c) as soundfile reads them: an array or tensor of floats with full
                scale 1, or of 8-, 16- or 32-bit integers.
            rate: sample rate in Hz, required. If it is not the model's, samples are resampled to
                that rate and back.
            options: options of the separation; None: :class:`RecordingOptions` with its defaults.
            **changes: options that differ, by name, such as ``n_re=4``.

        Returns:
            The speakers, float32 (j, n); with the channel ``each`` (c, j, n).

        Raises:
            TisdissError: there are no samples, some are not finite, a path was given instead, or
                the rate is missing.
            OptionError: an option has an invalid value.
        """
        options = replace(options or RecordingOptions(), **changes)
        if options.is_several:
            raise OptionError("n_re must be one depth for a recording in memory; see files")
        there = channels_of(samples)
        if rate is None:
            raise TisdissError("recording(samples, rate) needs the sample rate in Hz")
        channels = take_channels(there, options.channel)
        rate = check_integer("rate", rate, RATES[0], RATES[-1])
        length = channels.shape[1] / rate
        options = options.for_model(self)
        budget = options.budget([[length] * len(channels)], self.sample_rate)
        if rate != self.sample_rate:
            logging.warning("resampling from %d Hz to the model's %d", rate, self.sample_rate)
        separated = [separate_recording(self, one, rate, options, budget) for one in channels]
        if budget is not None:
            budget.log()
        mixtures, estimates, _ = zip(*separated, strict=True)
        _warn_of_doubts(there, rate, options.channel, separated)
        scaled = rescale_channels(options.scale, mixtures, estimates)
        return np.stack(scaled) if options.channel == "each" else scaled[0]

    def live(self, rate: int, **options: Any) -> LiveSeparator:
        """Return an object that separates sound while it arrives.

        Args:
            rate: sample rate of the blocks in Hz.
            **options: of :class:`~espnet2_tisdiss.separate.live.LiveSeparator`, such as
                ``latency=0.5``, ``n_re=2`` and ``keep_up=True``.

        Raises:
            OptionError: an option has an invalid value.
        """
        return LiveSeparator(self, rate, **options)

    def file(
        self, path: str | Path, options: RecordingOptions | None = None, **changes: Any
    ) -> tuple[np.ndarray, int]:
        """Separate an audio file in memory, as :meth:`recording` does.

        Args:
            path: the file, of any format that soundfile reads.
            options: as for :meth:`recording`.
            **changes: as for :meth:`recording`.

        Returns:
            The speakers, float32 (j, n) or (c, j, n), and the file's sample rate in Hz.

        Raises:
            AudioError: the file cannot be read.
            TisdissError, OptionError: as for :meth:`recording`.
        """
        check_path(path, "recording(samples, rate) separates an array")
        options = replace(options or RecordingOptions(), **changes)
        # with "each", all channels are needed to tell whether they are related
        each = "each" if options.channel == "mean" else options.channel
        samples = np.concatenate(list(read_blocks(path, each)), axis=1)
        rate = probe(path).rate
        return self.recording(samples.T, rate, options), rate

    def files(
        self,
        paths: Iterable[str | Path] | str | Path,
        folder: str | Path,
        options: FileOptions | None = None,
        **changes: Any,
    ) -> Iterator[FileResult]:
        """Separate audio files of any length into one file per speaker, block by block.

        Args:
            paths: the files, or one.
            folder: folder for the separated files.
            options: options of the separation; None: :class:`FileOptions` with its defaults.
            **changes: options that differ, by name, such as ``n_re=[1, 4]``.

        Returns:
            The result of each file, as soon as it is done. A file that fails does not stop the
            others: its result has the status ``failed`` and the reason.

        Raises:
            TisdissError: the options do not match the model, or contradict each other.
            OptionError: an option has an invalid value.

        Example:
            >>> for result in model.files(["a.wav", "b.flac"], "separated", n_re=4):
            ...     print(result.status, result.outputs)
        """
        options = replace(options or FileOptions(), **changes).for_model(self)
        check_path(folder, "give the folder of the separated files")
        if isinstance(paths, str | os.PathLike):
            paths = [paths]
        paths = list(paths)
        for path in paths:  # an impossible path fails without stopping the others
            check_is_path(path, "recording(samples, rate) separates an array")
        inputs = [InputFile(path, Path(folder), name_of(path)) for path in map(Path, paths)]
        durations = with_refusals(durations_of(inputs, options.channel), options, self.num_spk)
        budget = None
        if options.is_timed:
            work = to_separate(durations, options, self.num_spk)
            budget = options.budget(work, self.sample_rate)
        return separate_files(self, list(durations), options, budget)


def _warn_of_doubts(
    there: np.ndarray,
    rate: int,
    channel: Channel,
    separated: Sequence[tuple[np.ndarray, np.ndarray, ExpectedQuality]],
) -> None:
    """Warn of channels (c, n) and of estimates (j, n), with their mixtures, that are doubtful."""
    is_chosen = len(there) > 1 and channel in ("mean", "each")
    if is_chosen and (doubt := doubt_of_channels(channel_powers(rate).push(there), channel)):
        logging.warning(doubt)
    for number, (mixture, estimates, expected) in enumerate(separated, start=1):
        statistics = ScaleStatistics(len(estimates)).update(mixture, estimates)
        powers = estimate_powers(rate).push(estimates)
        if doubt := doubt_of_estimates(statistics, powers) or expected.doubt:
            logging.warning(f"channel {number}: {doubt}" if len(separated) > 1 else doubt)
