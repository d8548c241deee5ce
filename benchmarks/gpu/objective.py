"""The recipes' loss and training step, without the packages that ESPnet's loss imports."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss
from torch import Tensor, nn

from espnet2_tisdiss.network.loss import MultiDepthPIT


class SISNR(TimeDomainLoss):
    """ESPnet's ``si_snr``: the negative scale-invariant SNR in dB.

    Args:
        clamp_db: bound of the SI-SNR in both directions; None: no bound.
    """

    def __init__(self, clamp_db: float | None = None):
        super().__init__("si_snr_loss")
        ratio = 0.0 if clamp_db is None else 10 ** (-clamp_db / 10)
        self._least = ratio / (1 + ratio)

    def forward(self, ref: Tensor, est: Tensor) -> Tensor:
        """Return the loss (...,) of signals (..., n)."""
        ref, est = (x - x.mean(-1, keepdim=True) for x in (ref, est))
        ref, est = (nn.functional.normalize(x, dim=-1, eps=1e-10) for x in (ref, est))
        coherence = (ref * est).sum(-1).square()
        coherence = coherence.clamp(self._least, 1 - self._least)
        return 10 * torch.log10((1 - coherence) / coherence)


def objective(config: Mapping[str, Any]) -> MultiDepthPIT:
    """Return the loss of a recipe's configuration."""
    (criterion,) = config["criterions"]
    if (criterion["name"], criterion["wrapper"]) != ("si_snr", "multi_depth_pit"):
        raise ValueError(f"only si_snr in multi_depth_pit is known; got {criterion}")
    clamp_db = criterion["conf"].get("clamp_db")
    return MultiDepthPIT(SISNR(clamp_db), **criterion.get("wrapper_conf", {}))


def optimiser(config: Mapping[str, Any], model: nn.Module) -> torch.optim.AdamW:
    """Return the optimiser of a recipe's configuration."""
    fused = next(model.parameters()).device.type == "cuda"
    return torch.optim.AdamW(model.parameters(), fused=fused, **config["optim_conf"])


def training_step(
    config: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return a step as a function of mixtures (b, n) and sources (j, b, n), without synchronising.

    It returns the loss and the norm of the gradient, on the device.
    """
    loss_of, weights = objective(config), list(model.parameters())

    def step(mixture: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        loss, _, _ = loss_of(list(sources), model(mixture))
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, config["grad_clip"])
        # after an overflow the step hardly changes the weights
        for weight in weights:
            if weight.grad is not None:  # layers that are never run have none
                weight.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimizer.step()
        return loss.detach(), norm

    return step
