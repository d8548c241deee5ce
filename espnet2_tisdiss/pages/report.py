"""One HTML file that reports on a folder: an experiment, a sweep, or separated files."""

import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import draw_histogram
from espnet2_tisdiss.pages.html import (
    folded,
    heading,
    page,
    paragraph,
    picture,
    table,
)
from espnet2_tisdiss.pages.report_recordings import (
    SHOWN_SECONDS,
    Separated,
    beginning,
    likeness,
    mixtures_of,
    separated_files,
    separated_lists,
    show,
)
from espnet2_tisdiss.pages.scores import GAIN, RESULTS, SWEEP, SetScores, read_scores

WORST = 10
MOST_RECORDINGS = 500  # number of recordings that are compared in a folder of separated files
CONFIG = "config.yaml"
CONFIG_LIMIT = 200_000
PICTURES = {
    "training_curve.png": "SI-SNR in dB by training step and depth",
    "quality_by_cost.png": "SI-SNR improvement in dB against cost",
    "quality_by_rtf.png": "SI-SNR improvement in dB against the real-time factor",
}
PACKAGES = ("espnet2_tisdiss", "espnet", "torch", "numpy")


def make_report(folder: Path, data: Sequence[Path] = ()) -> str:
    """Return the report of a folder as HTML.

    Args:
        folder: folder of an experiment, a sweep or separated files.
        data: data directories of test sets, for the mixtures.

    Raises:
        TisdissError: the folder holds nothing to report.
    """
    if not folder.is_dir():
        raise TisdissError(f"{folder}: is no folder; give that of an experiment, a sweep or files")
    sets = read_scores(folder)
    pictures = {name: words for name, words in PICTURES.items() if (folder / name).is_file()}
    recordings = [] if sets or pictures else separated_files(folder)
    if not (sets or pictures or recordings):
        raise TisdissError(
            f"{folder}: holds no scores ({RESULTS}, {SWEEP}), no curve of a training and no "
            "separated files (talk_spk1.wav); give the folder of an experiment, a sweep or files"
        )
    parts: list[str] = []
    for scores in sets:
        parts += _set_section(folder, scores, data)
    if recordings:
        parts += _files_section(recordings)
    if pictures:
        parts.append(heading("Curves"))
        parts += [picture((folder / name).read_bytes(), words) for name, words in pictures.items()]
    parts += _about(folder)
    return page(f"Report of {folder.resolve().name}", parts)


def _set_section(folder: Path, scores: SetScores, data: Sequence[Path]) -> list[str]:
    """Return the section of a test set."""
    best = scores.best
    shown = dict.fromkeys([next(iter(scores.depths)), best])
    drawn = draw_histogram(
        {f"N_re {n_re}": list(scores.gains(n_re).values()) for n_re in shown},
        "SI-SNR improvement [dB]",
        "mixtures",
    )
    return [
        heading(scores.name),
        paragraph(
            f"{len(scores.gains(best))} mixtures. Means over speakers, then mixtures; STOI in "
            f"percent, the others in dB. 10 % and 90 %: percentiles of {GAIN}, the improvement "
            f"over the mixture; worse: share of mixtures that lose. Best: N_re {best}."
        ),
        _depth_table(scores),
        picture(drawn, f"histogram of the SI-SNR improvement in dB of {scores.name}"),
        *_worst(folder, scores, data),
    ]


def _depth_table(scores: SetScores) -> str:
    """Return the means and the spread by depth."""
    metrics = [name for name in scores.means(scores.best) if name != GAIN]
    rows = []
    for n_re in scores.depths:
        gains, means = list(scores.gains(n_re).values()), scores.means(n_re)
        spread = [np.mean(gains), np.median(gains), *np.percentile(gains, [10, 90])]
        row = [n_re, *(f"{value:.2f}" for value in spread), f"{np.mean(np.less(gains, 0)):.0%}"]
        rows.append(row + [f"{means[name]:.2f}" if name in means else "" for name in metrics])
    return table(["N_re", GAIN, "median", "10 %", "90 %", "worse", *metrics], rows)


def _worst(folder: Path, scores: SetScores, data: Sequence[Path]) -> list[str]:
    """Return the section of the mixtures that gain least, with pictures and players."""
    worst, best = scores.worst(WORST), scores.best
    rows = [
        [key, *(f"{scores.gains(n_re).get(key, np.nan):.2f}" for n_re in scores.depths)]
        for key in worst
    ]
    parts = [
        heading(f"The {len(worst)} worst of {scores.name}", 3),
        table(["mixture", *(f"{GAIN} at N_re {n_re}" for n_re in scores.depths)], rows),
    ]
    speakers = separated_lists(folder, scores.name, best)
    mixtures = mixtures_of(data, scores.name, folder)
    if not speakers and not mixtures:
        return parts
    parts.append(_players_note(f"N_re {best}"))
    for key in worst:
        found = {"mixture": mixtures[key]} if key in mixtures else {}
        for number, one in enumerate(speakers, start=1):
            found |= {f"speaker {number}": one[key]} if key in one else {}
        parts += [heading(f"{key}: {scores.gains(best)[key]:.2f} dB", 4), *show(found)]
    return parts


def _players_note(depth: str) -> str:
    return paragraph(
        f"The first {SHOWN_SECONDS:g} s at {depth}. Each player has the same peak, whatever the "
        "level of its file. Spectrograms: dark is loud."
    )


def _files_section(recordings: Sequence[Separated]) -> list[str]:
    """Return the section of a folder of separated files."""
    likeness_of: dict[Separated, float] = {}
    failed: list[str] = []
    step = -(-len(recordings) // MOST_RECORDINGS)
    for recording in recordings[::step]:
        try:
            signals = [beginning(path)[0] for path in recording.files]
            likeness_of[recording] = likeness(signals)
        except TisdissError as error:
            failed.append(paragraph(error))
    by_depth: dict[str, list[float]] = {}
    for recording, value in likeness_of.items():
        by_depth.setdefault(recording.n_re or "of the run", []).append(value)
    parts = [
        heading("Separated recordings"),
        paragraph(
            f"{len(recordings)} recordings, {len(likeness_of)} of them compared. Without the "
            "sources there are no scores. Likeness is the correlation of the two speakers' files "
            f"in the first {SHOWN_SECONDS:g} s: 0 nothing in common, 1 the same, as when the "
            "separation failed."
        ),
        *failed,
    ]
    if not likeness_of:
        return parts
    rows = [
        [n_re, len(ones), f"{np.mean(ones):.3f}", f"{np.max(ones):.3f}"]
        for n_re, ones in sorted(by_depth.items(), key=lambda item: item[0].zfill(4))
    ]
    named = {f"N_re {n_re}": ones for n_re, ones in by_depth.items()}
    parts += [
        table(["N_re", "recordings", "mean likeness", "highest"], rows),
        picture(draw_histogram(named, "likeness", "recordings"), "histogram of the likeness"),
    ]
    worst = sorted(likeness_of, key=likeness_of.__getitem__, reverse=True)[:WORST]
    parts += [heading(f"The {len(worst)} most alike", 3), _players_note("their depth")]
    for recording in worst:
        depth = f", N_re {recording.n_re}" if recording.n_re else ""
        parts.append(heading(f"{recording.name}{depth}: {likeness_of[recording]:.3f}", 4))
        labels = (f"speaker {number}" for number, _ in enumerate(recording.files, start=1))
        parts += show(dict(zip(labels, recording.files, strict=True)))
    return parts


def _about(folder: Path) -> list[str]:
    """Return versions and configuration."""
    facts: list[list[object]] = [["folder", folder.resolve()]]
    facts += [["written", f"{datetime.now().astimezone():%F %T %z}"]]
    facts += [["Python", platform.python_version()]]
    facts += [[name, installed_version(name)] for name in PACKAGES]
    parts = [heading("Versions"), table(["", "when the report was written"], facts)]
    config = folder / CONFIG
    if config.is_file():
        content = config.read_text(encoding="utf-8", errors="replace")[:CONFIG_LIMIT]
        parts += [heading("Configuration"), folded(CONFIG, content)]
    return parts


def installed_version(package: str) -> str:
    """Return the version of an installed package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
