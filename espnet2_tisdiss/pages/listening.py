"""The content of the listening page: a recording's voices at every depth, as sound and plots."""

import base64
import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from espnet2_tisdiss.audio.reading import probe, read_samples
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import Curve, draw_curves, draw_spectrograms
from espnet2_tisdiss.pages.html import text
from espnet2_tisdiss.separate.depths import change_db
from espnet2_tisdiss.separate.loudness import headroom_gain

if TYPE_CHECKING:
    from espnet2_tisdiss.separate.speech import SeparateSpeech

SHOWN_SECONDS = 10.0  # length of the spectrograms, which are unreadable if longer


@dataclass(frozen=True)
class Separation:
    """A recording that was separated at every depth.

    Attributes:
        rate: in Hz.
        mixture: (n,), the mean of the channels.
        voices: N_re -> (j, n).
        sources: (j, n), if they are known.
        seconds: time that the separation took.
        suggested: N_re to show first.
    """

    rate: int
    mixture: np.ndarray
    voices: Mapping[int, np.ndarray]
    sources: np.ndarray | None
    seconds: float
    suggested: int


def separate(
    model: "SeparateSpeech",
    path: Path,
    most_seconds: float,
    rtf: float | None = None,
    sources: Sequence[Path] = (),
) -> Separation:
    """Separate a file at every depth, in one run; nothing stays on the disk.

    Args:
        model: the model.
        path: the file.
        most_seconds: longest recording that is accepted.
        rtf: real-time factor that chooses the depth to show first; None: as trained.
        sources: files of the sources, if they are known.

    Raises:
        TisdissError: the file cannot be separated, or is too long.
    """
    info = probe(path, on_notice=lambda _: None)
    if info.duration > most_seconds:
        raise TisdissError(
            f"the recording is {info.duration:.0f} s long; this page takes {most_seconds:g} s at "
            "most: cut it, or use tisdiss separate"
        )
    deepest = model.separator.config.deepest_useful
    suggested = model.resolve_depth()
    with tempfile.TemporaryDirectory() as folder:
        if rtf is not None:
            (timed,) = model.files([path], Path(folder, "timed"), rtf=rtf)
            suggested = max(timed.n_re, default=suggested)
        began = time.monotonic()
        (result,) = model.files([path], folder, n_re=list(range(1, deepest + 1)))
        seconds = time.monotonic() - began
        if result.status != "done":
            reason = str(result.reason).replace(f"{path}", path.name)
            raise TisdissError(f"the file cannot be separated: {reason}")
        read = [read_samples(output)[:, 0] for output in map(Path, result.outputs)]
    voices = np.stack(read).reshape(deepest, model.num_spk, -1)
    return Separation(
        info.rate,
        read_samples(path).mean(axis=1),
        dict(zip(range(1, deepest + 1), voices, strict=True)),
        np.stack([read_samples(source)[:, 0] for source in sources]) if sources else None,
        seconds,
        min(suggested, deepest),
    )


def tracks(found: Separation, depths: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the mixture and the voices at the chosen depths, by label."""
    signals = {"mixture": found.mixture}
    for n_re in dict.fromkeys(depths):
        for number, voice in enumerate(found.voices[n_re], start=1):
            signals[f"voice {number}, N_re {n_re}"] = voice
    return signals


def mixer(found: Separation, depths: Sequence[int]) -> str:
    """Return the tracks as HTML that mixer.js plays in sync."""
    signals = tracks(found, depths)
    gain = headroom_gain(max(float(np.abs(signal).max()) for signal in signals.values()))
    rows = []
    for label, samples in signals.items():
        source = _wav(gain * samples, found.rate)
        muted = label == "mixture" or not label.endswith(f"N_re {depths[0]}")
        rows.append(
            f'<div class="track" data-src="{source}" data-label="{text(label)}">'
            f'<span class="label">{text(label)}</span>'
            f'<button type="button" data-act="mute" aria-pressed="{str(muted).lower()}">mute'
            '</button><button type="button" data-act="solo" aria-pressed="false">solo</button>'
            f'<a download="{text(label.replace(", ", "_").replace(" ", ""))}.wav" '
            f'href="{source}">download</a></div>'
        )
    length = len(found.mixture) / found.rate
    return (
        f'<div class="mixer" data-seconds="{length:.3f}"><button type="button" data-act="play">'
        f'play</button><input type="range" data-act="seek" min="0" max="{length:.3f}" '
        f'step="0.01" value="0" aria-label="position in seconds"><span class="clock">0.0 s</span>'
        f"{''.join(rows)}</div>"
    )


def spectrograms(found: Separation, depths: Sequence[int]) -> bytes:
    """Return spectrograms of the beginning of the tracks, a row for each depth."""
    last = round(SHOWN_SECONDS * found.rate)
    rows = []
    for n_re in dict.fromkeys(depths):
        signals = tracks(found, [n_re])
        rows.append({label: samples[:last] for label, samples in signals.items()})
    return draw_spectrograms(rows, found.rate)


def curve(found: Separation) -> bytes:
    """Return the curve by depth: SI-SNRi or, without sources, the change by each repetition."""
    depths = sorted(found.voices)
    if found.sources is not None:
        from espnet2_tisdiss.evaluate.by_depth import improvement

        signals = np.stack([found.mixture, *found.sources])
        gains = [improvement(signals, found.voices[n_re]) for n_re in depths]
        return _curve(depths, gains, "SI-SNR improvement [dB]", "Quality")
    changes = [change_db(found.voices[n_re - 1], found.voices[n_re]) for n_re in depths[1:]]
    title = "Change by each repetition: a small change means that little is left to gain"
    return _curve(depths[1:], changes, "change of the voices [dB]", title)


def _curve(depths: Sequence[int], values: Sequence[float], label: str, title: str) -> bytes:
    line = Curve([float(n_re) for n_re in depths], list(values))
    return draw_curves({"this recording": line}, "repetitions N_re", label, title)


def _wav(samples: np.ndarray, rate: int) -> str:
    """Return a data address with a waveform as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}"
