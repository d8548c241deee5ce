"""The programs of benchmarks/gpu.sh, on a CPU at tiny sizes, with packed recordings."""

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pack_corpus
import pytest
import torch
import yaml
from espnet2.enh.loss.criterions.time_domain import SISNRLoss
from espnet2.schedulers.tristage_lr import TristageLR
from gpu.fit import Fit, fastest_way
from gpu.objective import SISNR, objective
from gpu.pipeline import Pipeline
from gpu.report import Report
from gpu.sizes import CPU, DEFAULT
from gpu.steps import run_step, write_outcomes
from measuring import read_config

from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.bank import Bank, Noise, Utterance, write_bank

ROOT = Path(__file__).parents[2]
# modules of a machine with PyTorch and numpy
INSTALLED = {
    *("torch", "torchgen", "functorch", "triton", "nvidia", "numpy", "typing_extensions"),
    *("sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "setuptools"),
    *("pkg_resources", "_distutils_hack", "cuda"),
}


# --- steps ------------------------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_steps_that_crash_or_hang_do_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("gpu.steps.GRACE_S", 0.2)
    # a step that ignores signals, with a process that also does
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    hang = (
        "import os, signal, subprocess, sys; signal.signal(15, signal.SIG_IGN); "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "print(child.pid, flush=True); print('working', flush=True); child.wait()"
    )
    commands = {
        "good": python("print('fine')"),
        "crash": python("print('begin'); raise ValueError('it broke')"),
        "killed": python("import os; os.kill(os.getpid(), 9)"),
        "hang": python(hang),
        "absent": [str(tmp_path / "no such program")],
        "last": python("pass"),
    }
    began = time.monotonic()
    outcomes = [
        run_step(name, command, 20, tmp_path)
        for name, command in commands.items()
        if name != "hang"
    ]
    hung = run_step("hang", commands["hang"], 8, tmp_path)
    assert time.monotonic() - began < 60
    good, crash, killed, absent, last = outcomes
    assert (good.code, good.ending, last.code) == (0, "done", 0)
    assert (crash.code, crash.error, crash.timed_out) == (1, "ValueError: it broke", False)
    assert (killed.code, killed.error) == (-9, "no output")
    assert absent.code is None and "no such program" in absent.error
    assert (hung.timed_out, hung.code, hung.ending) == (True, -9, "out of time: working")
    pid = int((tmp_path / "hang.log").read_text().split()[0])
    assert not is_running(pid)
    write_outcomes(tmp_path, [*outcomes, hung])
    rows = json.loads((tmp_path / "steps.json").read_text())
    assert [row["name"] for row in rows] == ["good", "crash", "killed", "absent", "last", "hang"]
    assert "| crash | 0 | failed (1): ValueError: it broke |" in (tmp_path / "steps.md").read_text()


def is_running(pid: int) -> bool:
    for _ in range(50):  # a killed process exists until its exit status has been read
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


def test_a_row_that_fails_is_written_and_the_next_one_too(tmp_path):
    report = Report(tmp_path, "some", "cpu")
    assert report.measure("Speed", {"way": "a"}, lambda: {"ms": 12.345}) == {"ms": 12.345}
    report.measure("Speed", {"way": "b"}, lambda: 1 / 0)
    report.measure("Speed", {"way": "c"}, lambda: {"ms": 0.00012, "passed": False})
    rows = json.loads((tmp_path / "some.json").read_text())["tables"]["Speed"]
    assert [row["way"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["error"] == "ZeroDivisionError: division by zero"
    page = (tmp_path / "some.md").read_text()
    assert "| a | 12.3 |  |  |" in page and "| c | 1.2e-04 |  | NO |" in page


# --- the training's parts ---------------------------------------------------------------------


@pytest.mark.parametrize("clamp_db", [None, 30])
def test_the_loss_is_espnets(clamp_db):
    ref, other = torch.randn(2, 5, 400, dtype=torch.float64)
    # from useless to better than the bound
    noise = torch.tensor([10.0, 1.0, 0.1, 0.01, 0.003])[:, None]
    estimate = (0.3 * (ref + noise * other) + 2).requires_grad_()
    found, expected = SISNR(clamp_db)(ref, estimate), SISNRLoss(clamp_db)(ref, estimate)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss.sum(), estimate)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_model_and_its_training_are_espnets(espnet_model):
    config = CPU.config(DEFAULT)
    parts = {name: config[name] for name in config if name not in ("num_workers",)}
    theirs, _, _ = espnet_model(**parts)
    ours = Pipeline(config)
    ours.load_state_dict(theirs.state_dict())
    sources = torch.randn(2, 3, 4000)
    mix = sources.sum(0)
    lengths = torch.full((3,), 4000)
    expected, _, _ = theirs.train()(mix, lengths, speech_ref1=sources[0], speech_ref2=sources[1])
    found, _, _ = objective(config)(list(sources), ours.train()(mix))
    torch.testing.assert_close(found, expected.squeeze(), rtol=1e-4, atol=1e-4)
    found.backward()
    expected.backward()
    weights = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, weights[name].grad, rtol=1e-3, atol=1e-5)


def test_rate_and_depth_follow_the_recipe():
    recipe = read_config(DEFAULT) | {"max_epoch": 160, "depth_schedule": {1: 2, 20: 3, 60: 6}}
    fit = Fit(recipe, replace(CPU, fit_batch=4), 100.0, Path(), None)
    steps = recipe["scheduler_conf"]["max_steps"]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=recipe["optim_conf"]["lr"])
    schedule = TristageLR(optimizer, **recipe["scheduler_conf"])
    for share in (0.0, 0.005, 0.3, 0.64, 0.8, 0.999):
        schedule.last_epoch = round(share * steps) - 1
        assert fit.rate(share) == pytest.approx(schedule.get_lr()[0], rel=0.02)
    # epochs 1, 20 and 60 of 160
    shares = (0, 0.11, 0.13, 0.36, 0.38, 0.999)
    assert [fit.depth(share) for share in shares] == [2, 2, 3, 3, 6, 6]
    large = Fit(recipe, replace(CPU, fit_batch=64), 100.0, Path(), None)
    assert large.rate(0.3) == pytest.approx(2 * fit.rate(0.3))
    going_on = replace(fit, init=Path("model.pth"))
    assert going_on.depth(0) == 6 and going_on.rate(0.3) == pytest.approx(fit.rate(0.3) / 2)


def test_the_fastest_way_is_taken(tmp_path):
    assert fastest_way(tmp_path) == {}
    report = Report(tmp_path, "training", "cpu")
    way = {"model": "default", "precision": "bfloat16", "checkpoint": "none", "compiled": "false"}
    title, speed = "Training steps, 8 x 2 s", "audio a second, s"
    report.add(title, way | {speed: 5.0})
    report.add(title, way | {"compiled": "true", speed: 9.0})
    report.add(title, way | {"checkpoint": "block", "error": "broke"})
    report.add(title, way | {"precision": "tf32", speed: 20.0})
    report.add(title, way | {"model": "full", speed: 20.0})
    assert fastest_way(tmp_path) == {"checkpoint": "none", "compile": True}


# --- a packed corpus --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A bank of four speakers for training and two for validation."""
    folder = tmp_path_factory.mktemp("bank")
    seeds = count()

    def sound(seconds: float) -> np.ndarray:
        return (32767 * speech_shaped_noise(seconds, 16000, next(seeds))).astype(np.int16)

    speech = [
        (Utterance(f"{j}_{n}", str(j), "FM"[j % 2], "", split, 40.0, 0.0), sound(1 + n / 4))
        for split, speakers in (("train", range(4)), ("valid", range(4, 6)))
        for j in speakers
        for n in range(4)
    ]
    rooms = np.random.default_rng(0).standard_normal((10, 2, 800)) * 0.99 ** np.arange(800)
    write_bank(folder, 16000, speech, [(Noise("hiss"), sound(8))], rooms)
    return folder


def test_a_bank_survives_packing(bank, tmp_path):
    packed, again = tmp_path / "corpus.zip", tmp_path / "again"
    told = pack_corpus.pack(bank, packed, 24, 10, 5)
    assert "6 speakers" in told and "5 rooms" in told
    pack_corpus.unpack(packed, again, 2)
    for split in ("train", "valid"):
        before, after = Bank(bank, split), Bank(again, split)
        assert after.rate == before.rate and len(after.noises) == len(before.noises)
        assert [s.name for s in after.speakers] == [s.name for s in before.speakers]
        for old, new in zip(before.speakers, after.speakers, strict=True):
            for first, second in zip(old.utterances, new.utterances, strict=True):
                assert (first.name, first.length) == (second.name, second.length)
                assert second.level == pytest.approx(first.level, rel=0.2)
                found, expected = after.speech(second), before.speech(first)
                # the codec keeps the spectrum of noise and some of its waveform
                assert np.corrcoef(found, expected)[0, 1] > 0.7
    first = np.load(bank / "rooms.npy")[0]
    assert np.allclose(np.load(again / "rooms.npy")[0], first, atol=1e-2)


def test_what_is_packed_fits_and_every_speaker_gives_as_much(bank, tmp_path):
    packed = tmp_path / "corpus.zip"
    pack_corpus.pack(bank, packed, 12, 0.235, 1)
    assert packed.stat().st_size < 0.235e6
    pack_corpus.unpack(packed, tmp_path / "again", 1)
    with (tmp_path / "again/utterances.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    said = {row["speaker"]: 0 for row in rows}
    for row in rows:
        said[row["speaker"]] += 1
    assert len(said) == 6 and min(said.values()) >= 1 and 1 < max(said.values()) < 4
    with pytest.raises(TisdissError, match="0.001 MB are too few"):
        pack_corpus.pack(bank, packed, 12, 0.001, 1)
    packed.write_bytes(b"nothing")
    with pytest.raises(TisdissError, match="not a packed corpus"):
        pack_corpus.unpack(packed, tmp_path / "none", 1)


# --- all of it --------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_step_runs_and_the_weights_are_espnets(bank, tmp_path, espnet_model):
    packed, out = tmp_path / "corpus.zip", tmp_path / "out"
    pack_corpus.pack(bank, packed, 12, 1, 2)
    command = [ROOT / "benchmarks/gpu.sh", out, "--device", "cpu", "--corpus", packed]
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*command, "--minutes", "20"], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    names = ["correctness", "inference", "training", "corpus", "fit"]
    rows = json.loads((out / "steps.json").read_text())
    assert [(row["name"], row["code"]) for row in rows] == [(name, 0) for name in names]
    tables = {}
    for name in names:
        if name != "corpus":
            tables |= json.loads((out / f"{name}.json").read_text())["tables"]
            assert (out / f"{name}.md").read_text().startswith("Measured on no GPU used; PyTorch ")
    for title, found in tables.items():
        for row in found:
            assert "error" not in row and row.get("passed") is not False, (title, row)
    assert len(tables) >= 17
    log = tables["Training"]
    assert log[0]["steps"] == 1 < log[-1]["steps"] and log[-1]["steps without a number"] == 0
    config = yaml.safe_load((out / "trained/config.yaml").read_text())
    del config["num_workers"]
    model, _, _ = espnet_model(**config)
    weights = torch.load(out / "trained/model.pth", weights_only=True)
    model.load_state_dict(weights)


def test_the_steps_need_no_other_packages():
    listed = (ROOT / "benchmarks/gpu_wheels.sh").read_text().partition("packages=(")[2]
    wheels = listed.partition(")")[0].split()
    modules = {
        "cffi": ("cffi", "_cffi_backend"),
        "espnet": ("espnet2",),
        "pyyaml": ("yaml", "_yaml"),
        "soundfile": ("soundfile", "_soundfile", "_soundfile_data"),
        "torch-complex": ("torch_complex",),
    }
    allowed = INSTALLED | {"espnet2_tisdiss"}
    for wheel in wheels:
        allowed |= set(modules.get(wheel, (wheel,)))
    code = f"""
import sys, sysconfig
site, allowed = sysconfig.get_paths()["purelib"], {sorted(allowed)!r}
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in allowed or top in sys.stdlib_module_names:
            return None
        from importlib.machinery import PathFinder
        found = PathFinder.find_spec(name, path)
        if found and str(found.origin or found.submodule_search_locations).startswith(site):
            if sys._getframe(2).f_code.co_name != "find_spec":  # a question, not an import
                raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Only())
import gpu.correctness, gpu.inference, gpu.training, gpu.fit, gpu.__main__, pack_corpus
for name in ("tcn", "dprnn", "tfgridnetv2"):
    __import__(f"espnet2.enh.separator.{{name}}_separator")
"""
    paths = os.pathsep.join(str(ROOT / name) for name in ("benchmarks", "", "tests"))
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--corpus", "nothing.zip"], "gpu.sh: nothing.zip: no such file"),
        (["--wheels", "nowhere"], "gpu.sh: nowhere: no wheels there"),
        (["--wheels"], "gpu.sh: --wheels needs a folder"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path, options, told):
    command = [ROOT / "benchmarks/gpu.sh", tmp_path / "out", *options]
    environment = os.environ | {"PYTHON": sys.executable}
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and run.stderr.splitlines() == [told]
