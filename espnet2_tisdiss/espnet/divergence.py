"""Trainings that diverge: steps without a finite loss and gradient are counted and end them.

ESPnet only skips such steps.
"""

import logging
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train.reporter import SubReporter
from torch import nn

from espnet2_tisdiss.errors import TisdissError

log = logging.getLogger(__name__)


class StepWatch:
    """Count the steps of a training that change nothing.

    Args:
        optimizers: those of the training.
        limit: number of consecutive skipped steps that ends it.
        accum_grad: batches per step.
    """

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], limit: int, accum_grad: int = 1
    ) -> None:
        self.limit, self.accum_grad = limit, accum_grad
        self.skipped = self.in_a_row = 0
        self._optimizers = optimizers
        self._done = 0
        for optimizer in optimizers:
            optimizer.register_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        self._done += 1

    def batches(self, batches: Any) -> Iterator[Any]:
        """Yield batches, each of which ESPnet trains on before it asks for the next.

        Raises:
            TisdissError: too many steps in a row were skipped.
        """
        for number, batch in enumerate(batches, start=1):
            before = self._done
            yield batch
            if number % self.accum_grad == 0:
                self._note(self._done > before)

    def _note(self, stepped: bool) -> None:
        """Record whether a step has changed the weights."""
        if stepped:
            self.in_a_row = 0
            return
        self.skipped += 1
        self.in_a_row += 1
        log.warning(
            "skipped a step without a finite loss and gradient: %d in a row, %d since the start",
            self.in_a_row,
            self.skipped,
        )
        if self.in_a_row >= self.limit:
            raise TisdissError(
                f"the training has diverged: {self.in_a_row} steps in a row had no finite loss and "
                f"gradient; {self._advice()}"
            )

    def check_epoch(self, model: nn.Module, validation: SubReporter) -> None:
        """Check that an epoch's weights and the losses of its validation are finite.

        Raises:
            TisdissError: they are not.
        """
        losses = [value.value for value in validation.stats.get("loss", [])]
        bad = sum(not torch.isfinite(torch.as_tensor(loss)) for loss in losses)
        if name := not_finite(model.state_dict()):
            what = f"{name} is not finite"
        elif bad:
            what = f"{bad} of {len(losses)} batches of the validation have no finite loss"
        else:
            return
        raise TisdissError(
            f"the training has diverged: after epoch {validation.get_epoch()} {what}; "
            f"{self._advice()}"
        )

    def _advice(self) -> str:
        """Return advice on what to change."""
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        return (
            f"lower the learning rate (optim_conf: lr; it was {max(g['lr'] for g in groups):g}) or "
            "check the data; checkpoint.pth keeps the last good epoch"
        )


class WatchedIterFactory(AbsIterFactory):
    """A factory of batches that watches their steps."""

    def __init__(self, factory: AbsIterFactory, watch: StepWatch) -> None:
        self._factory, self._watch = factory, watch

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> "WatchedBatches":
        """Return an epoch's batches."""
        return WatchedBatches(self._factory.build_iter(epoch, shuffle), self._watch)


class WatchedBatches:
    """An epoch's batches; their number is known if it is known without the watch."""

    def __init__(self, batches: Any, watch: StepWatch) -> None:
        self._batches, self._watch = batches, watch

    def __iter__(self) -> Iterator[Any]:
        return self._watch.batches(self._batches)

    def __len__(self) -> int:
        if not isinstance(self._batches, Sized):
            raise TypeError("the number of batches is not known")
        return len(self._batches)


def spread_non_finite(model: nn.Module) -> None:
    """Make the gradient NaN if the loss is not finite, so that ESPnet skips the step."""

    def spread(model: nn.Module, inputs: Any, outputs: tuple[torch.Tensor, ...]) -> Any:
        if not model.training:
            return outputs
        loss, *others = outputs
        factor = torch.where(torch.isfinite(loss.detach()), 1.0, torch.nan)
        return loss * factor.to(loss.dtype), *others

    model.register_forward_hook(spread)


def not_finite(weights: dict[str, Any]) -> str:
    """Return the name of the first tensor with infinite or NaN values; empty if there is none."""
    for name, value in weights.items():
        if torch.is_floating_point(value) and not torch.isfinite(value).all():
            return name
    return ""
