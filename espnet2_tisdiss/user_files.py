"""Reading files that users name: ordinary files of limited size, and YAML and JSON with options.

On a faulty text, parsers raise more than their own documented errors: YAML's ``!!int x`` raises
ValueError, ``!!bool x`` KeyError, and deep nesting RecursionError. So any exception of a parser
means that the text is wrong.
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from espnet2_tisdiss.errors import TisdissError

# configurations have thousands of bytes; for more, parsing takes seconds
MOST_YAML_BYTES = 4 * 2**20


def check_name(path: str | Path) -> None:
    """Raise TisdissError if no file can have this name."""
    if "\0" in str(path):
        raise TisdissError(f"{str(path)!r}: holds a NUL character; correct the name")


def check_path(path: Any, advice: str) -> None:
    """Raise TisdissError, with advice, unless a value is a path that a file can have."""
    check_is_path(path, advice)
    check_name(os.fspath(path))


def check_is_path(path: Any, advice: str) -> None:
    """Raise TisdissError, with advice, unless a value is a path."""
    if not isinstance(path, str | os.PathLike):
        raise TisdissError(f"expected a path, got {type(path).__name__}; {advice}")


def check_ordinary(path: str | Path) -> None:
    """Check that a path names an ordinary file: a device or pipe may have no end, or no start.

    Raises:
        TisdissError: it does not.
    """
    check_name(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise TisdissError(f"{path}: no such file") from None
    except OSError as error:
        raise TisdissError(f"{path}: cannot be opened ({error.strerror}); check it") from None
    if stat.S_ISDIR(mode):
        raise TisdissError(f"{path}: is a folder; give a file")
    if not stat.S_ISREG(mode):
        raise TisdissError(f"{path}: is a device or a pipe; give an ordinary file")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty one holds an empty mapping.

    Raises:
        TisdissError: the file cannot be read, is too large, is not YAML, or holds something else.
    """
    check_ordinary(path)
    if os.path.getsize(path) > MOST_YAML_BYTES:
        raise TisdissError(f"{path}: has more than {MOST_YAML_BYTES} bytes; give a configuration")
    return _mapping(path, yaml.safe_load, "YAML") or {}


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        TisdissError: the file cannot be read, is not JSON, or holds something else.
    """
    check_ordinary(path)
    content = _mapping(path, json.loads, "JSON")
    if content is None:
        raise TisdissError(f"{path}: holds nothing")
    return content


def _mapping(path: str | Path, parse: Callable[[str], Any], kind: str) -> dict[str, Any] | None:
    """Return the content of a file: a mapping with strings as keys, or None."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TisdissError(f"{path}: not {kind}: {error}") from None
    except OSError as error:
        raise TisdissError(f"{path}: cannot be opened ({error.strerror}); check it") from None
    try:
        content = parse(text)
    except Exception as error:  # see above
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TisdissError(f"{path}: not {kind}: {reason}; correct it") from None
    if content is not None and not isinstance(content, dict):
        raise TisdissError(
            f"{path}: expected 'key: value' lines; it holds a {type(content).__name__}"
        )
    return content
