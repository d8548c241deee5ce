"""New mixtures for ESPnet's trainer in every epoch."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader, Dataset

from espnet2_tisdiss.mixing.bank import Bank
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.rendering import PauseError, render
from espnet2_tisdiss.mixing.scenes import Scene, SceneDrawer


def draw_mixture(
    drawer: SceneDrawer, key: tuple[int, ...], pair: str | None = None
) -> tuple[Scene, dict[str, np.ndarray]]:
    """Draw a scene that depends only on ``key``, and render it.

    A scene in which a speaker is nearly silent is drawn again.

    Args:
        drawer: draws the scenes.
        key: integers >= 0, such as seed, epoch and number of the mixture.
        pair: sexes of the two speakers, such as ``FM``; None: any.

    Returns:
        The scene and its waveforms, see :func:`~espnet2_tisdiss.mixing.rendering.render`.

    Raises:
        PauseError: no scene without such a speaker was found in a thousand attempts.
    """
    for attempt in count():
        scene = drawer.draw(np.random.default_rng([*key, attempt]), pair)
        try:
            return scene, render(drawer.bank, scene)
        except PauseError:
            if attempt > 1000:
                raise
    raise AssertionError("unreachable")


class EpochOfMixtures(Dataset):
    """The mixtures of an epoch by number, independent of the process and order of access.

    Args:
        drawer: draws the scenes.
        seed: seed of the training.
        epoch: number of the epoch.
    """

    def __init__(self, drawer: SceneDrawer, seed: int, epoch: int):
        self._drawer = drawer
        self._seed = seed
        self._epoch = epoch

    def __getitem__(self, number: int) -> tuple[str, dict[str, np.ndarray]]:
        """Return a mixture's name and its signals, float32 (n,), by ESPnet's names."""
        _, signals = draw_mixture(self._drawer, (self._seed, self._epoch, number))
        named = {
            "speech_mix": signals["mix"],
            "speech_ref1": signals["s1"],
            "speech_ref2": signals["s2"],
        }
        return f"epoch{self._epoch}_mixture{number}", named


class MixtureIterFactory(AbsIterFactory):
    """Builds ESPnet's iterator of an epoch: batches of mixtures unique to the epoch.

    Args:
        config: how mixtures are drawn.
        rate: the model's sample rate in Hz, which must be the bank's; None for a model without one.
        seed: seed of the training. Mixtures depend only on this seed, the epoch and their number,
            not on the number of processes that make them.
        batch_size: mixtures in a batch, over all processes.
        num_iters: batches in an epoch.
        collate: ESPnet's function that makes a batch of items.
        num_workers: worker processes that make mixtures.
        pin_memory: whether to pin batches in memory, for GPUs.
        rank: index of this process in distributed training.
        world_size: number of processes, which share the items of each batch.

    Raises:
        TisdissError: the bank cannot be read.
        ValueError: the bank has another sample rate or lacks something that ``config`` needs, or a
            batch has fewer mixtures than there are processes.
    """

    def __init__(
        self,
        config: MixingConfig,
        rate: int | None,
        seed: int,
        batch_size: int,
        num_iters: int,
        collate: Callable[..., Any],
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size < world_size:
            raise ValueError(
                f"batch_size must be at least {world_size}, one mixture for each process; "
                f"got {batch_size}"
            )
        bank = Bank(config.bank, "train")
        if rate is not None and bank.rate != rate:
            raise ValueError(
                f"{config.bank} holds recordings at {bank.rate} Hz, but the model is for {rate} "
                "Hz: set sample_rate in separator_conf, or name another bank"
            )
        self._drawer = SceneDrawer(bank, config)
        self._seed = seed
        self._batches = [
            list(range(batch * batch_size, (batch + 1) * batch_size))[rank::world_size]
            for batch in range(num_iters)
        ]
        self._options: dict[str, Any] = {
            "collate_fn": collate,
            "num_workers": num_workers,
            "pin_memory": pin_memory,
            # enough so that the training does not wait for a slow mixture
            "prefetch_factor": 8 if num_workers else None,
        }

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader:
        """Return the batches of an epoch; they are random, so ``shuffle`` has no effect."""
        mixtures = EpochOfMixtures(self._drawer, self._seed, epoch)
        return DataLoader(mixtures, batch_sampler=self._batches, **self._options)
