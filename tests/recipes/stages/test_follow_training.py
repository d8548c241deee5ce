"""Training progress is read from ESPnet's log lines; the log is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.follow_training import TrainingLog, train

PREFIX = "[host] 2026-01-02 03:04:05,678"
SAMPLER = f"{PREFIX} (abs_task:1920) INFO: [train] Batch sampler: FoldedBatchSampler(N-batch=40, x)"
STARTED = f"{PREFIX} (trainer:334) INFO: 3/10epoch started"
BATCH = (
    f"{PREFIX} (trainer:810) INFO: 3epoch:train:11-20batch: iter_time=0.1, forward_time=1.1, "
    "si_snr_loss=-4.1, si_snr_loss_depth-0=-3.9, loss=-4.250, backward_time=2.0"
)
RESULTS = (
    f"{PREFIX} (trainer:392) INFO: 3epoch results: [train] iter_time=0.1, si_snr_loss=-5.2, "
    "loss=-5.125, time=1 minute and 40 seconds, total_count=40, [valid] si_snr_loss=-4.9, "
    "loss=-4.875, time=3 seconds, total_count=2, [att_plot] time=0 seconds"
)


@pytest.fixture
def state(tmp_path: Path) -> TrainingLog:
    """A log that has begun its first epoch, the third of the training, at 100 s."""
    config = tmp_path / "config.yaml"
    config.write_text("iterator_type: sequence\nnum_iters_per_epoch: null\n")
    state = TrainingLog(config)
    assert state.feed(SAMPLER, 90.0) is None
    assert state.feed(STARTED, 100.0) is None
    return state


def test_an_epoch_is_told_with_losses_and_time_left(state: TrainingLog) -> None:
    assert state.feed(RESULTS, 160.0) == (
        "epoch 3/10: train loss -5.125, valid loss -4.875; an epoch takes 01:00, at most 07:00 left"
    )


@pytest.mark.promise("diverged")
def test_skipped_steps_are_shown(state: TrainingLog) -> None:
    skipped = "skipped a step without a finite loss and gradient: 1 in a row, 4 since the start"
    for line in (f"{PREFIX} (divergence:80) WARNING: {skipped}", BATCH):
        state.feed(line, 130.0)
    assert "batch 20 of 40, loss -4.250, 4 steps skipped, at most" in state.within_epoch(130.0)
    told = state.feed(RESULTS, 160.0)
    assert told is not None and "valid loss -4.875, 4 steps skipped; an epoch" in told


def test_time_left_within_the_first_epoch(state: TrainingLog) -> None:
    state.feed(BATCH, 130.0)
    # 20 of 40 batches took 30 s; 7.5 epochs of 60 s are left.
    text = "epoch 3/10: batch 20 of 40, loss -4.250, at most 07:30 left"
    assert state.within_epoch(130.0) == text


def test_without_a_known_number_of_batches(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("iterator_type: chunk\nnum_iters_per_epoch: null\n")
    state = TrainingLog(tmp_path / "config.yaml")
    for line in (SAMPLER, STARTED, BATCH):
        state.feed(line, 100.0)
    assert state.within_epoch(130.0) == "epoch 3/10: batch 20, loss -4.250"


def test_epochs_are_shown_and_the_log_is_appended_to(tmp_path: Path, capfd) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"{STARTED}\n{RESULTS}\nfrom an earlier run\n")
    code = f"print({STARTED!r}); print({RESULTS!r}); print('end')"
    train([sys.executable, "-c", code], log, tmp_path / "none")
    shown = capfd.readouterr().err
    assert shown.count("epoch 3/10: train loss -5.125, valid loss -4.875") == 1
    assert "from an earlier run" in log.read_text()
    assert log.read_text().endswith("end\n")


def test_a_failed_training_quotes_its_log(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "import sys; print('so far so good'); sys.exit('out of memory')"
    with pytest.raises(TisdissError) as error:
        train([sys.executable, "-u", "-c", code], Path("train.log"), Path("none"))
    assert str(error.value).splitlines() == [
        "training failed (exit code 1); its log is train.log and ends in:",
        "    so far so good",
        "    out of memory",
    ]
