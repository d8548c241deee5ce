"""The mixtures of an epoch: the same in any process, and different in every epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from espnet2.train.collate_fn import CommonCollateFn
from small_bank import RATE, said, tone, training_split, write_small_bank

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.iterator import MixtureIterFactory, draw_mixture
from espnet2_tisdiss.mixing.scenes import SceneDrawer

NAMES = ("speech_mix", "speech_ref1", "speech_ref2")
BATCH, BATCHES = 4, 3


@pytest.fixture
def config(tmp_path):
    return MixingConfig(str(write_small_bank(tmp_path)), seconds=0.5)


def epoch(config: MixingConfig, number: int = 1, seed: int = 0, **options) -> list:
    """The batches of an epoch as the trainer gets them."""
    options = {"batch_size": BATCH, "num_iters": BATCHES, "rate": RATE} | options
    factory = MixtureIterFactory(config, seed=seed, collate=CommonCollateFn(), **options)
    return list(factory.build_iter(number))


def items(batches: list) -> dict[str, dict[str, torch.Tensor]]:
    """The signals of each mixture, by name."""
    return {
        name: {key: batch[key][index] for key in NAMES}
        for names, batch in batches
        for index, name in enumerate(names)
    }


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, signals in expected.items():
        assert all(torch.equal(found[name][key], signals[key]) for key in NAMES), name


def test_an_epoch_is_batches_of_espnets_names(config):
    batches = epoch(config)
    assert len(batches) == BATCHES
    for number, (names, batch) in enumerate(batches):
        first = number * BATCH
        assert names == [f"epoch1_mixture{index}" for index in range(first, first + BATCH)]
        for key in NAMES:
            assert batch[key].shape == (BATCH, RATE // 2) and batch[key].dtype == torch.float32
            assert batch[key].isfinite().all()
            assert batch[f"{key}_lengths"].tolist() == [RATE // 2] * BATCH


def test_a_bank_at_another_rate_than_the_model_s_is_refused(config):
    with pytest.raises(ValueError, match="holds recordings at 8000 Hz, but the model is for 16000"):
        epoch(config, rate=16000)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_same_by_any_number_of_workers(config, num_workers):
    assert_same(items(epoch(config, num_workers=num_workers)), items(epoch(config)))


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_share_each_batch(config, world_size):
    whole = epoch(config)
    shares = [epoch(config, rank=rank, world_size=world_size) for rank in range(world_size)]
    for number, (names, _) in enumerate(whole):
        found = [name for share in shares for name in share[number][0]]
        assert sorted(found) == sorted(names)
    together = {}
    for share in shares:
        together |= items(share)
    assert_same(together, items(whole))


def test_no_two_mixtures_are_alike(config):
    epochs = [epoch(config, 1), epoch(config, 2), epoch(config, 1, seed=1)]
    mixtures = [signals["speech_mix"] for batches in epochs for signals in items(batches).values()]
    assert len({mixture.numpy().tobytes() for mixture in mixtures}) == 3 * BATCH * BATCHES


def test_an_epoch_can_be_made_again(config):
    assert_same(items(epoch(config, 7, seed=3)), items(epoch(config, 7, seed=3)))


def test_pauses_are_drawn_again(tmp_path):
    # three quarters of each recording are silence, so half of all scenes contain a pause
    quiet = np.concatenate([tone(400, 1.0), np.zeros(3 * RATE, np.int16)])
    write_small_bank(tmp_path, [(said(name, sex="?"), quiet) for name in "ab"])
    config = MixingConfig(str(tmp_path), seconds=0.5, noise_share=0, room_share=0)
    drawer = SceneDrawer(training_split(tmp_path), config)
    redrawn = 0
    for number in range(20):
        scene, signals = draw_mixture(drawer, (0, number))
        redrawn += scene != drawer.draw(np.random.default_rng([0, number, 0]))
        for name, voice in zip(("s1", "s2"), scene.voices, strict=True):
            heard = signals[name][voice.start : voice.stop]
            assert np.mean(np.square(heard)) > 0.005 * np.abs(heard).max() ** 2
        again, _ = draw_mixture(drawer, (0, number))
        assert again == scene
    assert redrawn > 5


def test_a_bank_of_pauses_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("espnet2_tisdiss.mixing.rendering.PAUSE_DB", -10)  # none is so loud
    drawer = SceneDrawer(
        training_split(write_small_bank(tmp_path)), MixingConfig(str(tmp_path), seconds=0.5)
    )
    with pytest.raises(ValueError, match="^.*: is nearly silent in this scene$"):
        draw_mixture(drawer, (0, 0))


def test_a_pair_can_be_asked_for(tmp_path):
    drawer = SceneDrawer(
        training_split(write_small_bank(tmp_path)), MixingConfig(str(tmp_path), seconds=0.5)
    )
    scene, _ = draw_mixture(drawer, (0, 0), "MM")
    assert {voice.speaker for voice in scene.voices} == {"carl", "dirk"}


def test_more_processes_than_mixtures_are_refused(config):
    told = "^batch_size must be at least 3, one mixture for each process; got 2$"
    with pytest.raises(ValueError, match=told):
        epoch(config, batch_size=2, world_size=3)


def test_a_bank_that_is_none_is_told(tmp_path):
    with pytest.raises(TisdissError, match=f"^{tmp_path}/none: is not a bank of recordings "):
        epoch(MixingConfig(str(tmp_path / "none")))
