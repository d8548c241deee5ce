"""Cost of a trained model by depth. PyTorch and ESPnet are imported only when it is counted."""

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet2_tisdiss.evaluate.cost import Parts


def build_model(config: Mapping[str, Any], changes: Mapping[str, Any]) -> "Parts | None":
    """Build a model's encoder and separator.

    Args:
        config: the model's configuration.
        changes: changes of it by the inference configuration.

    Returns:
        The parts; None if the separator is not a TISDiSS and so has no depth.
    """
    if changes.get("separator", config["separator"]) != "tisdiss":
        return None
    # imported here, because they take seconds
    from espnet2.bin.enh_inference import recursive_dict_update

    from espnet2_tisdiss.evaluate.cost import build_parts

    changed = copy.deepcopy(config)
    recursive_dict_update(changed, changes)
    return build_parts(changed)


def cost_by_depth(parts: "Parts | None", fs: int, labels: Iterable[str]) -> dict[str, float]:
    """Count the cost of a model at each depth.

    Args:
        parts: parts of the model.
        fs: sample rate in Hz.
        labels: the depths, as numbers or "default".

    Returns:
        Label -> billions of multiply-adds for a second of audio; empty without parts.
    """
    if parts is None:
        return {}
    from espnet2_tisdiss.evaluate.cost import CostCounter

    counter = CostCounter(*parts, fs)
    depths = {
        label: int(label) if label.isdigit() else parts.separator.reconstructor_repeat_times
        for label in labels
    }
    return {label: counter.macs_per_s(n_re) / 1e9 for label, n_re in depths.items()}


def count_parameters(parts: "Parts | None") -> float | None:
    """Return the millions of parameters of a model's separator; None without parts."""
    if parts is None:
        return None
    from espnet2_tisdiss.evaluate.cost import parameters

    return parameters(parts.separator) / 1e6
