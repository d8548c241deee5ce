"""Fixtures shared by all tests."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from models import TINY, Golden

import espnet2_tisdiss  # noqa: F401  (registers with ESPnet)


def pytest_configure() -> None:
    """Let programs that tests start be interrupted, also where this one is in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write into the reports which promises a test is about."""
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
    # for models this small, threads cost more than they bring
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Write without fsync: what the tests write need not survive a failure of power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(os, "sync", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def espnet_model(tmp_path):
    """Return a function that writes config.yaml and weights as ESPnet's training does."""
    from espnet2.tasks.enh import EnhancementTask

    def make(**overrides):
        config = EnhancementTask.get_default_config()
        config.update(
            encoder="stft",
            encoder_conf={"n_fft": 128, "hop_length": 64},
            decoder="stft",
            decoder_conf={"n_fft": 128, "hop_length": 64},
            separator="tisdiss",
            separator_conf=dict(TINY),
            model_conf={"normalize_variance": True},
            criterions=[
                {"name": "si_snr", "conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": {}}
            ],
            init="xavier_uniform",
        )
        config.update(overrides)
        config_file, model_file = tmp_path / "config.yaml", tmp_path / "model.pth"
        config_file.write_text(yaml.safe_dump(config))
        model, _ = EnhancementTask.build_model_from_file(config_file, None, "cpu")
        torch.save(model.state_dict(), model_file)
        return model, config_file, model_file

    return make


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Stands for a disk that is full: files cannot grow beyond 200 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
