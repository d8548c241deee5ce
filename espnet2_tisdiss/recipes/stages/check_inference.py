"""Check an inference configuration and the chosen depths before the jobs start.

It finds errors that ESPnet would report with a traceback, and depths for a separator without depth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet2_tisdiss.checks import shown
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.recipe import Recipe
from espnet2_tisdiss.user_files import read_yaml

# entries that ESPnet allows in an inference configuration
CHANGEABLE = [
    f"{part}{suffix}" for part in ("encoder", "separator", "decoder") for suffix in ("", "_conf")
]


def check_inference(recipe: Recipe) -> None:
    """Refuse a configuration that ESPnet would refuse, and depths of a model that has none."""
    path = recipe.opt["inference_enh_config"]
    changes = check_inference_config(Path(path)) if path else {}
    if any(recipe.depths):
        check_depth(read_yaml(Path(recipe.exp, "config.yaml")), changes)


def check_inference_config(path: Path) -> dict[str, Any]:
    """Read an inference configuration.

    Raises:
        TisdissError: the file is not a mapping, is empty, or has a key that ESPnet does not let it
            change.
    """
    changes = read_yaml(path)
    if not changes:
        raise TisdissError(f"{path}: is empty; leave --inference_enh_config out for no change")
    for key in changes:
        if key not in CHANGEABLE:
            raise TisdissError(
                f"{path}: unknown key {shown(key)}; keys are {', '.join(CHANGEABLE)}"
            )
    return changes


def check_depth(train_config: dict[str, Any], changes: dict[str, Any]) -> None:
    """Check that the depth of a model, changed by an inference configuration, can be chosen."""
    separator = changes.get("separator", train_config.get("separator"))
    if separator != "tisdiss":
        raise TisdissError(
            f"--n_re needs a model with the tisdiss separator, not {shown(separator)}"
        )
