"""Trainings that diverge: skipped steps are counted, and too many end the training as a failure."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import assert_equal, command, weights, write_config
from torch import nn

from espnet2_tisdiss.bin import enh_train
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet import divergence
from espnet2_tisdiss.espnet.divergence import StepWatch, WatchedBatches
from espnet2_tisdiss.espnet.training import ResumableTask

DIVERGED = "diverged"  # the promise


def spoil(loss: torch.Tensor) -> torch.Tensor:
    """Make the loss nan, and so the gradient."""
    return loss * torch.nan


def spoil_value(loss: torch.Tensor) -> torch.Tensor:
    """Make the loss infinite but not the gradient."""
    return loss + torch.inf


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that trains in this process; the losses of given steps are spoiled."""
    monkeypatch.setattr("espnet2_tisdiss.espnet.training.keep_freed_memory", lambda: None)
    write_config(tmp_path)
    original = ResumableTask.build_model

    def run(
        name: str, steps: Sequence[int] = (), how: Callable[..., Any] = spoil, **options: Any
    ) -> Path:
        seen = [0]

        def hook(model: nn.Module, inputs: Any, outputs: Any) -> Any:
            if not model.training:
                return outputs
            seen[0] += 1
            loss, *others = outputs
            return (how(loss) if seen[0] in steps else loss), *others

        def build_model(args: Namespace) -> Any:
            model = original(args)
            model.register_forward_hook(hook)
            return model

        monkeypatch.setattr(ResumableTask, "build_model", build_model)
        enh_train.main(command(tmp_path, name, **options))
        return tmp_path / name

    return run


@pytest.mark.promise(DIVERGED)
def test_too_many_skipped_steps_end_the_training_and_keep_the_last_good_epoch(
    train: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = train("good", max_epoch=1)
    with pytest.raises(SystemExit) as ended:
        train("exp", range(3, 100), max_epoch=50, max_skipped_steps=3)
    assert ended.value.code == (
        "enh_train: the training has diverged: 3 steps in a row had no finite loss and gradient; "
        "lower the learning rate (optim_conf: lr; it was 0.01) or check the data; checkpoint.pth "
        "keeps the last good epoch"
    )
    assert "skipped a step without a finite loss and gradient: 2 in a row, 2 since" in caplog.text
    states = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=True)
    assert_equal(states["model"], weights(good, "1epoch.pth"))
    assert not list((tmp_path / "exp").glob("*.ave*.pth"))


@pytest.mark.promise(DIVERGED)
@pytest.mark.parametrize("how", [spoil, spoil_value])
def test_a_skipped_step_changes_nothing_and_the_training_goes_on(
    train: Callable[..., Path], how: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    short = train("short", max_epoch=1)
    folder = train("exp", (3, 4), how, max_epoch=3, max_skipped_steps=3)
    assert_equal(weights(folder, "2epoch.pth"), weights(short, "1epoch.pth"))
    first, last = weights(short, "1epoch.pth"), weights(folder, "3epoch.pth")
    assert any(not torch.equal(last[name], value) for name, value in first.items())
    assert "2 in a row, 2 since the start" in caplog.text
    assert "3 in a row" not in caplog.text


@pytest.mark.promise(DIVERGED)
def test_an_absurd_learning_rate_is_no_success(train: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        train("exp", optim_conf="lr=1.0e+30", grad_clip="1.0e+30", max_epoch=1)
    text = str(ended.value.code)
    assert text.startswith("enh_train: the training has diverged: after epoch 1 ")
    assert "(optim_conf: lr; it was 1e+30)" in text and "\n" not in text
    assert not list((tmp_path / "exp").glob("*.pth"))


@pytest.mark.parametrize("accum_grad", [1, 3])
def test_steps_that_change_nothing_are_counted(accum_grad: int) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    watch = StepWatch([optimizer], 3, accum_grad)
    counts = []
    with pytest.raises(TisdissError, match=r"3 steps in a row .* \(optim_conf: lr; it was 0.5\)"):
        for number, good in enumerate(watch.batches([True, False, False, True] + [False] * 20), 1):
            counts.append((watch.skipped, watch.in_a_row))
            if good if accum_grad == 1 else number == 6:
                optimizer.step()
    expected = [(0, 0), (0, 0), (1, 1), (2, 2), (2, 0), (3, 1), (4, 2)]
    if accum_grad == 3:
        expected = [(0, 0)] * 3 + [(1, 1)] * 3 + [(1, 0)] * 3 + [(2, 1)] * 3 + [(3, 2)] * 3
    assert counts == expected


def test_overflow_of_half_precision_is_counted() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    watch = StepWatch([optimizer], 20)
    for number in watch.batches(range(4)):
        optimizer.zero_grad()
        scaler.scale((weight * 4).sum() if number < 2 else weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert watch.skipped == 2 and watch.in_a_row == 0  # 4 * 2^127 and 4 * 2^126 overflow


def test_the_number_of_batches_stays_known() -> None:
    watch = StepWatch([], 1)
    assert len(WatchedBatches([1, 2, 3], watch)) == 3
    with pytest.raises(TypeError):
        len(WatchedBatches(iter([1]), watch))


def test_weights_that_are_not_finite_are_found() -> None:
    good = {"a": torch.zeros(2), "count": torch.tensor(3)}
    assert divergence.not_finite(good) == ""
    assert divergence.not_finite({**good, "b": torch.tensor([0.0, torch.inf])}) == "b"
