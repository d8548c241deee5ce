"""Permutation-invariant loss at every supervised depth (TISDiSS, section 2.3, "multi-loss")."""

from collections.abc import Sequence

import torch
from espnet2.enh.loss.criterions.abs_loss import AbsEnhLoss
from espnet2.enh.loss.wrappers.abs_wrapper import AbsLossWrapper
from espnet2.enh.loss.wrappers.pit_solver import PITSolver
from torch import Tensor

from espnet2_tisdiss.checks import check_number
from espnet2_tisdiss.network.precision import full_precision

# ESPnet computes these masks from all signals of a call, here those of several depths
JOINT_MASKS = ("IBM", "IRM")


class MultiDepthPIT(AbsLossWrapper):
    """Average over the depths of permutation-invariant losses, each with its best permutation.

        loss = sum_k w_k min_perm criterion(references, perm(estimates_k)) / sum_k w_k

    Args:
        criterion: a time-domain or spectral criterion of ESPnet.
        weight: weight of this loss among several.
        independent_perm: search the permutations; False: use those of the previous loss.
        depth_weights: w_k of each depth, shallow first, in training; None: use ``depth_power``. In
            evaluation there is one depth, whose loss is not weighted.
        depth_power: exponent p of w_k = k^p for depths k = 1, 2, 3, ...; 0: equal weights, as in
            the paper. With larger p the shallow estimates count less.

    Raises:
        ValueError: a weight is not a number >= 0, all are 0, or the criterion compares masks that
            depend on all sources.
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
                f"mask_type {criterion.mask_type} is defined by all sources, which multi_depth_pit "
                "passes for several depths; use IAM, PSM, NPSM, PSM^2 or CIRM"
            )
        if depth_weights is not None:
            if not isinstance(depth_weights, (list, tuple)) or not depth_weights:
                raise ValueError(
                    "depth_weights must be a list of numbers, one for each depth; "
                    f"got {depth_weights!r}"
                )
            for depth_weight in depth_weights:
                check_number("depth_weights", depth_weight, 0, float("inf"))
            if not sum(depth_weights) > 0:
                raise ValueError(f"depth_weights must not all be 0; got {list(depth_weights)}")
        check_number("depth_power", depth_power, 0, float("inf"))
        if depth_power and depth_weights is not None:
            raise ValueError(f"depth_power must be 0 with depth_weights; got {depth_power}")
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
            others: third result of the previous loss.

        Returns:
            The loss, a scalar. Statistics: the loss as ``<criterion>`` and, with several depths,
            the loss of each as ``<criterion>_depth-<k>``, 0 the shallowest. A dict with ``perm``
            (b, j) of the last depth and ``depth_perm`` of all depths.

        Raises:
            ValueError: the number of estimates is not a multiple of num_spk, or ``depth_weights``
                has the wrong length.
        """
        others = others or {}
        num_spk = len(ref)
        n_depths, remainder = divmod(len(inf), num_spk)
        if remainder or not n_depths:
            raise ValueError(
                f"{len(inf)} estimates are not a multiple of the {num_spk} speakers; each depth "
                "needs one for each speaker"
            )
        inherited = others.get("depth_perm") or [others.get("perm")] * n_depths
        depth_losses: list[Tensor] = []
        perms: list[Tensor] = []
        stats: dict[str, Tensor] = {}
        # autocast would round the products of the criterion to 8 or 11 bits, too few for a high SNR
        with torch.autocast(inf[0].device.type, enabled=False):
            ref, inf = ([full_precision(signal) for signal in signals] for signals in (ref, inf))
            for depth, perm in enumerate(inherited):
                estimates = inf[depth * num_spk : (depth + 1) * num_spk]
                loss, stats, found = self.solver(ref, estimates, {"perm": perm})
                depth_losses.append(loss)
                perms.append(found["perm"])
        losses = torch.stack(depth_losses)
        loss = self._average(losses)
        # other statistics of the criterion, if any, are those of the last depth
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
