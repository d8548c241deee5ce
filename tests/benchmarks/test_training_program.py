"""The benchmark of training: what it times and counts, and that it runs."""

import argparse
import sys

import pytest
import torch
import training
import yaml
from models import TINY

from espnet2_tisdiss.errors import TisdissError

STFT = {"n_fft": 128, "hop_length": 64}
CONFIG = {
    "separator": "tisdiss",
    "separator_conf": {**TINY, "sample_rate": 8000},
    "encoder": "stft",
    "encoder_conf": STFT,
    "decoder": "stft",
    "decoder_conf": STFT,
    "criterions": [
        {"name": "si_snr", "conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": {}}
    ],
    "mixing_conf": {"seconds": 0.5},
    "batch_size": 2,
    "optim": "adamw",
    "init": "xavier_uniform",
}
PAGE = "<!-- training-cpu -->\nold\n<!-- /training-cpu -->\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def setting(path, threads=1, **options):
    args = {"seconds": None, "batch": None, "threads": threads, "repeats": 1} | options
    return training.read_setting(path, argparse.Namespace(**args))


def run(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["training.py", *map(str, options)])
    training.main()


def test_what_the_configurations_train_on():
    voices, mini = (setting(path, threads=2) for path in training.CONFIGS)
    assert (voices.seconds, voices.batch, voices.rate, voices.n_re) == (2.0, 4, 16000, 6)
    assert (mini.seconds, mini.batch, mini.rate, mini.n_re) == (2.0, 4, 8000, 3)
    assert [voices.processes(way) for way in training.WAYS] == [1, 1, 1, 2]
    assert setting(training.CONFIGS[0], threads=8).processes(training.WAYS[-1]) == 4
    other = setting(training.CONFIGS[0], seconds=1.0, batch=3)
    assert (other.seconds, other.batch) == (1.0, 3)


def test_ways_add_one_thing_after_the_other():
    what = ("keeps_memory", "dtype", "shares", "compiles")
    for way, following in zip(training.WAYS, (*training.WAYS[1:], training.COMPILED), strict=True):
        assert sum(getattr(way, name) != getattr(following, name) for name in what) == 1


def test_multiply_adds_grow_with_the_batch_and_by_the_same_with_each_repetition(config):
    one, two = setting(config, batch=1), setting(config)
    assert training.step_macs(two, 2) == 2 * training.step_macs(one, 2)
    macs = [training.step_macs(one, n_re) for n_re in (1, 2, 3)]
    assert macs[2] - macs[1] == macs[1] - macs[0] > 0
    # forward once, backward with respect to the input and to the weights
    assert setting(config, seconds=1.0).seconds == 1.0
    longer = training.step_macs(setting(config, batch=1, seconds=1.0), 1)
    assert 1.9 < longer / macs[0] < 2.5


@pytest.mark.parametrize("way", training.WAYS[:3], ids=lambda way: way.name)
def test_a_step_trains(config, way, monkeypatch):
    built = []
    build = training.build
    monkeypatch.setattr(training, "build", lambda *given: built.append(build(*given)) or built[-1])
    run = training.training_step(setting(config), way, 1, 0)
    (model, optimizer) = built[0]
    before = {name: value.clone() for name, value in model.named_parameters()}
    run()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert model.separator.config.training_dtype == way.dtype
    assert model.separator.reconstructor_repeat_times == 1


def test_processes_share_a_batch(config):
    whole = training.batch_of(setting(config, batch=3), 0, 1)
    first, second = (training.batch_of(setting(config, batch=3), rank, 2) for rank in (0, 1))
    assert whole["speech_mix"].shape == (3, 4000)
    assert torch.equal(first["speech_mix"], whole["speech_mix"][[0, 2]])
    assert torch.equal(second["speech_ref2"], whole["speech_ref2"][[1]])
    assert torch.equal(whole["speech_mix"], whole["speech_ref1"] + whole["speech_ref2"])


def test_the_tables_of_planted_times(config, monkeypatch):
    seconds = dict(zip(training.WAYS, (8.0, 4.0, 2.0, 1.0), strict=True))
    monkeypatch.setattr(training, "teraflop", lambda dtype=torch.float32: dtype.itemsize / 2)
    monkeypatch.setattr(training, "step_macs", lambda setting, n_re: n_re * 0.1e12)
    monkeypatch.setattr(
        training, "step_seconds", lambda setting, way, n_re: seconds[way] * n_re / 2
    )
    monkeypatch.setattr(training, "feeding_seconds", lambda setting: 0.5)
    steps = []
    told = training.answer(setting(config, threads=2), training.WAYS, (2, 4), steps.append)
    assert len(steps) == 6
    # batches of 2 x 0.5 s; 1 TFLOP in 2 s of float32 and 1 s of bfloat16, of which a step has 0.4
    assert "| float32, freed memory returned | 200 | 8.00 | 0.125 | 10% |" in told
    assert "| + bfloat16 | 200 | 2.00 | 0.500 | 20% |" in told
    assert "| + processes that share the batch | 200 | 1.00 | 1.00 | 40% |" in told
    assert "| 2 | 200 | 1.00 | 1.00 | 40% |\n| 4 | 400 | 2.00 | 0.500 | 40% |" in told
    assert "of a step in 500 ms" in told and "training waits 20.0% of the time" in told


@pytest.mark.slow
def test_a_tiny_training_is_timed_and_written(config, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(training, "CONFIGS", (config,))
    monkeypatch.setattr(training, "DEPTHS", (2,))
    monkeypatch.setattr(training, "WAYS", training.WAYS[-1:])
    monkeypatch.setattr(training, "teraflop", lambda dtype=torch.float32: 1.0)
    run(monkeypatch, "--threads", 2, "--repeats", 1, "--page", page)
    torch.set_num_threads(1)
    told = capsys.readouterr().out
    assert told.count("| + processes that share the batch |") == 1
    assert "of the time for them." in told
    written = page.read_text()
    assert "Measured on " in written and "`tiny.yaml`: 2 x 0.5 s at 8000 Hz, N_re 2;" in written
    assert "old" not in written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seconds", "1"], "omit --seconds"),
        (["--batch", "2", "--depths", "1"], "omit --batch and --depths"),
    ],
)
def test_a_page_is_not_written_from_a_part(tmp_path, monkeypatch, options, message):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(TisdissError, match=f"^--page needs complete results: {message}$"):
        run(monkeypatch, "--threads", "1", "--page", page, *options)
    assert page.read_text() == PAGE


def test_a_gpu_is_refused(monkeypatch):
    with pytest.raises(TisdissError, match="^--device cuda: measures CPUs only$"):
        run(monkeypatch, "--device", "cuda")
