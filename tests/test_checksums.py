"""Damaged weights are never loaded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet2_tisdiss.checksums import (
    CHECKSUMS,
    checksum_line,
    damage,
    record_checksums,
    settle_checksums,
)
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.finding import read_weights

SEED = 20261129


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(SEED)
    path = tmp_path / "model.pth"
    torch.save({f"layer{n}.weight": torch.randn(50, 20) for n in range(5)}, path)
    return path


@pytest.mark.promise("damaged-weights")
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_flipped_bit_changes_what_is_loaded(
    weights: Path, recorded: bool, count: int, record_property: Callable[[str, object], None]
) -> None:
    if recorded:
        record_checksums(weights.parent, [weights])
    intact, content = read_weights(weights), weights.read_bytes()
    refused = 0
    for bit in np.random.default_rng(SEED).choice(8 * len(content), count, replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        weights.write_bytes(damaged)
        try:
            loaded = read_weights(weights)
        except TisdissError as error:
            refused += 1
            assert "\n" not in str(error)
        else:  # of what no reader looks at, such as the padding between tensors
            assert not recorded and loaded.keys() == intact.keys()
            assert all(torch.equal(loaded[name], value) for name, value in intact.items())
    assert refused > 0.8 * count
    record_property("cases", count)


def test_why_a_file_is_not_intact(weights: Path) -> None:
    assert damage(weights) == ""
    record_checksums(weights.parent, [weights])
    assert damage(weights) == ""
    (weights.parent / "link.pth").symlink_to("model.pth")
    torch.save({"other": torch.zeros(1)}, weights)
    for path in (weights, weights.parent / "link.pth"):
        assert damage(path) == f"is not the file that was written (see {CHECKSUMS})"
        with pytest.raises(
            TisdissError, match=f"^{path}: is not the file that was written .*; rep"
        ):
            read_weights(path)
    (weights.parent / CHECKSUMS).unlink()
    weights.write_bytes(weights.read_bytes()[:-50])
    assert damage(weights) == "is damaged or incomplete"


def test_the_record_is_read_by_sha256sum(weights: Path) -> None:
    record_checksums(weights.parent, [weights])
    check = ["sha256sum", "--check", "--strict", CHECKSUMS]
    assert subprocess.run(check, cwd=weights.parent, capture_output=True).returncode == 0


def test_a_file_that_replaces_another_has_two_lines_meanwhile(weights: Path) -> None:
    folder, record = weights.parent, weights.with_name(CHECKSUMS)
    record_checksums(folder, [weights])
    before = record.read_text()
    new = folder / "new" / "model.pth"
    new.parent.mkdir()
    torch.save({"other": torch.zeros(1)}, new)
    record_checksums(folder, [new])
    assert damage(weights) == ""  # stopped here, or
    new.replace(weights)
    assert damage(weights) == ""  # here
    settle_checksums(folder)
    assert record.read_text() == checksum_line(weights) != before
    weights.unlink()
    settle_checksums(folder)
    assert record.read_text() == ""


def test_older_files_of_pytorch_have_no_checksums(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(path)["a"], torch.ones(3))
    record_checksums(tmp_path, [path])
    content = bytearray(path.read_bytes())
    content[content.rfind(np.float32(1).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(TisdissError, match="is not the file that was written"):
        read_weights(path)


def test_a_bit_that_makes_an_archive_one_of_several_disks(weights: Path) -> None:
    """Python's zipfile.is_zipfile raises for it."""
    content = bytearray(weights.read_bytes())
    content[content.rfind(b"PK\6\7") + 16] ^= 2
    weights.write_bytes(content)
    assert damage(weights) == "is damaged or incomplete"
    with pytest.raises(TisdissError, match="^[^\n]*replace it$"):
        read_weights(weights)
