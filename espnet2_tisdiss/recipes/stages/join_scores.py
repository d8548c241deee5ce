"""Join the score lists of parallel scoring jobs and average them.

A scoring folder holds ``<METRIC>_spk<i>`` (``<utterance> <value>``), ``wav_spk<i>`` (the separated
files in the order of the references) and ``result_<metric>.txt``, the mean over the speakers of
each utterance, then over the utterances.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp

METRICS = ("STOI", "ESTOI", "SAR", "SDR", "SIR", "SI_SNR")


def read_scores(folder: Path, metric: str) -> dict[str, float]:
    """Utterance -> score, the mean over its speakers."""
    tables = [
        read_scp(path)
        for path in sorted(folder.glob(f"{metric}_spk*"))
        if re.fullmatch(rf"{metric}_spk\d+", path.name)
    ]
    if not tables:
        raise TisdissError(f"{folder}: has no {metric} scores")
    if any(table.keys() != tables[0].keys() for table in tables):
        raise TisdissError(f"{folder}: the speakers' {metric} lists differ in their utterances")
    try:
        return {key: float(np.mean([float(table[key]) for table in tables])) for key in tables[0]}
    except ValueError as error:
        raise TisdissError(f"{folder}: {metric} is not a number: {error}") from None


def join_scores(jobs: Path, out_dir: Path) -> dict[str, float]:
    """Join ``<jobs>/<n>/out`` into ``out_dir``, write the means and return them by metric."""
    outs = sorted(jobs.glob("*/out"))
    if not outs:
        raise TisdissError(f"{jobs}: no scores were written")
    with replacing_folder(out_dir) as temporary:
        for path in sorted(outs[0].iterdir()):
            joined: dict[str, str] = {}
            for out in outs:
                joined |= read_scp(out / path.name)
            write_scp(temporary / path.name, joined)
        means = {
            metric: float(np.mean(list(read_scores(temporary, metric).values())))
            for metric in METRICS
        }
        for metric, mean in means.items():
            (temporary / f"result_{metric.lower()}.txt").write_text(
                f"{mean:.4f}\n", encoding="utf-8"
            )
    return means
