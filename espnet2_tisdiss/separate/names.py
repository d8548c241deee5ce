"""Checks of a run's output names before it starts: all differ and are in the output folder."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from espnet2_tisdiss.audio.folders import real_paths
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.input_files import InputFile, output_paths
from espnet2_tisdiss.separate.options import FileOptions


def with_refusals(
    inputs: Mapping[InputFile, list[float]], options: FileOptions, num_spk: int
) -> dict[InputFile, list[float]]:
    """Return the inputs in order, those whose output names are taken with a refusal.

    Args:
        inputs: item -> seconds of each channel to separate. The list of an unreadable file is
            empty: it claims no names.
        options: how the files are separated and named.
        num_spk: speakers of the model.

    Raises:
        TisdissError: two outputs of one recording have the same name.
    """
    recordings = real_paths(item.source for item in inputs if isinstance(item.source, Path))
    recording_at = {path: source for source, path in recordings.items()}
    owner: dict[str, InputFile] = {}
    checked: dict[InputFile, list[float]] = {}
    for item, seconds in inputs.items():
        channels = range(1, len(seconds) + 1)
        paths = [path for n in channels for path in output_paths(item, options, n, num_spk)]
        real_of = real_paths(paths)
        real = [real_of[path] for path in paths]
        if len(set(real)) < len(real):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise TisdissError(
                f"the pattern {options.file_names} gives two outputs of {item.source} the name "
                f"{twice}; separate its numbers, as {{channel}}_{{n_re}} does"
            )
        refusal = ""
        if other := next((owner[path] for path in real if path in owner), None):
            refusal = (
                f"has the same output names as {other.source}; put {{ext}} into --pattern, or "
                "separate it in another run, into another folder"
            )
        elif found := next((recording_at[path] for path in real if path in recording_at), None):
            refusal = f"its output would replace the recording {found}; choose another --out"
        elif paths and not _are_inside(paths, item.folder):
            refusal = "its name leads out of the output folder; choose another --pattern"
        else:
            owner.update(dict.fromkeys(real, item))
        checked[dataclasses.replace(item, refusal=refusal)] = seconds
    return checked


def _are_inside(paths: list[Path], folder: Path) -> bool:
    """Return whether the paths stay in a folder, judged by their names."""
    root = os.path.abspath(folder)
    return all(os.path.abspath(path).startswith(os.path.join(root, "")) for path in paths)
