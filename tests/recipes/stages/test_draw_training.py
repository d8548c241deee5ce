"""The plot of a training shows the values in its checkpoint."""

from __future__ import annotations

import pytest
import torch
from matplotlib import image

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.draw_training import (
    PICTURE,
    TABLE,
    curves,
    read_epochs,
    shallowest,
    table,
    trained_depths,
)


def statistics(loss: float, depths: int = 3) -> dict[str, float]:
    by_depth = {f"si_snr_loss_depth-{depth}": loss - depth for depth in range(depths)}
    return {"si_snr_loss": loss, **by_depth}


EPOCHS = {
    1: {"train": {"total_count": 100, **statistics(-1.0)}, "valid": statistics(-2.0)},
    2: {"train": {"total_count": 200, **statistics(-3.0)}, "valid": statistics(-5.0)},
}


def test_curves_by_depth():
    found = {name: (curve.x, curve.y) for name, curve in curves(EPOCHS).items()}
    steps = [100, 200]
    assert found == {
        "validation, N_re 0": (steps, [2.0, 5.0]),
        "validation, N_re 1": (steps, [3.0, 6.0]),
        "validation, N_re 2": (steps, [4.0, 7.0]),
        "training, deepest": (steps, [3.0, 5.0]),
    }


def test_the_first_estimate_is_the_splitters_where_it_has_a_loss():
    assert shallowest({"separator_conf": {}}) == 0
    assert shallowest({"separator_conf": {"spliter_loss": False}}) == 1
    assert "validation, N_re 3" in curves(EPOCHS, 1) and "validation, N_re 0" not in curves(
        EPOCHS, 1
    )


def test_the_table_of_a_training_whose_depth_grew():
    epochs = {
        number: {
            "train": {"total_count": 100 * number, **statistics(-1.0, depths)},
            "valid": {"si_snr_loss": -2.0 - number},
        }
        for number, depths in ((1, 2), (2, 2), (3, 3))
    }
    depths = trained_depths(epochs, 1)
    assert depths == {0: 2, 200: 3}
    assert table(curves(epochs, 1), depths).splitlines() == [
        "| step | N_re of training | validation, deepest | training, deepest |",
        "| --- | ---: | ---: | ---: |",
        "| 100 | 2 | 3.00 | 2.00 |",
        "| 200 | 2 | 4.00 | 2.00 |",
        "| 300 | 3 | 5.00 | 3.00 |",
    ]


def test_one_depth_and_other_losses():
    plain = {"train": {"total_count": 10, "si_snr_loss": -1.0}, "valid": {"si_snr_loss": -2.0}}
    assert [(curve.x, curve.y) for curve in curves({1: plain}).values()] == [([10], [2.0])]
    other = {"train": {"total_count": 10, "snr_loss": -1.0}, "valid": {"snr_loss": -2.0}}
    assert curves({1: other}) == {}


def test_the_program_draws_a_checkpoint(tmp_path, run_tool):
    torch.save({"reporter": {"epoch": 2, "stats": EPOCHS}}, tmp_path / "checkpoint.pth")
    (tmp_path / "config.yaml").write_text("separator_conf: {spliter_loss: false}\n")
    assert run_tool("draw_training", tmp_path).returncode == 0
    picture = image.imread(tmp_path / PICTURE)
    assert picture.shape[0] > 300 and picture[..., :3].std() > 0.01
    assert "| 200 | 3 | 5.00 | 6.00 | 7.00 | 5.00 |" in (tmp_path / TABLE).read_text()


def test_no_checkpoint_and_a_damaged_one(tmp_path):
    with pytest.raises(TisdissError, match="checkpoint.pth: no such file: train first"):
        read_epochs(tmp_path)
    (tmp_path / "checkpoint.pth").write_bytes(b"no checkpoint")
    with pytest.raises(TisdissError, match="is not a training's checkpoint"):
        read_epochs(tmp_path)
