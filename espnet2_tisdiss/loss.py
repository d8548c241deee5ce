"""Permutation-invariant loss at every supervised depth (TISDiSS, section 2.3, "multi-loss")."""

from collections.abc import Sequence

import torch
from espnet2.enh.loss.criterions.abs_loss import AbsEnhLoss
from espnet2.enh.loss.wrappers.abs_wrapper import AbsLossWrapper
from espnet2.enh.loss.wrappers.pit_solver import PITSolver
from torch import Tensor

from espnet2_tisdiss.checks import check_number
from espnet2_tisdiss.precision import full_precision

# ESPnet makes these masks from all signals it is given at once, here those of several depths
JOINT_MASKS = ("IBM", "IRM")


class MultiDepthPIT(AbsLossWrapper):
    """PIT on each depth with its own best permutation, averaged over the depths.

    Args:
        criterion: any time-domain or spectral criterion of ESPnet's.
        weight: weight of this loss among several.
        independent_perm: search the permutations; otherwise take those that the loss before this
            one found.
        depth_weights: weight of each depth, shallow first, in training; None: as ``depth_power``
            says. In evaluation there is one depth, and its loss is reported as it is.
        depth_power: the weights of depths 1, 2, 3, ... are these numbers to this power, whatever
            the number of depths; 0, as in the paper: all alike. Larger, the shallow estimates
            count less and leave more of the work to the repetitions.

    Raises:
        ValueError: a weight is no number >= 0, all are 0, or the criterion compares masks that
            are defined by all sources together.
    """

    def __init__(
        self,
        criterion: AbsEnhLoss,
        weight: float = 1.0,
        independent_perm: bool = True,
        depth_weights: Sequence[float] | None = None,
        depth_power: float = 0.0,
    ):
        super().__init__()
        if getattr(criterion, "compute_on_mask", False) and criterion.mask_type in JOINT_MASKS:
            raise ValueError(
                f"mask_type {criterion.mask_type} is defined by all sources together, which "
                "multi_depth_pit has at several depths; use IAM, PSM, NPSM, PSM^2 or CIRM"
            )
        if depth_weights is not None:
            if not isinstance(depth_weights, (list, tuple)) or not depth_weights:
                raise ValueError(
                    f"depth_weights must be a list of numbers, one a depth; got {depth_weights!r}"
                )
            for depth_weight in depth_weights:
                check_number("depth_weights", depth_weight, 0, float("inf"))
            if not sum(depth_weights) > 0:
                raise ValueError(f"depth_weights must not all be 0; got {list(depth_weights)}")
        check_number("depth_power", depth_power, 0, float("inf"))
        if depth_power and depth_weights is not None:
            raise ValueError("depth_power must be 0 with depth_weights, which say it all")
        self.criterion = criterion
        self.weight = weight
        self.depth_power = depth_power
        self.depth_weights = depth_weights
        self.solver = PITSolver(criterion, independent_perm=independent_perm)

    def forward(
        self, ref: Sequence[Tensor], inf: Sequence[Tensor], others: dict | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict]:
        """Compute the loss of estimates at one depth or several.

        Args:
            ref: references, num_spk tensors (b, ...).
            inf: estimates, depths * num_spk tensors (b, ...), shallow first.
            others: what the loss before this one returned.

        Returns:
            The loss, a scalar; statistics: ``<criterion>``, the loss, and where there are several
            depths ``<criterion>_depth-<k>`` of each, 0 the shallowest; ``perm`` (b, j) of the last
            depth and ``depth_perm`` of all.

        Raises:
            ValueError: the estimates are no whole number of depths, or not one a depth weight.
        """
        others = others or {}
        num_spk = len(ref)
        n_depths, left = divmod(len(inf), num_spk)
        if left or not n_depths:
            raise ValueError(f"{len(inf)} estimates are not whole depths of {num_spk} speakers")
        inherited = others.get("depth_perm") or [others.get("perm")] * n_depths
        losses, perms, stats = [], [], {}
        # autocast would round the criterion's products to 8 or 11 bits: no SNR beyond 20 dB
        with torch.autocast(inf[0].device.type, enabled=False):
            ref, inf = ([full_precision(signal) for signal in signals] for signals in (ref, inf))
            for depth, perm in enumerate(inherited):
                estimates = inf[depth * num_spk : (depth + 1) * num_spk]
                loss, stats, found = self.solver(ref, estimates, {"perm": perm})
                losses.append(loss)
                perms.append(found["perm"])
        losses = torch.stack(losses)
        loss = self._average(losses)
        # the criterion's own statistics, if it has any, are those of the last depth
        stats = {**stats, self.criterion.name: loss.detach()}
        if n_depths > 1:
            for depth, depth_loss in enumerate(losses.detach()):
                stats[f"{self.criterion.name}_depth-{depth}"] = depth_loss
        return loss, stats, {"perm": perms[-1], "depth_perm": perms}

    def _average(self, losses: Tensor) -> Tensor:
        """Return the weighted mean of ``losses`` (depth,)."""
        if len(losses) == 1:
            return losses[0]
        if self.depth_weights is None:
            depths = torch.arange(1, len(losses) + 1, device=losses.device, dtype=losses.dtype)
            weights = depths**self.depth_power
        elif len(self.depth_weights) == len(losses):
            weights = torch.tensor(self.depth_weights, dtype=losses.dtype)
            weights = weights.to(losses.device, non_blocking=True)
        else:
            raise ValueError(
                f"depth_weights has {len(self.depth_weights)} weights, but the separator "
                f"supervises {len(losses)} depths"
            )
        return (weights * losses).sum() / weights.sum()
