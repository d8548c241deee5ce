"""Small real corpora and a way to run the stage driver, for tests."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import soundfile

from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.data_directories import write_speakers
from espnet2_tisdiss.recipes.stages.join_scores import METRICS

REPOSITORY = Path(__file__).parents[1]
RATE = 8000
LISTS = ("wav.scp", "spk1.scp", "spk2.scp")

TINY_CONFIG = """\
init: xavier_uniform
max_epoch: 2
batch_type: sorted
valid_batch_type: folded
batch_size: 2
num_workers: 0
optim: adamw
keep_nbest_models: 2
best_model_criterion: [[valid, loss, min]]
model_conf: {normalize_variance: true}
num_spk: 2
preprocessor: enh
speech_segment: 8000
encoder: stft
encoder_conf: {n_fft: 128, hop_length: 64}
decoder: stft
decoder_conf: {n_fft: 128, hop_length: 64}
separator: tisdiss
separator_conf:
    num_spk: 2
    emb_dim: 8
    num_groups: 2
    n_heads: 2
    attention_dim: 8
    ffn_hidden_dim: [8, 8]
    encoder_repeat_times: 1
    reconstructor_repeat_times: 2
criterions:
-   name: si_snr
    conf: {}
    wrapper: multi_depth_pit
    wrapper_conf: {}
"""


def copy_recipe(name: str, root: Path, task: str = "enh1") -> Path:
    """A copy of egs2/<name>/<task> in a tree like the repository's, without what users have made.

    Copies of several recipes may stand in one tree.
    """
    folder = root / "egs2" / name / task
    made = shutil.ignore_patterns("data", "downloads", "dump", "exp", "__pycache__")
    shutil.copytree(REPOSITORY / "egs2" / name / task, folder, ignore=made)
    for shared in ("local", "conf", "espnet2_tisdiss", "benchmarks"):
        if not (root / shared).exists():
            (root / shared).symlink_to(REPOSITORY / shared)
    return folder


def tiny_recognition() -> list[str]:
    """Options of a recognition recipe: its trainings are too short to learn, on the CPU."""
    conf = REPOSITORY / "egs2/mini_2mix/enh_asr1/conf"
    files = {
        "asr_config": "train_asr_tiny",
        "enh_asr_config": "train_enh_asr_tiny",
        "inference_config": "decode",
    }
    options = ["--ngpu", "0", "--gpu_inference", "false", "--nj", "1", "--nbpe", "24"]
    options += ["--n_re", "1 2"]
    for name, stem in files.items():
        options += [f"--{name}", str(conf / f"{stem}.yaml")]
    return options


def run_here(
    module: str, folder: Path, options: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` in this process, which saves the seconds of its imports."""
    terminated = signal.getsignal(signal.SIGTERM)
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", [module, *options]),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = None
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, terminated)
    return subprocess.CompletedProcess(
        [module, *options], code or 0, out.getvalue(), err.getvalue()
    )


def prepare_here(
    corpus: str, folder: Path, options: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the program of a corpus's local/data.sh in this process."""
    return run_here(f"espnet2_tisdiss.recipes.{corpus}.prepare", folder, options, environment)


def make_signals(seed: int, num_samples: int = RATE) -> dict[str, np.ndarray]:
    """A hum, a noise and their sum, as int16 samples of shape (n,)."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples) / RATE
    hum = 6000 * np.sin(2 * np.pi * (150 + 20 * seed) * time) * rng.uniform(0.5, 1, num_samples)
    noise = 2000 * rng.standard_normal(num_samples)
    first, second = hum.astype(np.int16), np.clip(noise, -9000, 9000).astype(np.int16)
    return {"wav.scp": first + second, "spk1.scp": first, "spk2.scp": second}


def make_data_dir(folder: Path, audio: Path, count: int = 3, prefix: str = "utt") -> None:
    """A data directory of ``count`` two-speaker mixtures, with its audio below ``audio``."""
    tables: dict[str, dict[str, str]] = {name: {} for name in LISTS}
    for index in range(count):
        key = f"spk{index}-{prefix}{index}"
        for name, samples in make_signals(index).items():
            path = audio / name.removesuffix(".scp") / f"{key}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE)
            tables[name][key] = str(path)
    for name, table in tables.items():
        write_scp(folder / name, table)
    write_speakers(folder, {key: key.split("-")[0] for key in tables["wav.scp"]})


@dataclass
class Recipe:
    """A recipe folder with a prepared corpus and a tiny configuration, and the driver's script."""

    folder: Path
    driver: Path = REPOSITORY / "local" / "enh.sh"

    def command(self, *options: str) -> list[str]:
        """The driver's command line with the options that every run needs."""
        return [
            "bash",
            str(self.driver),
            *("--train_set", "train", "--valid_set", "valid", "--test_sets", "test"),
            *("--enh_config", "conf/tiny.yaml", "--python", sys.executable),
            *("--ngpu", "0", "--nj", "2", *options),
        ]

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start the driver; its standard error can be read from the process."""
        return subprocess.Popen(
            self.command(*options),
            cwd=self.folder,
            env={"OMP_NUM_THREADS": "1"} | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the driver to its end."""
        process = self.start(*options)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def stage(self, first: int, last: int | None = None, *options: str) -> str:
        """Run stages that must succeed; return their log."""
        done = self.run("--stage", str(first), "--stop_stage", str(last or first), *options)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def state(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every file except lock files."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in files_of_runs(self.folder)
        }


def plant_scores(folder: Path, scores: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Write score lists: metric -> utterance -> score of each speaker; other metrics are 0."""
    keys = scores["SI_SNR"].keys()
    for metric in METRICS:
        table = scores.get(metric, dict.fromkeys(keys, (0.0, 0.0)))
        for speaker in (0, 1):
            values = {key: str(pair[speaker]) for key, pair in table.items()}
            write_scp(folder / f"{metric}_spk{speaker + 1}", values)
    for speaker in (1, 2):
        paths = {key: f"wavs/{speaker}/{key}.wav" for key in keys}
        write_scp(folder / f"wav_spk{speaker}", paths)


def files_of_runs(folder: Path) -> Iterator[Path]:
    """All files below a folder, except lock files, which every run writes."""
    return (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def make_recipe(folder: Path) -> Recipe:
    """A recipe whose data preparation has nothing left to do."""
    for name, count in (("train", 4), ("valid", 2), ("test", 3)):
        make_data_dir(folder / "data" / name, folder / "audio" / name, count, name)
    (folder / "local").mkdir()
    (folder / "local" / "data.sh").write_text('echo "$*" >>prepared\n')
    (folder / "conf").mkdir()
    (folder / "conf" / "tiny.yaml").write_text(TINY_CONFIG)
    return Recipe(folder)


def living_processes(session: int) -> list[int]:
    """Ids of a session's processes that have not ended (nor wait as zombies to be collected)."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):  # it has ended meanwhile
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def read_data_dir(folder: Path, lists: Sequence[str]) -> dict[str, dict[str, str]]:
    """Lists of a data directory by their names; all have the same keys."""
    tables = {name: read_scp(folder / name) for name in lists}
    assert all(table.keys() == tables[lists[0]].keys() for table in tables.values())
    return tables
