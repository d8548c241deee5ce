#!/usr/bin/env python3
"""Write the inference configuration for one depth: a base file plus the repetitions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from datadir import DataError, run_main, write_aside


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        DataError: the file is missing, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected 'key: value' lines")
    return content


def inference_config(
    train_config: dict[str, Any], base: dict[str, Any], n_re: int | None
) -> dict[str, Any]:
    """Merge a base inference configuration with a number of reconstructor repetitions.

    Raises:
        DataError: a depth is asked of a separator that has none.
    """
    merged = dict(base)
    if n_re is not None:
        separator = merged.get("separator", train_config.get("separator"))
        if separator != "tisdiss":
            raise DataError(f"--n_re needs a model with the tisdiss separator, not {separator!r}")
        conf = dict(merged.get("separator_conf") or {})
        merged["separator_conf"] = conf | {"reconstructor_repeat_times": n_re}
    return merged


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train_config", type=Path, required=True, help="the model's config.yaml")
    parser.add_argument("--base", type=Path, help="inference configuration to start from")
    parser.add_argument("--n_re", type=int, help="reconstructor repetitions")
    parser.add_argument("out", type=Path, help="file to write")
    return parser


def main() -> None:
    """Run the command line."""
    args = get_parser().parse_args()
    base = read_yaml(args.base) if args.base else {}
    config = inference_config(read_yaml(args.train_config), base, args.n_re)
    text = yaml.safe_dump(config, sort_keys=False)
    if not args.out.is_file() or args.out.read_text(encoding="utf-8") != text:
        with write_aside(args.out) as aside:
            aside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_main("inference_config", main))
