"""What a training that was stopped leaves, and how it goes on from there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from espnet2_tisdiss.training import KEPT, keep, mend


def after_epoch(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    """Leave in ``folder`` what ESPnet leaves after an epoch; give its weights."""
    weights = {"a": torch.full((1000,), float(epoch))}
    states = {"model": weights, "reporter": {"epoch": epoch, "stats": {}}, "optimizers": []}
    torch.save(states, folder / "checkpoint.pth")
    torch.save(weights, folder / f"{epoch}epoch.pth")
    (folder / "latest.pth").unlink(missing_ok=True)
    (folder / "latest.pth").symlink_to(f"{epoch}epoch.pth")
    return weights


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def epoch_of(folder: Path) -> int:
    return torch.load(folder / "checkpoint.pth", weights_only=True)["reporter"]["epoch"]


def test_a_cut_checkpoint_is_replaced_by_the_one_before(tmp_path, caplog):
    first = after_epoch(tmp_path, 1)
    keep(tmp_path)
    after_epoch(tmp_path, 2)
    cut(tmp_path / "checkpoint.pth")
    mend(tmp_path)
    assert epoch_of(tmp_path) == 1
    told = "checkpoint.pth was not whole (it is now checkpoint.pth.broken): going on from the epoch"
    assert f"{told} before" in caplog.text
    assert torch.equal(torch.load(tmp_path / "latest.pth", weights_only=True)["a"], first["a"])
    keep(tmp_path)  # for the next time
    assert (tmp_path / KEPT).is_file()


def test_a_cut_first_checkpoint_begins_anew(tmp_path, caplog):
    after_epoch(tmp_path, 1)
    cut(tmp_path / "checkpoint.pth")
    mend(tmp_path)
    assert not (tmp_path / "checkpoint.pth").exists()
    assert (tmp_path / "checkpoint.pth.broken").exists()
    assert "beginning anew" in caplog.text


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_weights_that_an_epoch_lacks_are_written(tmp_path, damage):
    weights = after_epoch(tmp_path, 3)
    damage(tmp_path / "3epoch.pth")
    (tmp_path / "latest.pth").unlink()
    mend(tmp_path)
    for name in ("3epoch.pth", "latest.pth"):
        assert torch.equal(torch.load(tmp_path / name, weights_only=True)["a"], weights["a"])
    assert (tmp_path / "latest.pth").readlink() == Path("3epoch.pth")


def test_what_is_whole_stays(tmp_path):
    after_epoch(tmp_path, 1)
    keep(tmp_path)
    after_epoch(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    mend(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_kept_checkpoint_survives_a_full_disk(tmp_path, monkeypatch):
    after_epoch(tmp_path, 1)
    keep(tmp_path)
    after_epoch(tmp_path, 2)

    def no_space(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_space)
    with pytest.raises(OSError, match="No space"):
        keep(tmp_path)
    assert torch.load(tmp_path / KEPT, weights_only=True)["reporter"]["epoch"] == 1
    assert not list(tmp_path.glob(".aside-*"))


def test_nothing_to_go_on_from(tmp_path):
    keep(tmp_path)
    mend(tmp_path)
    assert not list(tmp_path.iterdir())
