"""How a separated file was made: model, depth and options, in a comment inside the file.

All output formats can hold a comment, so no extra file is needed, and the comment stays when a file
is copied or renamed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet2_tisdiss.audio.writing import read_comment
from espnet2_tisdiss.separate.interface import Model
from espnet2_tisdiss.separate.options import FileOptions

_START = "tisdiss: "


def comment_of(model: Model, options: FileOptions, n_re: int, channels: int) -> str:
    """Return the comment of a file.

    Args:
        model: the model.
        options: for this model.
        n_re: the file's depth, or the maximum that a limit allowed.
        channels: number of channels of the recording.
    """
    chunking = options.chunking(model.sample_rate)
    limits = {"RTF": options.rtf, "seconds": options.seconds, "stop at dB": options.stop_db}
    limits |= {"until dB": options.until_db}
    if options.until_db is not None:
        limits |= {"probability": options.probability}
    facts = {
        "model": model.fingerprint,
        "model rate": model.sample_rate,
        "N_re": n_re,
        **{name: f"{value:g}" for name, value in limits.items() if value is not None},
        **({"channel": options.channel} if channels > 1 else {}),
        "scale": options.scale,
        "chunk": chunking.length,
        "overlap": chunking.overlap,
        "shifts": options.shifts,
        "rumble": "kept" if options.keep_rumble else "removed",
        "format": options.output.subtype,
        "rate": options.rate,
    }
    return _START + "; ".join(f"{name} {value}" for name, value in facts.items())


def differences(files: Mapping[Path, str]) -> str:
    """Return how existing files were made differently from the current run; empty if they were not.

    Args:
        files: existing file -> the comment that it would get now.
    """
    found: dict[str, None] = {}  # in order, each once
    for path, expected in files.items():
        comment = read_comment(path)
        if not comment.startswith(_START):
            return "with a model and options that it does not state"
        before, now = _facts(comment), _facts(expected)
        for name in {**now, **before}:
            was, is_now = before.get(name), now.get(name)
            if was == is_now:
                continue
            if name == "model":
                found["with another model"] = None
            elif was is None or is_now is None:
                found[f"{'without' if was is None else 'with'} {name} {was or is_now}"] = None
            else:
                found[f"with {name} {was}, not {is_now}"] = None
    return ", ".join(found)


def _facts(comment: str) -> dict[str, str]:
    """Return the facts of a comment by name."""
    parts: Sequence[str] = comment.removeprefix(_START).split("; ")
    return {name: value for name, _, value in (part.rpartition(" ") for part in parts)}
