"""Trainings: resumed, with a depth schedule, on mixtures made on the fly, in several processes."""

from __future__ import annotations

import math
import signal
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml
from recipe_folder import living_processes
from tiny_training import (
    assert_equal,
    command,
    two_processes_training,
    wait_until,
    weights,
    write_config,
)

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.bin import enh_train
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet.checkpoints import BACKUP
from espnet2_tisdiss.espnet.trainer import depth_of_epoch
from espnet2_tisdiss.espnet.training import USER_VALUES, ResumableTask

# --- deeper by steps ------------------------------------------------------------------------------


def test_the_depth_of_each_epoch():
    schedule = {1: 2, 17: 4, 20: 6}
    depths = [depth_of_epoch(schedule, epoch) for epoch in (1, 2, 16, 17, 19, 20, 500)]
    assert depths == [2, 2, 2, 4, 4, 6, 6]
    # as the command line gives it, and in any order
    assert depth_of_epoch({"5": 3, "1": 1}, 4) == 1
    assert depth_of_epoch({"5": 3, "1": 1}, 5) == 3


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({2: 4}, "depth_schedule must begin with epoch 1; got {2: 4}"),
        ({1: 2, 0: 1}, "depth_schedule: epoch must be an integer >= 1; got 0"),
        ({1: 2, "later": 4}, "depth_schedule: epoch must be an integer >= 1; got 'later'"),
        (
            {1: 2, 9: "deep"},
            "depth_schedule: N_re of epoch 9 must be an integer from 1 to 1000; got 'deep'",
        ),
        ({1: 0}, "depth_schedule: N_re of epoch 1 must be an integer from 1 to 1000; got 0"),
    ],
)
def test_a_wrong_schedule_is_told_at_the_first_epoch(schedule, told):
    with pytest.raises(ValueError) as error:
        depth_of_epoch(schedule, 1)
    assert str(error.value) == told


# --- real trainings -------------------------------------------------------------------------------


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that trains a tiny model in this process and gives its folder."""
    # glibc's settings stay unchanged for other tests of this process
    monkeypatch.setattr("espnet2_tisdiss.espnet.training.keep_freed_memory", lambda: None)
    write_config(tmp_path)

    def run(name: str = "exp", task: type[ResumableTask] = ResumableTask, **options) -> Path:
        task.main(cmd=command(tmp_path, name, **options))
        return tmp_path / name

    return run


def test_a_causal_separator_trains(train):
    options = {"separator_conf": "causal=true", "max_epoch": 1, "num_iters_per_epoch": 1}
    with pytest.raises(TisdissError, match="normalize_variance must be false with .*causal"):
        train(**options)
    folder = train(**options, model_conf="normalize_variance=false", keep_nbest_models=1)
    stats = torch.load(folder / "checkpoint.pth", weights_only=True)["reporter"]["stats"]
    assert math.isfinite(stats[1]["train"]["loss"])
    assert SeparateSpeech.from_pretrained(folder / "1epoch.pth").separator.config.causal


def test_each_epoch_trains_at_its_depth(train, caplog):
    caplog.set_level("INFO")
    folder = train(depth_schedule=["1=1", "2=2"])
    told = [record.message for record in caplog.records if "training at N_re" in record.message]
    assert told == ["training at N_re 1", "training at N_re 2"]
    states = torch.load(folder / "checkpoint.pth", weights_only=True)
    for epoch, depths in ((1, 2), (2, 3)):  # the splitter's output and each repetition
        losses = [k for k in states["reporter"]["stats"][epoch]["train"] if "_depth-" in k]
        assert sorted(losses) == [f"si_snr_loss_depth-{depth}" for depth in range(depths)]
    # the model is still one of two repetitions
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["separator_conf"]["reconstructor_repeat_times"] == 2
    assert config["depth_schedule"] == {"1": 1, "2": 2}


def test_every_depth_is_validated_where_wanted(train):
    stats = {}
    for every in ("false", "true"):
        folder = train(f"every_{every}", valid_every_depth=every, max_epoch=1)
        states = torch.load(folder / "checkpoint.pth", weights_only=True)
        stats[every] = states["reporter"]["stats"][1]["valid"]
    assert not [key for key in stats["false"] if "_depth-" in key]
    by_depth = [stats["true"][f"si_snr_loss_depth-{depth}"] for depth in range(3)]
    # the last depth is what is validated by default; the loss is the mean, as in training
    assert by_depth[2] == pytest.approx(stats["false"]["si_snr_loss"], rel=1e-4)
    assert stats["true"]["loss"] == pytest.approx(sum(by_depth) / 3, rel=1e-4)


def test_stopped_and_resumed_is_as_one_training(train):
    schedule = {"depth_schedule": ["1=1", "2=2"], "optim": "adamw", "optim_conf": "lr=1.0e-3"}
    whole = train("whole", **schedule)
    train("parts", **schedule, max_epoch=1)
    parts = train("parts", **schedule, resume="true")
    assert_equal(weights(parts), weights(whole))
    assert (parts / BACKUP).is_file()


class Kept(ResumableTask):
    """A task that writes the weights of each process."""

    @classmethod
    def build_model(cls, args: Namespace):
        cls.model = super().build_model(args)
        return cls.model

    @classmethod
    def main_worker(cls, args: Namespace) -> None:
        super().main_worker(args)
        if torch.distributed.is_initialized():
            rank = torch.distributed.get_rank()
            torch.save(cls.model.state_dict(), Path(args.output_dir) / f"rank{rank}.pth")


def test_two_processes_train_as_one(train):
    two_steps = {"max_epoch": 1}
    alone, untrained = (
        weights(train(name, **two_steps, optim_conf=f"lr={rate}"), "1epoch.pth")
        for name, rate in (("alone", 0.01), ("untrained", 0))
    )
    folder = train("shared", Kept, **two_steps, cpu_processes=2)
    first, second = (weights(folder, f"rank{rank}.pth") for rank in (0, 1))
    assert_equal(first, second)
    assert_equal(first, weights(folder, "1epoch.pth"))
    for name, expected in alone.items():
        torch.testing.assert_close(first[name], expected, rtol=0, atol=2e-5)
    # so that the learned weights are compared, not the initial ones
    assert max((alone[name] - untrained[name]).abs().max() for name in alone) > 2e-2
    # the options that connect the two are not options of the training
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["cpu_processes"] == 2 and not config["distributed"]
    assert config["dist_init_method"] == "env://" and config["dist_world_size"] is None
    assert USER_VALUES not in config


@pytest.mark.parametrize(
    "told", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_processes_end_with_their_parent(tmp_path, told):
    write_config(tmp_path)
    with two_processes_training(tmp_path) as process:
        assert len(living_processes(process.pid)) >= 3
        process.send_signal(told)  # to the parent only
        process.wait(240)
        wait_until(lambda: not living_processes(process.pid))
        assert process.returncode != 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cpu_processes": 0}, "cpu_processes must be an integer >= 1; got 0"),
        (
            {"decoder_conf": "hop_length=32"},
            "encoder_conf has hop_length 64 and decoder_conf hop_length 32: .* give both the same",
        ),
        ({"depth_schedule": "3=2"}, "depth_schedule must begin with epoch 1; got {'3': 2}"),
        ({"mixing_conf": "second=2"}, "an option of mixing_conf must be one of bank, .*'second'"),
        ({"num_iters_per_epoch": "null"}, "iterator_type task needs num_iters_per_epoch"),
        (
            {"valid_iterator_type": "task"},
            "iterator_type task makes no valid batches: set valid_iterator_type, .*",
        ),
        (
            {"separator": "conformer", "separator_conf": "num_spk=2", "depth_schedule": "1=2"},
            "depth_schedule needs separator tisdiss; got separator conformer",
        ),
    ],
)
def test_options_that_make_no_sense_are_one_line(train, options, told):
    with pytest.raises(ValueError, match=f"^{told}$") as error:
        train(**options)
    assert "\n" not in str(error.value)


def test_a_training_without_a_bank_is_told(train, tmp_path):
    with pytest.raises(TisdissError, match=f"^{tmp_path}/no: is not a bank of recordings "):
        train(mixing_conf=f"bank={tmp_path}/no")


def test_the_command_is_that_task(monkeypatch):
    given = []
    monkeypatch.setattr(ResumableTask, "main", lambda cmd: given.append(cmd))
    enh_train.main(["--config", "x"])
    assert given == [["--config", "x"]]
