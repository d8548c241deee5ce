"""Configurations, as ESPnet and the recipes have them."""

from pathlib import Path
from typing import Any

import yaml

from espnet2_tisdiss.errors import TisdissError


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        TisdissError: the file is missing, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TisdissError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TisdissError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise TisdissError(f"{path}: expected 'key: value' lines")
    return content
