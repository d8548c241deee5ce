"""The files of a training stopped at any point: complete, consistent, or repaired."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from dying import count_operations, dies_at

from espnet2_tisdiss.atomic import clean_up
from espnet2_tisdiss.checksums import CHECKSUMS, damage
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet import checkpoints
from espnet2_tisdiss.espnet.checkpoints import BACKUP, BROKEN, CHECKPOINT, WORK

BEST = [("valid", "loss", "min")]
# by epoch: the second is worse than the first, the third the best
LOSSES = {1: 2.0, 2: 3.0, 3: 1.0, 4: 1.5}


def weights_of(epoch: int) -> dict[str, torch.Tensor]:
    return {"a": torch.full((1000,), float(epoch))}


def espnet_writes(folder: Path, epoch: int, kept: int = 1) -> None:
    """Do in the working folder what ESPnet does after an epoch."""
    work = folder / WORK
    stats = {e: {"valid": {"loss": loss}} for e, loss in LOSSES.items() if e <= epoch}
    states = {"model": weights_of(epoch), "reporter": {"epoch": epoch, "stats": stats}}
    torch.save({**states, "optimizers": []}, work / CHECKPOINT)
    torch.save(weights_of(epoch), work / f"{epoch}epoch.pth")
    ranking = sorted(stats, key=LOSSES.__getitem__)
    for name, target in (("latest.pth", epoch), ("valid.loss.best.pth", ranking[0])):
        if target == epoch:
            (work / name).unlink(missing_ok=True)
            (work / name).symlink_to(f"{epoch}epoch.pth")
    for other in set(stats) - set(ranking[:kept]) - {epoch}:
        (work / f"{other}epoch.pth").unlink(missing_ok=True)


def train(folder: Path, first: int, last: int) -> None:
    """Do a training's file operations, from epoch ``first`` on."""
    clean_up(folder)
    checkpoints.discard(folder)
    checkpoints.begin(folder, BEST, keep=1, resume=True)
    for epoch in range(first, last + 1):
        checkpoints.begin_epoch(folder)
        espnet_writes(folder, epoch)
    torch.save(weights_of(0), folder / WORK / "valid.loss.ave_2best.pth")
    (folder / WORK / "valid.loss.ave.pth").unlink(missing_ok=True)
    (folder / WORK / "valid.loss.ave.pth").symlink_to("valid.loss.ave_2best.pth")
    checkpoints.finish(folder)


def epoch_of(folder: Path) -> int:
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    assert damage(path) == ""
    return int(torch.load(path, weights_only=True)["reporter"]["epoch"])


def value_of(path: Path) -> float:
    """Return the number that all of a file's weights have; the file must be intact."""
    assert damage(path) == ""
    return float(torch.load(path, weights_only=True)["a"][0])


def contents(folder: Path) -> dict[str, bytes | str]:
    """Name -> content or target of everything in a folder."""
    return {
        path.name: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.iterdir()
        if not path.is_dir()
    }


def best_until(epoch: int) -> int:
    return min(range(1, epoch + 1), key=LOSSES.__getitem__)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def check_stopped(folder: Path, epochs: int) -> int:
    """Check the files of a stopped training; return the epoch of its checkpoint."""
    epoch = epoch_of(folder)
    possible = [each for each in (epoch, epoch + 1) if 0 < each <= epochs]
    links = {"latest.pth": possible, "valid.loss.best.pth": [best_until(each) for each in possible]}
    for name, values in links.items():
        if epoch or (folder / name).is_symlink():
            assert value_of(folder / name) in values
    if (folder / "valid.loss.ave.pth").is_symlink():
        assert value_of(folder / "valid.loss.ave.pth") == 0
    return epoch


@pytest.mark.promise("killed-anywhere")
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_file_operations(tmp_path, record_property, step) -> None:
    expected, epochs = tmp_path / "expected", 3
    train(expected, 1, epochs)
    number = count_operations(tmp_path / "count", lambda: train(tmp_path / "count", 1, epochs))
    for last in range(0, number, step):
        folder = tmp_path / f"killed_{last}"
        assert dies_at(folder, last, lambda folder=folder: train(folder, 1, epochs))
        train(folder, check_stopped(folder, epochs) + 1, epochs)
        assert contents(folder) == contents(expected)
        assert not list(folder.rglob(".aside-*")) and not (folder / WORK).exists()
        shutil.rmtree(folder)
    assert number > 60
    record_property("cases", number // step)


@pytest.mark.parametrize("damaging", [cut, flip])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path, caplog, damaging) -> None:
    train(tmp_path, 1, 2)
    damaging(tmp_path / CHECKPOINT)
    assert checkpoints.repair(tmp_path, BEST, keep=1) == 1
    assert epoch_of(tmp_path) == 1
    assert f"{CHECKPOINT} was damaged (renamed to {BROKEN}): resuming from the prev" in caplog.text
    assert value_of(tmp_path / "latest.pth") == 1


def test_a_damaged_first_checkpoint_begins_anew(tmp_path, caplog) -> None:
    train(tmp_path, 1, 1)
    cut(tmp_path / CHECKPOINT)
    assert checkpoints.repair(tmp_path, BEST, keep=1) == 0
    assert not (tmp_path / CHECKPOINT).exists() and (tmp_path / BROKEN).exists()
    assert "starting from scratch" in caplog.text


@pytest.mark.parametrize("damaging", [cut, flip, Path.unlink])
def test_weights_that_an_epoch_lacks_are_written(tmp_path, damaging) -> None:
    train(tmp_path, 1, 3)
    damaging(tmp_path / "3epoch.pth")
    for name in ("latest.pth", "valid.loss.best.pth"):
        (tmp_path / name).unlink()
    assert checkpoints.repair(tmp_path, BEST, keep=1) == 3
    for name in ("3epoch.pth", "latest.pth", "valid.loss.best.pth"):
        assert value_of(tmp_path / name) == 3
    assert (tmp_path / "latest.pth").readlink() == Path("3epoch.pth")


def test_damaged_weights_of_another_epoch_are_named(tmp_path) -> None:
    train(tmp_path, 1, 2)
    flip(tmp_path / "1epoch.pth")
    with pytest.raises(
        TisdissError, match=f"1epoch.pth: is not the file .*{CHECKSUMS}.*start again"
    ):
        checkpoints.repair(tmp_path, BEST, keep=1)


def test_weights_that_are_not_finite_are_named(tmp_path) -> None:
    train(tmp_path, 1, 2)
    (tmp_path / CHECKSUMS).unlink()  # as left by older versions
    torch.save({"a": torch.tensor([1.0, torch.nan])}, tmp_path / "1epoch.pth")
    with pytest.raises(TisdissError, match="1epoch.pth: a is not finite; start again"):
        checkpoints.repair(tmp_path, BEST, keep=1)


def test_what_is_complete_stays(tmp_path) -> None:
    train(tmp_path, 1, 2)
    assert (tmp_path / BACKUP).is_file()
    before = contents(tmp_path)
    assert checkpoints.repair(tmp_path, BEST, keep=1) == 2
    assert contents(tmp_path) == before


def test_nothing_to_go_on_from(tmp_path) -> None:
    assert checkpoints.repair(tmp_path, BEST, keep=1) == 0
    assert not list(tmp_path.iterdir())


def test_where_files_have_one_name_only_they_are_copied(tmp_path, monkeypatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    train(tmp_path / "copied", 1, 4)
    monkeypatch.undo()
    train(tmp_path / "linked", 1, 4)
    assert contents(tmp_path / "copied") == contents(tmp_path / "linked")
