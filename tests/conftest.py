"""Fixtures shared by all tests."""

import logging
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from models import Golden
from tiny_model import write_model

import espnet2_tisdiss  # noqa: F401  (registers with ESPnet)


def pytest_configure() -> None:
    """Let programs started by tests be interrupted, even if the tests run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Record in the reports which promises a test checks."""
    text = Path(__file__).with_name("promises.yaml").read_text(encoding="utf-8")
    promises = yaml.safe_load(text)
    for item in items:
        for marker in item.iter_markers("promise"):
            (name,) = marker.args
            if name not in promises:
                raise pytest.UsageError(f"{item.nodeid}: no promise {name!r} in promises.yaml")
            item.user_properties.append(("promise", name))


@pytest.fixture(params=["published_structure", "residual_in_reconstructor", "split_compress"])
def golden(request) -> Golden:
    return Golden(request.param)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # for models this small, threads cost more than they gain
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Write without fsync: files of tests need not survive a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(os, "sync", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _log_as_at_the_start() -> Iterator[None]:
    """Undo changes to the process's logging by commands run within the tests."""
    loggers = [logging.getLogger(), logging.getLogger("espnet2_tisdiss")]
    before = [(log.level, log.handlers[:]) for log in loggers]
    yield
    for log, (level, handlers) in zip(loggers, before, strict=True):
        log.setLevel(level)
        log.handlers[:] = handlers


@pytest.fixture
def espnet_model(tmp_path):
    """Return a function that writes config.yaml and weights as ESPnet's training does."""

    def make(**overrides):
        model = write_model(tmp_path, **overrides)
        return model, tmp_path / "config.yaml", tmp_path / "model.pth"

    return make


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Simulates a full disk: files cannot grow beyond 200 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
