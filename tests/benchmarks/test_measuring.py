"""The arithmetic of the benchmarks, with planted truths."""

import sys
import time

import growth
import measuring
import numpy as np
import pytest
import torch

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.cost import PeakMemory


def test_a_teraflop_from_one_product():
    assert 2 * np.prod(measuring.GEMM) == 2 * 4096 * 2048 * 2048
    # at 1 TFLOP/s the product, of 34.36 GFLOP, takes 34.36 ms
    assert measuring.in_teraflops(0.034359738368) == pytest.approx(1)


@pytest.mark.parametrize("planted", [0, 1, 1.7, 2])
def test_a_planted_exponent_is_found(planted):
    sizes = np.array([1, 2, 4, 8, 16, 32])
    assert measuring.exponent(sizes, 3.0 * sizes**planted) == pytest.approx(planted)


def test_the_exponent_is_that_of_the_upper_half():
    sizes = np.array([1, 2, 4, 8, 16, 32])
    values = np.where(sizes < 8, 64.0, sizes**2.0)
    assert measuring.exponent(sizes, values) == pytest.approx(2)
    assert measuring.exponent([3, 6], [1.0, 2.0]) == pytest.approx(1)


def test_runs_take_turns_and_give_their_last_results():
    order, steps = [], []

    def run(name):
        return lambda: order.append(name) or len(order)

    times, results = measuring.in_turn({"a": run("a"), "b": run("b")}, 2, steps.append)
    assert order == ["a", "b", "a", "b"] and results == {"a": 3, "b": 4} and steps == [1] * 4
    assert all(seconds >= 0 for seconds in times.values())


def planted_peak(numbers: int) -> int:
    with PeakMemory() as memory:
        kept = torch.ones(numbers)
        time.sleep(0.3)  # long enough for the sampling thread on a busy machine
        del kept
    return memory.peak


def test_a_fresh_process_has_threads_and_memory_of_its_own():
    kept = torch.ones(50_000_000)  # a process that had already used as much might reuse it
    del kept
    assert measuring.fresh(torch.get_num_threads, device="cpu") == torch.get_num_threads()
    peak = measuring.fresh(planted_peak, 50_000_000, device="cpu")
    assert peak == pytest.approx(200e6, rel=0.2)


def points(seconds, peaks=lambda n: 5 * n, macs=None, share=None):
    return [
        growth.Point(n, seconds(n), peaks(n), macs and macs(n), share and share(n))
        for n in (1, 2, 4, 8, 16, 32)
    ]


def test_quadratic_work_is_explained_by_the_attention_alone():
    def share(n):
        return 4 * n**2 / (n + 4 * n**2)

    work = points(lambda n: n + 4 * n**2, macs=lambda n: 3 * n + 0.5 * n**2, share=share)
    assert growth.quadratic_share(work) == pytest.approx(16 * 32 / (3 * 32 + 16 * 32))
    found = growth.growth(work)
    assert found.time > 1.9 and found.rest == pytest.approx(1)
    assert found.verdict() == "linear except attention over time"
    elsewhere = growth.growth(points(lambda n: n**2, share=lambda n: 0.1))
    assert elsewhere.verdict() == "time more than linear, unexplained"


@pytest.mark.parametrize(
    ("peaks", "told"),
    [(lambda n: 100 + n, "linear or less"), (lambda n: n**2, "memory more than linear")],
)
def test_linear_time_with_and_without_linear_memory(peaks, told):
    found = growth.growth(points(lambda n: 2 + n, peaks))
    assert found.verdict() == told and found.macs is None


def test_the_share_of_attention_is_that_of_its_operator():
    x = torch.randn(1, 1, 1500, 16)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert growth.attention_share(lambda: attention(x, x, x)) > 0.9
    assert growth.attention_share(lambda: x @ x.mT) == 0


@pytest.mark.parametrize("device", ["cuda:x", "gpu", "mps"])
def test_a_device_that_cannot_be_used_is_told(device):
    with pytest.raises(TisdissError, match=f"^--device {device}: must be cpu, cuda, or "):
        measuring.begin(1, device)


@pytest.mark.parametrize(
    ("text", "told"), [("a: [", "not YAML: "), ("separator: tcn", "not a training configuration")]
)
def test_what_is_no_configuration_is_told(tmp_path, text, told):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(TisdissError, match=f"train.yaml: {told}"):
        measuring.read_config(path)


def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    with pytest.raises(SystemExit) as ending:
        measuring.run_main(lambda: (tmp_path / "none/page.md").write_text(""))
    assert str(ending.value).startswith("speed.py: [Errno 2] No such file")
