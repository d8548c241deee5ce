"""The tables that describe corpora."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet2_tisdiss.errors import TisdissError


def positive_number(where: str, what: str, text: str) -> float:
    """Return the finite number above 0 that a text is; ``where`` and ``what`` it is are named."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise TisdissError(f"{where}: {what} {text!r} is not a positive number")
    return number


def read_rows(path: Path, columns: Sequence[str], **form: Any) -> list[tuple[str, dict[str, str]]]:
    """Read a table with a header: the place (file and line number) of each row, and its columns.

    Args:
        path: the table.
        columns: required columns.
        form: how it is written, as ``csv.DictReader`` takes it.

    Raises:
        TisdissError: the table cannot be read or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, **form)
            if missing := set(columns) - set(reader.fieldnames or []):
                raise TisdissError(
                    f"{path}: has no column {', '.join(sorted(missing))}; the first line must name "
                    f"the columns, separated by {reader.reader.dialect.delimiter!r}"
                )
            return [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TisdissError(f"{path}: cannot be read as a table: {error}") from None


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Read a comma-separated table (:func:`read_rows`) whose rows have a value for each column.

    Raises:
        TisdissError: a row lacks a value or has more than there are columns; the message names the
            line.
    """
    rows = read_rows(path, columns, strict=True)
    for where, row in rows:
        # csv puts surplus values under None, and None where one is missing
        if None in row or None in row.values() or not all(row[name] for name in columns):
            raise TisdissError(f"{where}: not a value for each column of the first line")
    return rows
