"""Make LibriMix's 16-bit files from LibriSpeech, WHAM!'s noise and the metadata.

Samples are computed in 32-bit floating point and converted to 16 bits by soundfile, as in the
public scripts, so that the files are equal bit for bit.
Axis letter: n sample.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.corpora.files import (
    common_length,
    find_root,
    fit,
    frames_at,
    read_source,
    to_rate,
    write_audio,
)
from espnet2_tisdiss.recipes.librimix.metadata import Mixture
from espnet2_tisdiss.recipes.librimix.tree import SUBSETS, Task
from espnet2_tisdiss.recipes.signals import frames_of, is_whole

RATE = 16000  # of LibriSpeech and of WHAM!'s noise
# noises of the training set at other speeds, which LibriMix stores next to the originals
PERTURBED = re.compile(r"(?P<original>.+)sp(?P<speed>08|12)")
SPEEDS = {"08": 0.8, "12": 1.2}


def make_mixture(
    task: Task, librispeech: Path, wham_noise: Path | None, folder: Path, mixture: Mixture
) -> int:
    """Make the missing files of a mixture; return its length in samples.

    Args:
        task: which mixtures.
        librispeech: folder of LibriSpeech's subsets.
        wham_noise: folder of WHAM!'s noise; None if the task has no noise.
        folder: the set's folder.
        mixture: one of the set.
    """
    paths = [librispeech / source.path for source in mixture.sources]
    lengths = [frames_at(frames_of(path, RATE), RATE, task.rate) for path in paths]
    length = common_length(lengths, task.version)
    files = task.files(folder, mixture.name).values()
    missing = [path for path in files if not is_whole(path, length, task.rate)]
    if missing:
        sources = [_read(path) for path in paths]
        noise = None
        if wham_noise is not None:
            noise = read_noise(wham_noise, mixture.noise.path, max(map(len, sources)))
        signals = mix(task, mixture, sources, noise)
        for path in missing:
            write_audio(path, to_16_bits(signals[path.parent.name]), task.rate)
    return length


def find_librispeech(given: Path | None, names: Sequence[str]) -> Path:
    """Return the folder of LibriSpeech's subsets, which must contain those of ``names``."""
    what = (
        "LibriSpeech (https://www.openslr.org/12), or in place of it a LibriMix tree (LIBRIMIX, "
        "--librimix)"
    )
    root = find_root(given, "--librispeech", "LIBRISPEECH", what)
    inner = root / "LibriSpeech"  # the folder that the archives unpack to
    root = inner if inner.is_dir() else root
    for name in names:
        if not (root / SUBSETS[name]).is_dir():
            raise TisdissError(f"{root}: LibriSpeech's folder {SUBSETS[name]} is not there")
    return root


def find_wham_noise(given: Path | None) -> Path:
    """Return the folder of WHAM!'s noise."""
    what = "WHAM!'s noise (http://wham.whisper.ai), the folder wham_noise"
    root = find_root(given, "--wham_noise", "WHAM_NOISE", what)
    for part in ("tr", "cv", "tt"):
        if not (root / part).is_dir():
            raise TisdissError(f"{root}: WHAM!'s folder {part} is not there")
    return root


def mix(
    task: Task, mixture: Mixture, sources: Sequence[np.ndarray], noise: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Return the signals of a mixture by their folders.

    Args:
        task: which mixtures.
        mixture: the gains.
        sources: the utterances at 16 kHz, each (n,), of different lengths.
        noise: as long as the longest of them; None if there is none.

    Returns:
        folder -> samples of shape (n,) at the task's rate, all of one length, beyond +-1 where
        they are loud.
    """
    parts = dict(zip([f"s{number + 1}" for number in range(task.num_spk)], sources, strict=True))
    gains = [source.gain for source in mixture.sources]
    if noise is not None:
        parts["noise"] = noise
        gains.append(mixture.noise.gain)
    resampled = [
        to_rate(samples * gain, RATE, task.rate)
        for samples, gain in zip(parts.values(), gains, strict=True)
    ]
    signals = dict(zip(parts, fit(resampled, task.version), strict=True))
    mixed = np.zeros_like(signals["s1"])
    for addend in list(task.lists.values())[1:]:
        mixed += signals[addend]
    return signals | {task.condition: mixed}


def to_16_bits(samples: np.ndarray) -> np.ndarray:
    """Return samples (n,) as soundfile writes them: int16, saturating, rounded down."""
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, RATE, format="RAW", subtype="PCM_16", endian="CPU")
    return np.frombuffer(encoded.getvalue(), np.int16)


def read_noise(wham_noise: Path, name: str, length: int) -> np.ndarray:
    """Read the first channel of a noise, extended or cut to ``length`` samples (n,) at 16 kHz.

    A missing noise at another speed is made from its original.
    """
    path = wham_noise / name
    perturbed = PERTURBED.fullmatch(path.stem)
    if path.is_file() or not perturbed:
        noise = _read(path, channel=0)
    else:
        original = path.with_stem(perturbed["original"])
        if not original.is_file():
            raise TisdissError(f"{path}: no such file, nor its original {original.name}")
        noise = soxr.resample(_read(original, 0), RATE * SPEEDS[perturbed["speed"]], RATE)
    if len(noise) < length and len(noise) <= RATE // 2 + 1:
        raise TisdissError(f"{path}: lasts half a second or less, too short to be repeated")
    return extend_noise(noise[:length], length)


def extend_noise(noise: np.ndarray, length: int) -> np.ndarray:
    """Repeat a noise (n,) to ``length`` samples, cross-faded by the halves of a 1-s Hann window.

    Args:
        noise: more than half a second at 16 kHz, unless it is long enough.
        length: wanted number of samples.
    """
    fade_in = np.hanning(RATE + 1)[: RATE // 2 + 1]
    fade_out = fade_in[::-1]
    overlap = len(fade_in)
    extended = noise
    while len(extended) < length:
        joint = extended[-overlap:] * fade_out + noise[:overlap] * fade_in
        extended = np.concatenate([extended[:-overlap], joint, noise[overlap:]])
    return extended[:length]


def _read(path: Path, channel: int | None = None) -> np.ndarray:
    return read_source(path, RATE, channel).astype(np.float32)
