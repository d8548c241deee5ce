"""Freed memory that a process keeps is not requested again."""

import subprocess
import sys

import pytest
import torch

from espnet2_tisdiss.espnet import memory

# faults of pages while tensors of 64 MB come and go
PROGRAM = """
import resource, sys, torch
from espnet2_tisdiss.espnet.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def work():
    for _ in range(5):
        torch.ones(2**24).sum()
for _ in range(5):  # until the heap has taken its shape
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str) -> int:
    command = [sys.executable, "-c", PROGRAM, way]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(memory.ctypes.CDLL(None), "mallopt"),
    reason="the C library is not glibc",
)
def test_freed_memory_is_used_again():
    kept, returned = faults("kept"), faults("returned")
    assert returned > 5  # otherwise the test would be meaningless: at least a page for each tensor
    assert kept < returned / 10


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: 1 / 0)
    memory.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory()


def test_numbers_stay_as_they_are():
    program = "import torch\nfrom espnet2_tisdiss.espnet.memory import keep_freed_memory\n"
    program += (
        "keep_freed_memory()\ntorch.manual_seed(0)\nprint(torch.randn(3000, 300).sum().item())"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(torch.randn(3000, 300).sum().item(), rel=1e-5)
