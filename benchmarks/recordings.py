"""Separate stereo recordings at 44.1 kHz with the command line, and score each speaker.

    python benchmarks/recordings.py data/test_clean_default_0 --out recordings

makes recordings of a data directory's mixtures: both speakers are resampled to 44.1 kHz and panned,
the first one to the left and the second one to the right. `tisdiss separate` runs on these files.
The command separates the mean of both channels, so its output is scored against each speaker's part
of that mean, at 44.1 kHz and at 16 kHz. Sources below 44.1 kHz are silent above half of their rate,
so a score at 44.1 kHz also includes anything that the command adds there.
"""

import argparse
import io
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fast_bss_eval
import numpy as np
import soundfile
import soxr
from measuring import count, run_main
from PIL import Image
from results import check_page, record, table

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.by_depth import LIMIT_DB
from espnet2_tisdiss.evaluate.mixtures import EvalMixture, find_mixtures
from espnet2_tisdiss.evaluate.pictures import draw_spectrograms
from espnet2_tisdiss.recipes.signals import read_signal, write_signal

RATE = 44100
SCORED_RATES = (44100, 16000)
PEAK = 0.9
# degrees from the left (0) to the right (90), drawn for each speaker
PLACES = ((10, 35), (55, 80))
SIDES = ("left", "right")
SECTION = "recordings"
PICTURE = Path("images/recordings.png")
NAMES = "{name}_re{n_re}_spk{speaker}"  # of the command's files


@dataclass(frozen=True)
class Recording:
    """A stereo recording.

    Attributes:
        name: that of its file, without suffix.
        channels: (n, 2), at 44.1 kHz.
        speakers: each speaker's part of the mean channel, (2, n).
    """

    name: str
    channels: np.ndarray
    speakers: np.ndarray

    @property
    def level_db(self) -> float:
        """Level of the left speaker above the right one, in the mean channel."""
        left, right = np.mean(np.square(self.speakers), axis=1)
        return 10 * math.log10(left / right)


# recording -> depth, 0 for the mixture -> SI-SNR in dB by rate and speaker, (2, 2)
Scores = dict[str, dict[int, np.ndarray]]


def main(argv: list[str] | None = None) -> None:
    """Make the recordings, separate and score them, and print the tables."""
    args = _arguments(argv)
    check_page(args.page, SECTION)
    mixtures = find_mixtures(args.data, 2)
    number = min(args.number, len(mixtures))
    chosen = [mixtures[place * len(mixtures) // number] for place in range(number)]
    rng = np.random.default_rng(args.seed)
    recordings = [make_recording(mixture, rng) for mixture in chosen]
    for one in recordings:
        write_signal(args.out / f"{one.name}.wav", one.channels, RATE, "PCM_16")
    separate(args.out, recordings, args)
    scores = {one.name: score_depths(one, args.out, args.n_re) for one in recordings}
    gains = improvements(scores, args.n_re)
    best = max(gains, key=lambda n_re: gains[n_re].mean())
    text = report(recordings, scores, gains, best)
    text = f"SI-SNRi in dB of `{Path(args.model).name}` {text}"
    sys.stdout.write(text)
    write_atomically(args.out / "scores.md", text)
    picture = fewer_colours(draw(recordings[0], args.out, (args.n_re[0], best)))
    write_atomically(args.out / PICTURE.name, picture)
    if args.page:
        image = args.page.parent / PICTURE
        image.parent.mkdir(exist_ok=True)
        write_atomically(image, picture)
        record(args.page, SECTION, f"{text}\n![spectrograms of the first recording]({PICTURE})\n")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="data directory: wav.scp, spk1.scp and spk2.scp")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything written")
    parser.add_argument("--number", type=count, default=8, help="of recordings [%(default)s]")
    parser.add_argument("--n_re", type=count, nargs="+", default=[1, 2, 3, 4], help="depths")
    parser.add_argument("--model", default="voices", help="as for tisdiss separate [%(default)s]")
    parser.add_argument("--threads", type=count, default=2, help="of the CPU [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of the places [%(default)s]")
    parser.add_argument("--page", type=Path, help="page to write the section of, *.md [none]")
    args = parser.parse_args(argv)
    args.n_re = sorted(set(args.n_re))
    return args


def make_recording(mixture: EvalMixture, rng: np.random.Generator) -> Recording:
    """Return two speakers at 44.1 kHz, panned at equal power, with a common peak.

    Raises:
        TisdissError: a source cannot be read, or they differ in rate or length.
    """
    sources = [read_signal(str(path)) for path in mixture.references]
    if len({(source.rate, len(source.samples)) for source in sources}) > 1:
        raise TisdissError(f"{mixture.name}: its sources differ in rate or length")
    rate = sources[0].rate
    mono = np.stack([soxr.resample(source.samples, rate, RATE) for source in sources])
    angles = np.radians([rng.uniform(*place) for place in PLACES])
    gains = np.stack([np.cos(angles), np.sin(angles)])  # (channel, speaker)
    channels = (gains @ mono).T
    scale = PEAK / np.abs(channels).max()
    return Recording(mixture.name, scale * channels, scale * gains.mean(0)[:, None] * mono)


def separate(folder: Path, recordings: Sequence[Recording], args: argparse.Namespace) -> None:
    """Run the command on the recordings' files.

    Raises:
        TisdissError: it failed; it has said why.
    """
    command = Path(sys.executable).with_name("tisdiss")
    depths = ",".join(map(str, args.n_re))
    options = ["--model", args.model, "--n-re", depths, "--pattern", NAMES, "--overwrite"]
    options += ["--threads", str(args.threads), "--out", str(folder / "separated")]
    files = [str(folder / f"{one.name}.wav") for one in recordings]
    if subprocess.run([command, "separate", *options, *files], check=False).returncode:
        raise TisdissError("tisdiss separate failed")


def read_estimates(folder: Path, name: str, n_re: int) -> np.ndarray:
    """Return the command's output for a recording at a depth, (2, n).

    Raises:
        TisdissError: a file is not at 44.1 kHz.
    """
    waves = []
    for speaker in (1, 2):
        path = folder / "separated" / f"{NAMES.format(name=name, n_re=n_re, speaker=speaker)}.wav"
        wave, rate = soundfile.read(path)
        if rate != RATE:
            raise TisdissError(f"{path}: is at {rate} Hz, not at the recording's {RATE}")
        waves.append(wave)
    return np.stack(waves)


def score_depths(
    recording: Recording, folder: Path, depths: Sequence[int]
) -> dict[int, np.ndarray]:
    """Return the SI-SNR of each speaker by depth, with that of the mixture as depth 0."""
    mean = recording.channels.mean(axis=1)
    scores = {0: score(recording.speakers, np.stack([mean, mean]))}
    for n_re in depths:
        scores[n_re] = score(recording.speakers, read_estimates(folder, recording.name, n_re))
    return scores


def score(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Return the SI-SNR in dB by rate and speaker, (2, 2), in the better order of the speakers."""
    by_rate = []
    for rate in SCORED_RATES:
        pair = [soxr.resample(x.T, RATE, rate).T for x in (references, estimates)]
        by_rate.append(fast_bss_eval.si_sdr(*pair, zero_mean=True, clamp_db=LIMIT_DB))
    return np.stack(by_rate)


def improvements(scores: Scores, depths: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the improvement over the mixture by depth, (recording, rate, speaker)."""
    return {n_re: np.stack([one[n_re] - one[0] for one in scores.values()]) for n_re in depths}


def report(
    recordings: Sequence[Recording], scores: Scores, gains: Mapping[int, np.ndarray], best: int
) -> str:
    """Return the means by depth, and each recording's improvement at the best depth."""
    return (
        f"for each speaker, means over {len(recordings)} stereo recordings at 44.1 kHz:\n\n"
        f"{_by_depth(gains)}\n"
        f"Each recording at N_re {best}, scored at 44.1 kHz, in dB. The level is that of the left\n"
        "speaker above the right one, in the mean of both channels.\n\n"
        f"{_by_recording(recordings, scores, best)}"
    )


def _by_depth(gains: Mapping[int, np.ndarray]) -> str:
    header = ["N_re"]
    header += [f"{side}, {rate / 1000:g} kHz" for rate in SCORED_RATES for side in SIDES]
    header += ["worst speaker", "made worse"]
    rows = []
    for n_re, values in gains.items():
        speakers = values[:, 0]
        means = [f"{value:.2f}" for value in values.mean(axis=0).flat]
        worse = f"{np.sum(speakers < 0)} of {speakers.size}"
        rows.append([str(n_re), *means, f"{speakers.min():.2f}", worse])
    return table(header, rows)


def _by_recording(recordings: Sequence[Recording], scores: Scores, n_re: int) -> str:
    header = ["recording", "level", *(f"{side}: SI-SNR" for side in SIDES)]
    header += [f"{side}: SI-SNRi" for side in SIDES]
    rows = []
    for one in recordings:
        before, after = scores[one.name][0][0], scores[one.name][n_re][0]
        levels = [f"{value:.1f}" for value in (*after, *(after - before))]
        rows.append([one.name, f"{one.level_db:+.1f}", *levels])
    return table(header, rows)


def draw(recording: Recording, folder: Path, depths: Sequence[int]) -> bytes:
    """Draw a recording, its speakers and the estimates of them at two depths or one."""
    shown = {n_re: read_estimates(folder, recording.name, n_re) for n_re in depths}
    mean = recording.channels.mean(axis=1)
    _, order = fast_bss_eval.si_sdr(recording.speakers, shown[depths[-1]], return_perm=True)
    rows = []
    for speaker, side in enumerate(SIDES):
        columns = {f"{recording.name}, mean": mean, f"{side} speaker": recording.speakers[speaker]}
        columns |= {f"N_re {n_re}": waves[order[speaker]] for n_re, waves in shown.items()}
        rows.append({name: soxr.resample(x, RATE, SCORED_RATES[-1]) for name, x in columns.items()})
    return draw_spectrograms(rows, SCORED_RATES[-1])


def fewer_colours(picture: bytes) -> bytes:
    """Return a PNG file with 64 colours, a third of the size and as readable for spectrograms."""
    output = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(64)
    image.save(output, "png", optimize=True)
    return output.getvalue()


if __name__ == "__main__":
    run_main(main)
